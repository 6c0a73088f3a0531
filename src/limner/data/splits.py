"""Deterministic splits: a sample's side depends on its id and the seed alone, so adding samples moves none."""

import hashlib
from collections.abc import Sequence

from limner.data.folder import Sample, Split
from limner.errors import LimnerError


def split(samples: Sequence[Sample], validation_fraction: float, test_fraction: float, seed: int) -> dict[Split, list[Sample]]:
    """Train, val and test samples, each in the order of their ids.

    The layout's own splits are kept; a validation split that it lacks is cut from its training split. Where it has none
    at all, all three are cut by a hash of seed and id. Raises LimnerError where too few samples are left to train on.
    """
    ordered = sorted(samples, key=lambda sample: sample.id)
    sides: dict[Split, list[Sample]] = {"train": [], "val": [], "test": []}
    official = any(sample.split is not None for sample in ordered)
    for sample in ordered:
        sides[sample.split or "train"].append(sample)
    if not official and test_fraction > 0:
        sides["train"], sides["test"] = _cut(sides["train"], test_fraction, f"test/{seed}")
    if not sides["val"] and validation_fraction > 0:
        sides["train"], sides["val"] = _cut(sides["train"], validation_fraction / (1 if official else 1 - min(test_fraction, 0.9)), f"val/{seed}")
    if not sides["train"] or not sides["val"]:
        raise LimnerError(
            f"{len(ordered)} samples leave {len(sides['train'])} to train and {len(sides['val'])} to validate on. Each needs at least one: "
            "add samples, or lower data.test_fraction and data.validation_fraction."
        )
    return sides


def digest(samples: Sequence[Sample]) -> str:
    """SHA-256 of the ids, by which a model knows the split it was trained on."""
    return hashlib.sha256("\n".join(sorted(sample.id for sample in samples)).encode()).hexdigest()


def _cut(samples: list[Sample], fraction: float, salt: str) -> tuple[list[Sample], list[Sample]]:
    drawn = {sample.id: _uniform(f"{salt}/{sample.id}") for sample in samples}
    taken = {id for id, value in drawn.items() if value < fraction}
    if not taken and len(samples) > 1:
        taken = {min(drawn, key=lambda id: drawn[id])}
    return [s for s in samples if s.id not in taken], [s for s in samples if s.id in taken]


def _uniform(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
