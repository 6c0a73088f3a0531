"""The scores of many images: per image, their means with intervals, pooled, and by class."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, Num
from numpy import ndarray

from limner.errors import LimnerError
from limner.inference.confidence import CanvasStatistics
from limner.inference.out_of_distribution import is_unusual
from limner.labels import Labels
from limner.metrics.intervals import (
    PairedDifference,
    mean_interval,
    paired_difference,
    statistic_interval,
)
from limner.metrics.overlap import (
    JACCARD_THRESHOLD,
    OVERLAP_METRICS,
    empty_score,
    mean_over_classes,
    thresholded_jaccard,
)
from limner.metrics.surface import SURFACE_METRICS

COMPARED_METRICS = ("dice", "jaccard", "thresholded_jaccard")
"""The scores in which two models are compared."""


@dataclass(frozen=True, slots=True)
class ImageScore:
    """What is known of one image once its prediction is compared with its mask."""

    id: str
    counts: Int64[ndarray, "k 4"]
    """Of each class, as `metrics.overlap.confusion_counts` returns them."""
    surface: Float64[ndarray, "k2 3"]
    """Of each scored class, in the order of `metrics.surface.SURFACE_METRICS`."""
    predicted_dice: float | None
    unusualness: float | None
    mask_share: float
    """The share of the image's pixels that are of a scored class."""
    brightness: float
    """Mean over pixels and channels, in 0..1."""
    reliability: Float64[ndarray, "2 bins 3"]
    """Before and after calibration: pixels, and sums of predicted and true frequency, by bin."""
    confusion: Int64[ndarray, "cells 3"] = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    """True class, predicted class and pixels, of the pairs of classes that occur."""
    group: str | None = None
    """The patient or film that it shares with others; None where it stands alone."""
    canvases: Sequence[CanvasStatistics] = ()
    """What the predicted Dice of a single model is from; none where it has no confidence model."""

    @property
    def unusual(self) -> bool:
        """Whether the image is unlike the training images."""
        return is_unusual(self.unusualness)


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """The mean of a score over images, and its pooled value, each with a 95 % interval."""

    mean: float
    interval: tuple[float, float]
    pooled: float | None = None
    """Over the pixels of all images together; None for a score that has no such value."""
    pooled_interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of several images, from which every table and chart follows.

    A score of an image is the mean over the scored classes that are present in it. It is NaN where
    there is none, and where the image is void everywhere; means and intervals leave such images
    out.
    """

    images: tuple[ImageScore, ...]
    labels: Labels
    jaccard_threshold: float = JACCARD_THRESHOLD

    @classmethod
    def from_images(
        cls,
        images: Sequence[ImageScore],
        labels: Labels,
        jaccard_threshold: float = JACCARD_THRESHOLD,
    ) -> "Scores":
        """Collect the scores of images.

        Args:
            images: at least one.
            labels: the classes.
            jaccard_threshold: below it a Jaccard counts as 0 in `thresholded_jaccard`.

        Raises LimnerError where there is no image.
        """
        if not images:
            raise LimnerError("there is no sample to score. Choose a split that has some.")
        return cls(tuple(images), labels, jaccard_threshold)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the samples, in the order of `images`."""
        return tuple(image.id for image in self.images)

    @property
    def groups(self) -> tuple[str | None, ...]:
        """The group of each image, in the order of `images`."""
        return tuple(image.group for image in self.images)

    @property
    def unscored(self) -> tuple[str, ...]:
        """The ids of the images without a Dice.

        They are void everywhere, or, in a set of several classes, neither the mask nor the
        prediction has a scored class.
        """
        return tuple(self.ids[i] for i in np.flatnonzero(np.isnan(self.per_image()["dice"])))

    def only(self, ids: Collection[str]) -> "Scores":
        """Keep the images of some ids."""
        return replace(self, images=tuple(image for image in self.images if image.id in ids))

    def per_image(self) -> dict[str, Float64[ndarray, " n"]]:
        """Compute every score of every image, by the score's name."""
        counts = self._scored_counts()
        scores = {}
        for name, metric in OVERLAP_METRICS.items():
            scores[name] = mean_over_classes(metric(counts, empty_score(self.labels)))
            if name == "jaccard":
                thresholded = thresholded_jaccard(scores[name], self.jaccard_threshold)
                scores["thresholded_jaccard"] = thresholded
        surface = np.stack([image.surface for image in self.images])  # (n, k, 3)
        if not self.labels.binary:
            present = counts[..., :3].sum(-1) > 0
            surface = np.where(present[..., None], surface, np.nan)
        for column, name in enumerate(SURFACE_METRICS):
            scores[name] = mean_over_classes(surface[..., column])
        return scores

    def summary(self) -> dict[str, ScoreSummary]:
        """Summarise every score: its mean over images, and pooled over pixels, with intervals."""
        per_image = self.per_image()
        pooled, pooled_intervals = self._pooled()
        return {
            name: ScoreSummary(
                _mean_of_present(values),
                _as_pair(
                    mean_interval(
                        values[:, None],
                        self.groups,
                        bounds=(0.0, math.inf if name in SURFACE_METRICS else 1.0),
                    )[0]
                ),
                pooled.get(name),
                _as_pair(pooled_intervals[name]) if name in pooled else None,
            )
            for name, values in per_image.items()
        }

    def per_class(self) -> dict[str, dict[str, float]]:
        """Compute the overlap scores of each scored class, over the pixels of all images."""
        total = self._scored_counts().sum(0)
        return {
            self.labels.names[index]: {
                name: float(metric(counts, empty_score(self.labels)))
                for name, metric in OVERLAP_METRICS.items()
            }
            for index, counts in zip(self.labels.scored, total, strict=True)
        }

    def reliability(self) -> Float64[ndarray, "2 bins 3"]:
        """Sum the reliability diagrams of all images, before and after calibration."""
        total: ndarray = np.sum([image.reliability for image in self.images], axis=0)
        return total

    def confusion(self) -> Int64[ndarray, "k k"]:
        """Sum the pixels of each true class (in rows) and predicted class, over all images."""
        table = np.zeros((len(self.labels.names),) * 2, np.int64)
        cells = np.concatenate([image.confusion for image in self.images])
        np.add.at(table, (cells[:, 0], cells[:, 1]), cells[:, 2])
        return table

    def ranked(self) -> list[int]:
        """Sort the images by Dice, the lowest first, without those that have no score."""
        dice = self.per_image()["dice"]
        return [int(i) for i in np.argsort(dice, kind="stable") if not np.isnan(dice[i])]

    def worst(self, count: int) -> list[tuple[str, float]]:
        """Return the ids and the Dice of the `count` images with the lowest Dice."""
        dice = self.per_image()["dice"]
        return [(self.ids[i], float(dice[i])) for i in self.ranked()[:count]]

    def _scored_counts(self) -> Int64[ndarray, "n k2 4"]:
        return np.stack([image.counts for image in self.images])[:, list(self.labels.scored)]

    def _pooled(self) -> tuple[dict[str, float], dict[str, Float64[ndarray, " 2"]]]:
        """The overlap scores of all pixels together, and their intervals over images."""
        counts = self._scored_counts()
        # An image that is void everywhere says nothing of how images differ
        scored = np.flatnonzero(counts.sum((1, 2)) > 0)
        counts, groups = counts[scored], [self.groups[row] for row in scored]
        flat_counts = counts.reshape(len(counts), counts.shape[1] * counts.shape[2])

        def metrics(totals: Num[ndarray, "r k2 4"]) -> Float64[ndarray, "r m"]:
            scores = [
                mean_over_classes(metric(totals, empty_score(self.labels)))
                for metric in OVERLAP_METRICS.values()
            ]
            return np.stack(scores, axis=1)

        intervals = statistic_interval(
            len(counts),
            lambda weights: metrics((weights @ flat_counts).reshape(-1, *counts.shape[1:])),
            groups,
            bounds=(0.0, 1.0),
        )
        pooled = metrics(counts.sum(0)[None])[0].tolist()
        return (
            dict(zip(OVERLAP_METRICS, pooled, strict=True)),
            dict(zip(OVERLAP_METRICS, intervals, strict=True)),
        )


def compare_models(first: Scores, second: Scores) -> dict[str, PairedDifference]:
    """Compare two models image by image, in each of `COMPARED_METRICS`.

    Raises LimnerError where they were scored on different images.
    """
    if first.ids != second.ids:
        raise LimnerError(
            "the two models were not scored on the same images. Score both on one split of one "
            "dataset."
        )
    first_scores, second_scores = first.per_image(), second.per_image()
    return {
        name: paired_difference(first_scores[name], second_scores[name], first.groups)
        for name in COMPARED_METRICS
    }


def scores_to_json(scores: Scores) -> dict[str, Any]:
    """Return the summary of every score, as `report.json` holds it."""
    content: dict[str, Any] = {}
    for name, summary in scores.summary().items():
        content[name] = {"mean": summary.mean, "interval": summary.interval}
        if summary.pooled is not None:
            content[name]["pooled"] = summary.pooled
            content[name]["pooled_interval"] = summary.pooled_interval
    return content


def _mean_of_present(values: Float64[ndarray, " n"]) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else float("nan")


def _as_pair(interval: Float64[ndarray, " 2"]) -> tuple[float, float]:
    return float(interval[0]), float(interval[1])
