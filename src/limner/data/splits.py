"""Deterministic splits: copies and groups stay on one side, every side gets large and small
foregrounds alike.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from limner.data.duplicates import connected_components
from limner.data.sample import Sample
from limner.errors import LimnerError

SplitSamples = dict[str, list[Sample]]


def split_samples(
    samples: Sequence[Sample],
    *,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    content: Mapping[str, str],
    copies: Mapping[str, str],
    foreground: Mapping[str, float],
) -> SplitSamples:
    """Train, val and test samples, each in the order of their ids.

    The layout's own splits are kept; a validation split that it lacks is cut from its training
    split. Where it has none at all, all three are cut. `content` gives a digest of each sample's
    pixels, `copies` gives samples that are one picture the same id, `foreground` the share of a
    sample's pixels that is no background. Depends on these and the seed alone, not on names or
    order. Raises LimnerError where too few are left.
    """
    ordered = sorted(samples, key=lambda sample: sample.id)
    of = _Content(content, copies, foreground)
    sides: SplitSamples = {"train": [], "val": [], "test": []}
    official = any(sample.split is not None for sample in ordered)
    for sample in ordered:
        sides[sample.split or "train"].append(sample)
    if not official and test_fraction > 0:
        sides["train"], sides["test"] = _cut(sides["train"], test_fraction, f"test/{seed}", of)
    if not sides["val"] and validation_fraction > 0:
        remaining = validation_fraction / (1 if official else 1 - min(test_fraction, 0.9))
        sides["train"], sides["val"] = _cut(sides["train"], remaining, f"val/{seed}", of)
    if not sides["train"] or not sides["val"]:
        raise LimnerError(
            f"{len(ordered)} samples leave {len(sides['train'])} to train and {len(sides['val'])} to validate on. Each needs at least one: "
            "add samples, or lower data.test_fraction and data.validation_fraction. Copies "
            "and samples of one group stay together."
        )
    return sides


def apply_split(
    samples: Sequence[Sample], record: Mapping[str, Sequence[str]]
) -> dict[str, list[Sample]]:
    """The sides as a model's record has them, by id, and as "new" the samples that it does not
    know.
    """
    side_of = {id: name for name, ids in record.items() for id in ids}
    sides: dict[str, list[Sample]] = {"train": [], "val": [], "test": [], "new": []}
    for sample in sorted(samples, key=lambda sample: sample.id):
        sides[side_of.get(sample.id, "new")].append(sample)
    return sides


def split_ids(sides: Mapping[str, Sequence[Sample]]) -> dict[str, list[str]]:
    """The ids of each side: what a model must know to be tested on what it has not seen."""
    return {name: [sample.id for sample in side] for name, side in sides.items()}


@dataclass(frozen=True, slots=True)
class _Content:
    """What is known of the samples, by id."""

    digest: Mapping[str, str]
    copies: Mapping[str, str]
    foreground: Mapping[str, float]


def _cut(
    samples: list[Sample], fraction: float, salt: str, of: _Content
) -> tuple[list[Sample], list[Sample]]:
    """Take a fraction of the samples away in whole units, drawn by hash from each stretch of the
    units in order of their foreground.
    """

    def lot(unit: list[Sample]) -> bytes:
        return _hash(f"{salt}/{min(of.digest.get(sample.id, sample.id) for sample in unit)}")

    drawn = sorted(
        split_units(samples, of.copies),
        key=lambda unit: (sum(of.foreground.get(s.id, 0.0) for s in unit) / len(unit), lot(unit)),
    )
    stretch = max(2, round(1 / fraction))
    wanted, taken = 0.0, set[str]()
    for start in range(0, len(drawn), stretch):
        among = drawn[start : start + stretch]
        wanted += fraction * sum(map(len, among))
        for unit in sorted(among, key=lot):
            if len(taken) + len(unit) / 2 <= wanted:
                taken |= {sample.id for sample in unit}
    if not taken and len(drawn) > 1:
        taken = {sample.id for sample in min(drawn, key=lambda unit: (len(unit), lot(unit)))}
    return [s for s in samples if s.id not in taken], [s for s in samples if s.id in taken]


def split_units(samples: Sequence[Sample], copies: Mapping[str, str]) -> list[list[Sample]]:
    """Samples that must stay together, by their group or because they are one picture; each unit in
    the order of its ids.
    """
    first: dict[tuple[str, str], int] = {}
    links = []
    for position, sample in enumerate(samples):
        marks = (
            [("copy", copies.get(sample.id, sample.id)), ("group", sample.group)]
            if sample.group
            else [("copy", copies.get(sample.id, sample.id))]
        )
        links += [(first.setdefault((kind, str(mark)), position), position) for kind, mark in marks]
    found: dict[int, list[Sample]] = defaultdict(list)
    for sample, lowest in zip(samples, connected_components(len(samples), links), strict=True):
        found[lowest].append(sample)
    return list(found.values())


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
