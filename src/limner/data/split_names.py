"""The names of folders and files that tell a split, such as train/, TestSet/ or images_val/."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Literal, TypeVar

from limner.data.sample import Split

Key = TypeVar("Key")
Announced = Literal["train", "val", "test", "evaluation"]

SPLIT_NAMES: dict[str, Announced] = {
    **dict.fromkeys(("train", "training", "trainval", "tr", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "validating"), "val"),
    **dict.fromkeys(("dev", "devel", "development", "tuning"), "val"),
    **dict.fromkeys(("test", "tests", "testing", "ts", "tst"), "test"),
    **dict.fromkeys(("holdout", "heldout", "unseen"), "test"),
    **dict.fromkeys(("eval", "evaluate", "evaluation"), "evaluation"),
}
"""An evaluation set is the test set, or beside a test set the validation set."""

_CONTENTS = (
    "sets?|data|datasets?|images?|imgs?|pics?|pictures?|photos?|frames?|slices?|tiles?|patches|"
    "masks?|labels?|annot|annotations?|gt|splits?|parts?|samples?|cases?|files?|folder|dir|only"
)
_NAME_WITH_CONTENTS = re.compile(
    rf"({'|'.join(sorted(SPLIT_NAMES, key=len, reverse=True))})(?:{_CONTENTS})"
)
"""Such as "testset" and "trainimages"."""
_CAMEL_CASE = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_UNCERTAIN = re.compile(r"train|test|valid|eval|holdout|heldout|.*(?:train|test|val)(?:set|data)")
"""How names begin that may tell a split, such as "Testdaten" and "mytestset"."""
_NO_SPLIT = re.compile(r"test(?:is|es|ic|os|ud)|trains?$|trainer|valid(?:ity|ated)|device")


def split_from_names(names: Iterable[str]) -> Split | None:
    """Find the split that names of folders or files tell; None where they tell none.

    The first word of the first name that is a split's name counts. An evaluation set is a test
    set; `splits_of` knows better where there are both.
    """
    announced = _announced(names)
    return "test" if announced == "evaluation" else announced


def split_from_file_name(stem: str) -> Split | None:
    """Find the split that the first or the last word of a file's name tells, such as train_001.

    None where neither is the name of a split, or each of another.
    """
    words = [word.lower() for word in re.findall(r"[A-Za-z]+", stem)]
    ends = re.split(r"[^A-Za-z0-9]+", stem)
    found = (
        {
            SPLIT_NAMES[word]
            for word in (words[0], words[-1])
            if word in SPLIT_NAMES and any(end.lower().strip("0123456789") == word for end in ends)
        }
        if words
        else set()
    )
    split = found.pop() if len(found) == 1 else None
    return "test" if split == "evaluation" else split


def splits_of(names: Mapping[Key, Sequence[str]]) -> dict[Key, Split | None]:
    """Find the split of each of several things that lie in one dataset, from their names.

    An evaluation set is the test set where no other name tells one, else the validation set:
    nothing is trained on it either way.
    """
    announced = {key: _announced(parts) for key, parts in names.items()}
    evaluation: Split = "val" if "test" in announced.values() else "test"
    return {key: evaluation if split == "evaluation" else split for key, split in announced.items()}


def may_tell_split(name: str) -> bool:
    """Whether a name that tells no split begins like one that does."""
    words = re.findall(r"[a-z]+", name.lower())
    return not _announced([name]) and any(
        _UNCERTAIN.match(word) and not _NO_SPLIT.match(word) for word in words
    )


def _announced(names: Iterable[str]) -> Announced | None:
    return next((split for name in names if (split := _announced_by(name))), None)


@lru_cache(maxsize=4096)
def _announced_by(name: str) -> Announced | None:
    """What one name announces. A word counts as a whole, and in the parts of camelCase."""
    # "hold-out" and "Held Out" are one word
    joined = re.sub(r"(hold|held)[^a-z]?(out)", r"\1\2", name, flags=re.IGNORECASE)
    for word in re.findall(r"[A-Za-z]+", joined):
        for part in (word, *_CAMEL_CASE.findall(word)):
            if split := _announced_by_word(part.lower()):
                return split
    return None


def _announced_by_word(word: str) -> Announced | None:
    with_contents = _NAME_WITH_CONTENTS.fullmatch(word)
    return SPLIT_NAMES.get(with_contents[1] if with_contents else word)
