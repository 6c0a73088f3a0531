"""Going on from an earlier run with more data: what stays as it was, and whether the new model may
take the place of the old one.
"""

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from limner.data.check import CheckResult
from limner.data.sample import Sample
from limner.data.splits import SplitSamples, apply_split, split_units
from limner.errors import LimnerError
from limner.inference.predictor import Predictor
from limner.inference.tune import FEWEST, spread_order
from limner.labels import Labels
from limner.metrics.bootstrap import bootstrap_mean_interval, paired_scores
from limner.metrics.overlap import image_dice
from limner.model.bundle import Bundle
from limner.recipe import Recipe

KEPT = (
    "loss",
    "class_weights",
    "label_smoothing",
    "batch_size",
    "optimiser",
    "weight_decay",
    "ema_decay",
    "max_grad_norm",
)
"""Of the training's settings; its length and machine are planned anew."""
GENTLER = 1 / 3
"""Of the learning rate, so that what was learned is not unlearned at the start."""


def load_origin(path: Path) -> Bundle:
    """The model of a run, by its folder or its file. Raises LimnerError where there is none."""
    return Bundle.load(path / "model.safetensors" if path.is_dir() else path)


def inherited_values(recipe: Recipe, before: Bundle) -> dict[str, Any]:
    """The values that a new recipe takes from the old one, those that the user chose left out.
    Raises LimnerError where the network would be another.
    """
    chosen = recipe.explicit_keys()
    other = sorted(
        key
        for key in chosen
        if key.startswith("model.")
        and getattr(recipe.model, key[6:]) != getattr(before.recipe.model, key[6:])
    )
    if other:
        raise LimnerError(
            f"--from goes on with the network of the run, and {', '.join(other)} would be "
            "another. Leave it out, or train anew without --from."
        )
    values: dict[str, Any] = {
        f"model.{key}": value
        for key, value in before.recipe.model.model_dump(exclude_none=True).items()
    }
    values |= {
        f"data.{key}": value
        for key, value in before.recipe.data.model_dump(exclude_none=True).items()
    }
    values |= {f"augment.{key}": value for key, value in before.recipe.augment.model_dump().items()}
    # Its rate was a third already
    gentler = 1 if before.receipt.get("continues") else GENTLER
    values |= {f"train.{key}": getattr(before.recipe.train, key) for key in KEPT} | {
        "train.learning_rate": before.recipe.train.learning_rate * gentler
    }
    return {key: value for key, value in values.items() if key not in chosen}


def inherit_split(
    samples: Sequence[Sample], health: CheckResult, labels: Labels, before: Bundle
) -> SplitSamples:
    """The sides of the old run, so that what it was not trained on stays unseen. New samples go
    where their copies and their group are; others where the layout has them, or are trained on.
    Raises LimnerError where the classes differ or nothing is left to validate on.
    """
    if labels.names != before.labels.names:
        raise LimnerError(
            f"the run knows the classes {', '.join(before.labels.names)}, and the data has "
            f"{', '.join(labels.names)}. They must be the same."
        )
    found = apply_split(samples, before.split)
    new = found.pop("new")
    side_of, fresh = (
        {sample.id: side for side, there in found.items() for sample in there},
        {sample.id for sample in new},
    )
    for unit in split_units(samples, health.clusters):
        wanted: set[str | None] = {
            side_of[sample.id] for sample in unit if sample.id in side_of
        } or {sample.split for sample in unit}
        found[next((side for side in ("test", "val") if side in wanted), "train")] += [
            sample for sample in unit if sample.id in fresh
        ]
    if not found["val"] or not found["train"]:
        raise LimnerError(
            "the data has none of the samples that the run was validated on. Give the next "
            "revision of its data, or train anew without --from."
        )
    return {side: sorted(group, key=lambda sample: sample.id) for side, group in found.items()}


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """The mean Dice of two models on the same images, how many those are, and the 95 % interval of
    the difference (second less first).
    """

    before: float
    after: float
    interval: tuple[float, float]
    images: int


def compare_on_validation(
    before: Predictor,
    after: Predictor,
    samples: Sequence[Sample],
    labels: Labels,
    seconds_left: Callable[[], float] = lambda: math.inf,
) -> Generator[int, None, ModelComparison]:
    """Score two models on the same images, whose masks are coded as `labels` say, giving how many
    are done.

    Where the time is short, fewer of them are looked at, spread over the set.
    """
    rows: list[list[float]] = []
    for sample in spread_order(samples):
        if len(rows) >= FEWEST and seconds_left() <= 0:
            break
        truth, image = sample.class_index(labels), sample.read_image()
        rows.append(
            [
                image_dice(predictor.predict(image).mask, truth, before.labels)
                for predictor in (before, after)
            ]
        )
        yield len(rows)
    table = paired_scores(np.array(rows))
    low, high = bootstrap_mean_interval(table[:, 1:] - table[:, :1])[0]
    return ModelComparison(
        float(table[:, 0].mean()), float(table[:, 1].mean()), (float(low), float(high)), len(rows)
    )
