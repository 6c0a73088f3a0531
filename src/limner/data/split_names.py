"""The names of folders and files that tell a split, such as train/ or images_val/."""

import re
from collections.abc import Iterable

from limner.data.sample import Split

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "tr": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
    "ts": "test",
}


def split_from_names(names: Iterable[str]) -> Split | None:
    """Find the split that names of folders or files tell; None where they tell none.

    The first word of the first name that is a split's name counts.
    """
    words = (word for name in names for word in re.split(r"[^a-z]+", name.lower()))
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), None)
