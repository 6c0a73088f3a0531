"""Which samples belong together, such as those of one patient: groups.csv and name patterns."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

from limner.data.image_file import without_suffix
from limner.data.named_files import portable_path
from limner.data.sample import Sample
from limner.data.tables import lower_case_columns, read_table
from limner.errors import LimnerError


def with_groups(root: Path, samples: Sequence[Sample], pattern: str) -> list[Sample]:
    """Give the samples their groups.

    A group in groups.csv comes first, then the one that `pattern` finds in the id, then the one
    that the layout gave. Raises LimnerError where groups.csv or the pattern does not fit.
    """
    from_table = _read_groups(root, samples)
    from_pattern = groups_by_pattern(samples, pattern) if pattern else {}
    return [
        replace(
            sample,
            group=from_table.get(sample.id) or from_pattern.get(sample.id) or sample.group,
        )
        for sample in samples
    ]


def _read_groups(root: Path, samples: Sequence[Sample]) -> dict[str, str]:
    """The group of each sample id that groups.csv names; nothing where there is no such file.

    A line names an image by its path, by its id, or by a file name that only one image has.
    Raises LimnerError for another name, and for an image in two groups.
    """
    path = root / "groups.csv"
    # Without samples no name can fit, and `check` reports that there is no pair
    if not samples or not path.is_file():
        return {}
    rows = lower_case_columns(read_table(path))
    if rows and not {"image", "group"} <= rows[0].keys():
        raise LimnerError(
            f"{path} has no columns image and group. Each line holds an image's name and what "
            "it belongs to, such as a patient."
        )
    ids_of = ids_by_name(root, samples)
    image_of = {sample.id: sample.image for sample in samples}
    groups: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        if not row["group"]:
            continue
        ids = ids_by_path(row["image"], ids_of)
        if len({image_of[id] for id in ids}) != 1:
            cause = "several images bear" if ids else "no image bears"
            raise LimnerError(
                f"{path}, line {number}: {cause} the name {row['image']!r}. Give its path in "
                f"the dataset, such as {samples[0].id}."
            )
        for id in ids:
            if groups.setdefault(id, row["group"]) != row["group"]:
                raise LimnerError(
                    f"{path}, line {number}: {row['image']} is in the groups {groups[id]} and "
                    f"{row['group']}. Each image is in one group."
                )
    return groups


def groups_by_pattern(samples: Sequence[Sample], pattern: str) -> dict[str, str]:
    """Find the group of each sample id in the id itself.

    The group is what the first parenthesis of the regular expression matches, or the whole match.
    Images of a stack are searched by the stack's name. Raises LimnerError for a pattern that is
    not a regular expression or matches no id.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise LimnerError(
            f"data.group_pattern = {pattern!r} is not a regular expression: {error}."
        ) from error
    matches = {sample.id: expression.search(searched_name(sample)) for sample in samples}
    if samples and not any(matches.values()):
        raise LimnerError(
            f"data.group_pattern = {pattern!r} matches no name, such as {samples[0].id}. It "
            "must find the part that images of one group share."
        )
    return {
        id: match[1] if expression.groups else match[0] for id, match in matches.items() if match
    }


def ids_by_name(root: Path, samples: Sequence[Sample]) -> dict[str, set[str]]:
    """Map each name that a table may use for an image to the sample ids that it may mean.

    Names are the id and, with and without suffix, the path below `root` and the file name. An
    image of a stack also has the stack's id.
    """
    ids: dict[str, set[str]] = {}
    for sample in samples:
        below_root = sample.image.is_relative_to(root)
        path = (sample.image.relative_to(root) if below_root else sample.image).as_posix()
        for name in {
            path,
            without_suffix(path),
            sample.id,
            sample.id.partition("#")[0],
            sample.image.name,
            without_suffix(sample.image.name),
        }:
            ids.setdefault(normalize("NFC", name), set()).add(sample.id)
    return ids


def ids_by_path(name: str, ids_of: Mapping[str, set[str]]) -> set[str]:
    """Find the sample ids that a name in a table means, which may be a path of another machine.

    Args:
        name: As the table has it.
        ids_of: What `ids_by_name` gives.
    """
    if name in ids_of:
        return ids_of[name]
    parts = portable_path(name).parts
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((ids_of[end] for end in ends if end in ids_of), set())


def searched_name(sample: Sample) -> str:
    """Name what a group pattern is searched in: a sample's id, or that of its stack."""
    return sample.id.partition("#")[0] if sample.page or sample.group else sample.id
