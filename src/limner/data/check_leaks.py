"""Findings about copies, exact or near, and about groups or copies that lie in two splits."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set

import numpy as np

from limner.data.duplicates import DuplicatePair, connected_components, near_duplicates
from limner.data.findings import Finding, Severity, file_finding
from limner.data.sample import Sample
from limner.data.sample_info import SampleInfo

_REMEDIES: dict[Severity, str] = {
    "error": (
        "so the test would flatter the model. Move them to one side, or train in spite of it with "
        "--set data.allow_leaks=true."
    ),
    "warning": "so the validation flatters the model. Move them to one side.",
}


def group_leak_findings(samples: Mapping[str, Sample]) -> Iterator[Finding]:
    """Report each group whose samples the layout puts into more than one split."""
    id_by_split: dict[str, dict[str, str]] = defaultdict(dict)
    for sample in samples.values():
        if sample.group and sample.split:
            id_by_split[sample.group].setdefault(sample.split, sample.id)
    for group, ids in id_by_split.items():
        if len(ids) > 1:
            severity = _leak_severity(ids.keys())
            message = (
                f"the group {group} has images in {' and '.join(sorted(ids))}, "
                f"{_REMEDIES[severity]}"
            )
            yield Finding("group-leak", severity, "", message, tuple(ids.values()))


def duplicate_pairs(infos: Sequence[SampleInfo]) -> tuple[list[DuplicatePair], int]:
    """Find the copies among the samples, by their positions.

    Returns:
        All pairs, the exact copies first, and how many of them are exact.
    """
    positions_by_digest: dict[bytes, list[int]] = defaultdict(list)
    for position, info in enumerate(infos):
        positions_by_digest[info.pixel_sha256].append(position)
    exact = [
        DuplicatePair(copies[0], other, 1.0)
        for copies in positions_by_digest.values()
        for other in copies[1:]
    ]
    # One of each set of exact copies is compared with the rest
    distinct = sorted(copies[0] for copies in positions_by_digest.values())
    near = [
        DuplicatePair(distinct[pair.first], distinct[pair.second], pair.similarity)
        for pair in near_duplicates(np.stack([infos[position].thumbnail for position in distinct]))
    ]
    return exact + near, len(exact)


def copy_findings(
    infos: Sequence[SampleInfo], samples: Mapping[str, Sample]
) -> tuple[list[Finding], dict[str, str]]:
    """Report copies, exact and near.

    Returns:
        The findings, and for each id the lowest id among its copies, which a split keeps together.
    """
    pairs, exact = duplicate_pairs(infos)
    findings = []
    for number, pair in enumerate(pairs):
        first, second = infos[pair.first], infos[pair.second]
        images = samples[first.id], samples[second.id]
        if first.id == second.id:
            # That it is listed twice is an error of its own
            continue
        if number < exact:
            same_mask = first.mask_sha256 == second.mask_sha256
            findings.append(_exact_copy_finding(*images, same_mask=same_mask))
        else:
            findings.append(_near_copy_finding(*images, pair.similarity))
    lowest = connected_components(len(infos), ((pair.first, pair.second) for pair in pairs))
    clusters = {info.id: infos[position].id for info, position in zip(infos, lowest, strict=True)}
    return findings, clusters


def _exact_copy_finding(first: Sample, second: Sample, *, same_mask: bool) -> Finding:
    what = f"is a copy of {first.image}"
    if _in_two_splits(first, second):
        return _leak_finding(first, second, what)
    if not same_mask:
        message = f"{what}, but their masks differ. Keep the better one."
        return file_finding(
            "copies-disagree", "warning", second.image, message, first.id, second.id
        )
    message = f"{what}. It counts twice: keep one. Until then both are on one side of every split."
    return file_finding("copies", "warning", second.image, message, first.id, second.id)


def _near_copy_finding(first: Sample, second: Sample, similarity: float) -> Finding:
    what = f"is nearly a copy of {first.image} (likeness {similarity:.2f} of 1)"
    if _in_two_splits(first, second):
        return _leak_finding(first, second, what)
    message = f"{what}. Both are kept on one side of every split."
    return file_finding("near-copies", "note", second.image, message, first.id, second.id)


def _leak_finding(first: Sample, second: Sample, what: str) -> Finding:
    severity = _leak_severity({first.split, second.split})
    message = f"({second.split}) {what} ({first.split}), {_REMEDIES[severity]}"
    return file_finding("leak", severity, second.image, message, first.id, second.id)


def _in_two_splits(first: Sample, second: Sample) -> bool:
    return None not in {first.split, second.split} and first.split != second.split


def _leak_severity(splits: Set[str | None]) -> Severity:
    return "error" if "test" in splits else "warning"
