"""Propose groups where names suggest that images belong together, such as those of one patient."""

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from limner.data.findings import Finding, Severity
from limner.data.groups import groups_by_pattern, searched_name
from limner.data.sample import Sample
from limner.data.split_names import split_from_names
from limner.plurals import count_noun

_SUBJECT = (
    "(?:patient|pat|pt|subject|subj|sub|person|participant|donor|animal|mouse|rat|case|study|"
    "series|exam|scan|volume|vol|video|vid|seq|sequence|film|movie|clip|slide|wsi|eye|p|s)"
)
"""Words before the number of what images belong to."""
_PART = "(?:slice|frame|image|img|tile|patch|crop|roi|view|layer|plane|section|page|sl|fr|z|t)"
"""Words before the number of an image within it."""
COVERED = 0.9
"""Share of the images that a pattern must find."""
LEAST_MEAN = 1.5
"""Images of a group in the mean; where fewer share one, it says nothing."""
LEAST_FOLDERS = 5
"""Folders with numbers, but without such a word, that look like subjects."""


@dataclass(frozen=True, slots=True)
class _Form:
    """A form of names. The parenthesis of the pattern is the group."""

    pattern: str
    what: str
    severity: Severity = "warning"
    least_groups: int = 2
    least_mean: float = LEAST_MEAN


_FOLDERS_ABOVE = ("", "[^/]+/", "[^/]+/[^/]+/")
FORMS = (
    *(
        _Form(f"(?i)^{above}({_SUBJECT}[_ -]?[0-9]+)[^/]*/", "folders named like subjects")
        for above in _FOLDERS_ABOVE
    ),
    _Form(f"(?i)(?:^|/)({_SUBJECT}[_-]?[0-9]+)[_-][^/]*$", "names that begin like a subject's"),
    _Form(f"(?i)(?:^|/)([^/]*[0-9][^/]*)[_-]{_PART}[_-]?[0-9]+$", "names of numbered parts"),
    _Form(f"(?i)(?:^|/)([^/]+)[_-]{_PART}[_-]?[0-9]+$", "names of numbered parts", "note", 5),
    _Form("(?i)(?:^|/)([^/]*[0-9])[_-]?(?:l|r|left|right|od|os)$", "names of left and right"),
    *(
        _Form(f"^{above}([^/]*[0-9][^/]*)/", "folders with numbers", "note", LEAST_FOLDERS)
        for above in _FOLDERS_ABOVE
    ),
    _Form("(?:^|/)([^/]*[0-9][^/]*)[_-][0-9]+$", "names with two numbers", "note", 3, 3.0),
)
"""From the surest to the vaguest; the first that fits a dataset is proposed."""


def group_proposals(root: Path, samples: Sequence[Sample]) -> Iterator[Finding]:
    """Propose a group pattern for a dataset without groups, or report that its own splits cut one.

    Args:
        root: The dataset's folder.
        samples: All of it, with the splits of the layout.
    """
    # The pages of a stack are a group by themselves
    if any(sample.group and sample.group != searched_name(sample) for sample in samples):
        return
    for form in FORMS:
        groups = _groups(form, samples)
        if groups:
            yield from _findings(root, form, samples, groups)
            return


def _groups(form: _Form, samples: Sequence[Sample]) -> dict[str, str]:
    """The group of each sample id; none where the names are not of the form."""
    expression = re.compile(form.pattern)
    if not any(expression.search(searched_name(sample)) for sample in samples):
        return {}
    groups = groups_by_pattern(samples, form.pattern)
    sizes = Counter(groups.values())
    fits = (
        len(groups) >= COVERED * len(samples)
        and len(sizes) >= form.least_groups
        and len(groups) >= form.least_mean * len(sizes)
        and not any(split_from_names([group]) for group in sizes)
    )
    return groups if fits else {}


def _findings(
    root: Path, form: _Form, samples: Sequence[Sample], groups: dict[str, str]
) -> Iterator[Finding]:
    splits_of: dict[str, set[str]] = {}
    for sample in samples:
        if sample.split and sample.id in groups:
            splits_of.setdefault(groups[sample.id], set()).add(sample.split)
    cut = sorted(group for group, splits in splits_of.items() if len(splits) > 1)
    size = max(Counter(groups.values()).items(), key=lambda item: item[1])
    summary = (
        f"{count_noun(len(groups), 'image has', 'images have')} {form.what}, in "
        f"{len(set(groups.values()))} groups such as "
        f"{size[0]} ({size[1]} images)."
    )
    if cut:
        if form.severity == "warning":
            message = (
                f"{summary} {count_noun(len(cut), 'group')}, such as {cut[0]}, "
                f"{'lies' if len(cut) == 1 else 'lie'} in several splits. If images "
                "of a group show the same subject, scores are too high: move each group to one "
                "split."
            )
            yield Finding("groups-cut", "warning", "", message)
        return
    # Where the layout has all splits, nothing is cut
    if all(split in {sample.split for sample in samples} for split in ("train", "val", "test")):
        return
    setting = shlex.quote(f"data.group_pattern={_plain_pattern(form.pattern, samples, groups)}")
    message = (
        f"{summary} If images of a group show the same subject, they must be on one side of every "
        f"split, or scores are too high. This keeps them together:\n"
        f"limner train {shlex.quote(str(root))} --set {setting}"
    )
    yield Finding("groups-likely", form.severity, "", message)


def _plain_pattern(pattern: str, samples: Sequence[Sample], groups: dict[str, str]) -> str:
    """Spell a pattern with the words of this dataset alone, where that gives the same groups."""
    words = {re.split("[^a-z]", group.lower())[0] for group in groups.values()}
    subject = words.pop() if len(words) == 1 else _SUBJECT
    plain = pattern.replace(_SUBJECT, subject).replace(_PART, "[a-z]+")
    return plain if groups_by_pattern(samples, plain) == groups else pattern
