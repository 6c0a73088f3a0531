"""Folds of a cross-validation: every sample is validated on once, copies and groups together."""

import hashlib
from collections.abc import Sequence

from limner.data.sample import Sample
from limner.data.splits import SplitFacts, SplitSamples, split_units
from limner.errors import LimnerError


def fold_split(
    sides: SplitSamples, fold: int, folds: int, seed: int, facts: SplitFacts
) -> SplitSamples:
    """Split what is not held out for the test anew: one fold to validate on, the rest to train.

    Args:
        sides: The samples of "train", "val" and "test".
        fold: Which one is validated on, from 0 on.
        folds: How many there are, at least 2.
        seed: Of the draw.
        facts: As for `split_samples`.

    Raises LimnerError where there are fewer units, such as patients, than folds.
    """
    pool = sorted([*sides["train"], *sides["val"]], key=lambda sample: sample.id)
    if folds < 2:
        raise LimnerError(f"data.folds is {folds}. A cross-validation has at least 2 folds.")
    dealt = deal_folds(pool, folds, seed, facts)
    if not 0 <= fold < folds:
        raise LimnerError(f"data.fold is {fold}. Of {folds} folds it is 0 to {folds - 1}.")
    held_out = {sample.id for sample in dealt[fold]}
    return {
        "train": [sample for sample in pool if sample.id not in held_out],
        "val": dealt[fold],
        "test": sides["test"],
    }


def deal_folds(
    samples: Sequence[Sample], folds: int, seed: int, facts: SplitFacts
) -> list[list[Sample]]:
    """Deal samples out to folds of much the same size, with small and large foregrounds alike.

    The result depends on the facts and the seed alone. Each fold is in the order of `samples`.
    Raises LimnerError where there are fewer units than folds.
    """

    def draw_key(unit: Sequence[Sample]) -> bytes:
        name = min(facts.digest.get(sample.id, sample.id) for sample in unit)
        return hashlib.sha256(f"fold/{seed}/{name}".encode()).digest()

    def mean_foreground(unit: Sequence[Sample]) -> float:
        return sum(facts.foreground.get(sample.id, 0.0) for sample in unit) / len(unit)

    units = sorted(
        split_units(samples, facts.copies), key=lambda unit: (mean_foreground(unit), draw_key(unit))
    )
    if len(units) < folds:
        raise LimnerError(
            f"{len(samples)} samples are {len(units)} units that stay together, such as patients "
            f"or copies, and cannot be dealt out to {folds} folds. Take at most {len(units)}."
        )
    fold_by_id: dict[str, int] = {}
    sizes = [0] * folds
    # Of each stretch of alike foregrounds every fold gets one; the smallest fold the largest unit
    for start in range(0, len(units), folds):
        free = list(range(folds))
        stretch = sorted(units[start : start + folds], key=draw_key)
        for unit in sorted(stretch, key=len, reverse=True):
            fold = min(free, key=lambda number: (sizes[number], draw_key(unit), number))
            free.remove(fold)
            sizes[fold] += len(unit)
            fold_by_id |= {sample.id: fold for sample in unit}
    return [
        [sample for sample in samples if fold_by_id[sample.id] == fold] for fold in range(folds)
    ]
