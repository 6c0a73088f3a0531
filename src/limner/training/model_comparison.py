"""A model and the one that it started from, compared on the same validation images."""

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np

from limner.data.sample import Sample
from limner.inference.predictor import Predictor
from limner.inference.tune import MIN_IMAGES, spread_order
from limner.labels import Labels
from limner.metrics.intervals import paired_difference
from limner.metrics.overlap import image_dice


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """The mean Dice of two models on the same images."""

    before: float
    after: float
    interval: tuple[float, float]
    """95 % of the paired difference, after less before."""
    images: int
    """That have a score by one of the models."""
    worse: bool
    """Whether the new model is worse by more than chance explains."""
    doubt: str
    """Why the two cannot be told apart, in words; empty where there are enough images."""


def compare_on_validation(
    before: Predictor,
    after: Predictor,
    samples: Sequence[Sample],
    labels: Labels,
    seconds_left: Callable[[], float] = lambda: math.inf,
) -> Generator[int, None, ModelComparison]:
    """Score two models on the same images, and yield how many are done.

    Where the time is short, fewer images are scored, spread over the set.

    Args:
        before: the old model.
        after: the new model.
        samples: images with masks.
        labels: how their masks are coded.
        seconds_left: what remains of the time budget.
    """
    scores: list[list[float]] = []
    for sample in spread_order(samples):
        if len(scores) >= MIN_IMAGES and seconds_left() <= 0:
            break
        truth, image = sample.class_index(labels), sample.read_image(channels=before.channels)
        masks = [predictor.predict(image).mask for predictor in (before, after)]
        scores.append([image_dice(mask, truth, before.labels) for mask in masks])
        yield len(scores)
    old, new = np.array(scores).T
    groups = [sample.group for sample in spread_order(samples)[: len(scores)]]
    difference = paired_difference(old, new, groups)
    return ModelComparison(
        difference.first,
        difference.second,
        difference.interval,
        difference.pairs,
        difference.is_loss,
        difference.doubt,
    )
