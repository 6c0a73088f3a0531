"""Deterministic splits: copies and groups stay together, and every split gets small and large
foregrounds alike.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from limner.data.duplicates import connected_components
from limner.data.sample import Sample
from limner.errors import LimnerError

SplitSamples = dict[str, list[Sample]]
"""The samples of "train", "val" and "test"."""


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """What a split depends on, each by the id of a sample.

    `digest` is a hash of the decoded pixels. `copies` gives samples that show the same image the
    same id. `foreground` is the share of a sample's pixels that is not background. `classes` are
    the class indices that its mask has.
    """

    digest: Mapping[str, str]
    copies: Mapping[str, str]
    foreground: Mapping[str, float]
    classes: Mapping[str, frozenset[int]] = field(default_factory=dict)


def split_samples(
    samples: Sequence[Sample],
    *,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    facts: SplitFacts,
) -> SplitSamples:
    """Split samples into train, val and test, each in the order of the ids.

    The layout's own splits are kept. A validation split that it lacks is cut from its training
    split; where it has no split at all, all three are cut. A class that training would lack by the
    cut is kept in it. The result depends on the facts and the seed alone, not on names or order.
    Raises LimnerError where nothing is left to train or to validate on.
    """
    ordered = sorted(samples, key=lambda sample: sample.id)
    official: SplitSamples = {"train": [], "val": [], "test": []}
    for sample in ordered:
        official[sample.split_or_train].append(sample)
    cuts = []
    if all(sample.split is None for sample in ordered):
        cuts = [
            ("test", test_fraction),
            ("val", validation_fraction / (1 - min(test_fraction, 0.9))),
        ]
    elif not official["val"]:
        cuts = [("val", validation_fraction)]
    kept = frozenset[str]()
    while True:
        sides = _cut_sides(official, [(*cut, f"{cut[0]}/{seed}") for cut in cuts], facts, kept)
        rare = _unit_of_missing_class(official["train"], sides["train"], facts, str(seed))
        if not rare:
            break
        kept |= {sample.id for sample in rare}
    if not sides["train"] or not sides["val"]:
        raise LimnerError(
            f"{len(ordered)} samples leave {len(sides['train'])} to train and "
            f"{len(sides['val'])} to validate on. Each needs at least one: add samples, or lower "
            "data.test_fraction and data.validation_fraction. Copies and samples of one group "
            "stay together, and each class is trained on."
        )
    return sides


def apply_split(
    samples: Sequence[Sample], record: Mapping[str, Sequence[str]]
) -> dict[str, list[Sample]]:
    """Split samples as a model's record of ids does; samples that it does not name are "new"."""
    side_by_id = {id: side for side, ids in record.items() for id in ids}
    sides: dict[str, list[Sample]] = {"train": [], "val": [], "test": [], "new": []}
    for sample in sorted(samples, key=lambda sample: sample.id):
        sides[side_by_id.get(sample.id, "new")].append(sample)
    return sides


def split_ids(sides: Mapping[str, Sequence[Sample]]) -> dict[str, list[str]]:
    """The ids of each split: what a model must record to be tested on what it has not seen."""
    return {side: [sample.id for sample in samples] for side, samples in sides.items()}


def split_units(samples: Sequence[Sample], copies: Mapping[str, str]) -> list[list[Sample]]:
    """Gather samples that must stay together: those of one group, and copies.

    `copies` is as in `SplitFacts`. Each unit is in the order of `samples`.
    """
    first_with: dict[tuple[str, str], int] = {}
    links = []
    for position, sample in enumerate(samples):
        keys = [("copy", copies.get(sample.id, sample.id))]
        if sample.group:
            keys.append(("group", sample.group))
        links += [(first_with.setdefault(key, position), position) for key in keys]
    units: dict[int, list[Sample]] = defaultdict(list)
    for sample, lowest in zip(samples, connected_components(len(samples), links), strict=True):
        units[lowest].append(sample)
    return list(units.values())


def _cut_sides(
    official: SplitSamples,
    cuts: Sequence[tuple[str, float, str]],
    facts: SplitFacts,
    kept: Set[str],
) -> SplitSamples:
    """Cut sides from training, one after the other: their names, fractions and salts."""
    sides = dict(official)
    for side, fraction, salt in cuts:
        if fraction > 0:
            sides["train"], sides[side] = _cut(sides["train"], fraction, salt, facts, kept)
    return sides


def _unit_of_missing_class(
    samples: Sequence[Sample], training: Sequence[Sample], facts: SplitFacts, salt: str
) -> list[Sample]:
    """Of the units with a class that no training sample has, the smallest; none where all are
    trained on.
    """

    def classes_of(members: Sequence[Sample]) -> set[int]:
        return {index for s in members for index in facts.classes.get(s.id, ())}

    missing = classes_of(samples) - classes_of(training)
    if not missing:
        return []
    units = [unit for unit in split_units(samples, facts.copies) if missing & classes_of(unit)]
    return min(units, key=lambda unit: (len(unit), _draw_key(unit, salt, facts)))


def _draw_key(unit: Sequence[Sample], salt: str, facts: SplitFacts) -> bytes:
    return _hash(f"{salt}/{min(facts.digest.get(s.id, s.id) for s in unit)}")


def _cut(
    samples: list[Sample], fraction: float, salt: str, facts: SplitFacts, kept: Set[str]
) -> tuple[list[Sample], list[Sample]]:
    """Take a fraction of the samples away, in whole units, but for those of the ids `kept`.

    The units are ordered by their foreground. From each stretch of that order some are drawn by
    hash, so that small and large foregrounds are taken alike.

    Returns:
        The samples that remain, and those that are taken.
    """

    def draw_key(unit: list[Sample]) -> bytes:
        return _draw_key(unit, salt, facts)

    def may_be_taken(unit: list[Sample]) -> bool:
        return unit[0].id not in kept

    def mean_foreground(unit: list[Sample]) -> float:
        return sum(facts.foreground.get(sample.id, 0.0) for sample in unit) / len(unit)

    units = sorted(
        split_units(samples, facts.copies),
        key=lambda unit: (mean_foreground(unit), draw_key(unit)),
    )
    stretch = max(2, round(1 / fraction))
    target, taken = 0.0, set[str]()
    for start in range(0, len(units), stretch):
        members = units[start : start + stretch]
        target += fraction * sum(map(len, members))
        for unit in sorted(filter(may_be_taken, members), key=draw_key):
            if len(taken) + len(unit) / 2 <= target:
                taken |= {sample.id for sample in unit}
    if not taken and len(units) > 1 and any(map(may_be_taken, units)):
        smallest = min(filter(may_be_taken, units), key=lambda unit: (len(unit), draw_key(unit)))
        taken = {sample.id for sample in smallest}
    return [s for s in samples if s.id not in taken], [s for s in samples if s.id in taken]


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
