"""Predictions against masks: per image and per class, at the masks' own size, with intervals; and
two models on the same images.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, Num, UInt8
from numpy import ndarray

from limner.data.sample import Sample
from limner.errors import LimnerError
from limner.inference.calibration import reliability_bins
from limner.inference.predictor import Prediction, Predictor
from limner.labels import Labels
from limner.metrics.bootstrap import bootstrap_interval, bootstrap_mean_interval, paired_scores
from limner.metrics.overlap import (
    JACCARD_THRESHOLD,
    OVERLAP_METRICS,
    confusion_counts,
    mean_over_classes,
    thresholded_jaccard,
)
from limner.metrics.surface import SURFACE_METRICS, TOLERANCE_PX, surface_metrics_per_class


@dataclass(frozen=True, slots=True)
class ImageScore:
    """What is known of one image once its prediction was compared with its mask."""

    id: str
    counts: Int64[ndarray, "k 4"]
    surface: Float64[ndarray, "k2 3"]
    """Of each scored class, as `boundary.NAMES` has them."""
    predicted_dice: float | None
    unusualness: float | None
    truth_share: float
    """Of the image's pixels, those of a scored class."""
    brightness: float
    """Mean over pixels and channels, in 0..1."""
    reliability: Float64[ndarray, "2 bins 3"]
    """Before and after calibration: pixels, said and true frequency, summed in bins of the
    probability.
    """


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """A score over images, and over all pixels together where that can be said, each with the ends
    of its 95 % interval.
    """

    mean: float
    interval: tuple[float, float]
    pooled: float | None = None
    pooled_interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of several images, from which every table and picture follows."""

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
        """Raises LimnerError where there are none."""
        if not images:
            raise LimnerError("there is no sample to score. Choose a split that has some.")
        return cls(tuple(images), labels, jaccard_threshold)

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(image.id for image in self.images)

    def per_image(self) -> dict[str, Float64[ndarray, " n"]]:
        """Every score of every image, the mean over the scored classes that it has; not a number
        where it has none.
        """
        found = {
            name: mean_over_classes(ratio(self._counts(), self._empty()))
            for name, ratio in OVERLAP_METRICS.items()
        }
        found = {
            "dice": found.pop("dice"),
            "jaccard": found["jaccard"],
            "thresholded_jaccard": thresholded_jaccard(found["jaccard"], self.jaccard_threshold),
            **found,
        }
        outlines = np.stack([image.surface for image in self.images])
        if not self.labels.binary:
            outlines = np.where((self._counts()[..., :3].sum(-1) > 0)[..., None], outlines, np.nan)
        return found | {
            name: mean_over_classes(outlines[..., column])
            for column, name in enumerate(SURFACE_METRICS)
        }

    def summary(self) -> dict[str, ScoreSummary]:
        """Every score: its mean over images, and pooled over pixels, with intervals."""
        rows = self.per_image()
        values, ends = (
            np.stack(list(rows.values()), axis=1),
            bootstrap_mean_interval(np.stack(list(rows.values()), axis=1)),
        )
        pooled, pooled_ends = self._pooled()
        return {
            name: ScoreSummary(
                _nanmean(values[:, i]),
                _pair(ends[i]),
                pooled.get(name),
                _pair(pooled_ends[name]) if name in pooled else None,
            )
            for i, name in enumerate(rows)
        }

    def per_class(self) -> dict[str, dict[str, float]]:
        """Of each scored class, every score of all images' pixels together."""
        total = self._counts().sum(0)
        return {
            self.labels.names[index]: {
                name: float(ratio(total[row], self._empty()))
                for name, ratio in OVERLAP_METRICS.items()
            }
            for row, index in enumerate(self.labels.scored)
        }

    def calibration(self) -> Float64[ndarray, "2 bins 3"]:
        """Pixels, said and true frequency by bin, before and after calibration, over all images."""
        total: ndarray = np.sum([image.reliability for image in self.images], axis=0)
        return total

    def ranked(self) -> list[int]:
        """The images from the lowest Dice to the highest; those without a score are left out."""
        per_image = self.per_image()["dice"]
        return [int(i) for i in np.argsort(per_image, kind="stable") if not np.isnan(per_image[i])]

    def worst(self, count: int) -> list[tuple[str, float]]:
        """The ids with the lowest Dice, the lowest first."""
        per_image = self.per_image()["dice"]
        return [(self.ids[i], float(per_image[i])) for i in self.ranked()[:count]]

    def _counts(self) -> Int64[ndarray, "n k2 4"]:
        return np.stack([image.counts for image in self.images])[:, list(self.labels.scored)]

    def _pooled(self) -> tuple[dict[str, float], dict[str, Float64[ndarray, " 2"]]]:
        counts, classes = self._counts(), len(self.labels.scored)

        def every(total: Num[ndarray, "r k2 4"]) -> Float64[ndarray, "r m"]:
            return np.stack(
                [
                    mean_over_classes(ratio(total, self._empty()))
                    for ratio in OVERLAP_METRICS.values()
                ],
                axis=1,
            )

        flat = counts.reshape(len(counts), -1)
        ends = bootstrap_interval(
            len(counts), lambda drawn: every((drawn @ flat).reshape(-1, classes, 4))
        )
        values = every(counts.sum(0)[None])[0]
        return dict(zip(OVERLAP_METRICS, values.tolist(), strict=True)), dict(
            zip(OVERLAP_METRICS, ends, strict=True)
        )

    def _empty(self) -> float:
        return 1.0 if self.labels.binary else float("nan")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same images: of one score the difference of the means (second less first)
    with its 95 % interval, and images won and lost.

    All of it is of the images in which there was something for one of them: `metrics.comparable`.
    """

    name: str
    first: float
    second: float
    difference: float
    interval: tuple[float, float]
    won: int
    lost: int
    same: int


COMPARED = ("dice", "jaccard", "thresholded_jaccard")


def compare_models(first: Scores, second: Scores) -> list[Comparison]:
    """The paired comparison of two models. Raises LimnerError where they were scored on different
    images.
    """
    if first.ids != second.ids:
        raise LimnerError(
            "the two models were not scored on the same images. Score both on one split of "
            "one dataset."
        )
    rows, others = first.per_image(), second.per_image()
    return [_compared(name, rows[name], others[name]) for name in COMPARED]


def _compared(
    name: str, first: Float64[ndarray, " n"], second: Float64[ndarray, " n"]
) -> Comparison:
    pairs = paired_scores(np.stack([first, second], axis=1))
    difference = pairs[:, 1] - pairs[:, 0]
    ends = bootstrap_mean_interval(difference[:, None])[0]
    won, lost = int((difference > 0).sum()), int((difference < 0).sum())
    means = [_nanmean(values) for values in (pairs[:, 0], pairs[:, 1], difference)]
    return Comparison(
        name, means[0], means[1], means[2], _pair(ends), won, lost, len(difference) - won - lost
    )


def evaluate(predictor: Predictor, samples: Iterable[Sample]) -> Scores:
    """Score a predictor on samples. Raises LimnerError for an unreadable file or a mask of another
    size than its image.
    """
    return Scores.from_images(list(iter_scores(predictor, samples)), predictor.labels)


def iter_scores(
    predictor: Predictor, samples: Iterable[Sample], tolerance_px: float = TOLERANCE_PX
) -> Iterator[ImageScore]:
    """The scores of one sample after another; `tolerance_px` is that of the surface Dice."""
    for sample in samples:
        truth = sample.class_index(predictor.labels)
        image = sample.read_image()
        yield score_image(
            sample, image, truth, predictor.predict(image), predictor.labels, tolerance_px
        )


def score_image(
    sample: Sample,
    image: UInt8[ndarray, "h w c"],
    truth: UInt8[ndarray, "h w"],
    prediction: Prediction,
    labels: Labels,
    tolerance_px: float = TOLERANCE_PX,
) -> ImageScore:
    """Compare one prediction with its mask. Raises LimnerError where their sizes differ."""
    if truth.shape != prediction.mask.shape:
        raise LimnerError(
            f"{sample.mask} has another size than its image. Masks must have their image's "
            "size: export this mask again."
        )
    probabilities = prediction.probabilities
    return ImageScore(
        sample.id,
        confusion_counts(prediction.mask, truth, len(labels.names)),
        surface_metrics_per_class(prediction.mask, truth, labels.scored, tolerance_px),
        prediction.predicted_dice,
        prediction.unusualness,
        float(np.isin(truth, labels.scored).mean()),
        float(image.mean() / 255),
        np.stack(
            [
                reliability_bins(p, truth)
                for p in (probabilities, prediction.calibration(probabilities))
            ]
        ),
    )


def scores_to_json(scores: Scores) -> dict[str, Any]:
    """The headline, as a program reads it."""
    found: dict[str, Any] = {}
    for name, statistic in scores.summary().items():
        found[name] = {"mean": statistic.mean, "interval": statistic.interval}
        if statistic.pooled is not None:
            found[name] |= {
                "pooled": statistic.pooled,
                "pooled_interval": statistic.pooled_interval,
            }
    return found


def _nanmean(values: Float64[ndarray, " n"]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _pair(ends: Float64[ndarray, " 2"]) -> tuple[float, float]:
    return float(ends[0]), float(ends[1])
