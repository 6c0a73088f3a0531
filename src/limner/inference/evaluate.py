"""Predictions against masks: per image and per class, at the masks' own size."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray

from limner.data.samples import Sample
from limner.errors import LimnerError
from limner.inference.predictor import Predictor
from limner.labels import Labels
from limner.metrics import confusion, dice, jaccard, thresholded


@dataclass(frozen=True, slots=True)
class Scores:
    """The counts of every image and class, from which every score follows."""

    ids: tuple[str, ...]
    counts: Int64[ndarray, "n k 3"]
    labels: Labels

    @classmethod
    def of(cls, scored: Sequence[tuple[str, Int64[ndarray, "k 3"]]], labels: Labels) -> "Scores":
        """The scores of the pairs that `score_each` gives. Raises LimnerError where there are none."""
        if not scored:
            raise LimnerError("there is no sample to score. Choose a split that has some.")
        return cls(tuple(id for id, _ in scored), np.stack([counts for _, counts in scored]), labels)

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write `scores-<name>.csv`, a row for each image, and `scores-<name>.json`, the headline; give both paths."""
        table, headline = folder / f"scores-{name}.csv", folder / f"scores-{name}.json"
        with table.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "dice", "jaccard"])
            writer.writerows(zip(self.ids, self.dice_per_image().tolist(), self.jaccard_per_image().tolist(), strict=True))
        headline.write_text(json.dumps({"images": len(self.ids), **self.summary(), "dice_per_class": self.dice_per_class()}, indent=2) + "\n")
        return table, headline

    def dice_per_image(self) -> Float64[ndarray, " n"]:
        """Mean over the scored classes of each image."""
        return _mean_classes(dice(self._scored(), self._empty()))

    def jaccard_per_image(self) -> Float64[ndarray, " n"]:
        return _mean_classes(jaccard(self._scored(), self._empty()))

    def dice_per_class(self) -> dict[str, float]:
        """Of all images' pixels together, for each scored class."""
        pooled = dice(self._scored().sum(0), self._empty())
        return {self.labels.names[index]: float(value) for index, value in zip(self.labels.scored, pooled, strict=True)}

    def summary(self) -> dict[str, float]:
        """The headline: means over images, and the pooled scores beside them."""
        jaccards, pooled = self.jaccard_per_image(), self._scored().sum(0)
        return {
            "mean_dice": float(np.nanmean(self.dice_per_image())),
            "mean_jaccard": float(np.nanmean(jaccards)),
            "mean_thresholded_jaccard": float(np.nanmean(thresholded(jaccards))),
            "pooled_dice": float(np.nanmean(dice(pooled, self._empty()))),
            "pooled_jaccard": float(np.nanmean(jaccard(pooled, self._empty()))),
        }

    def worst(self, count: int) -> list[tuple[str, float]]:
        """The ids with the lowest Dice, the lowest first."""
        per_image = self.dice_per_image()
        return [(self.ids[i], float(per_image[i])) for i in np.argsort(per_image, kind="stable")[:count] if not np.isnan(per_image[i])]

    def _scored(self) -> Int64[ndarray, "n k2 3"]:
        return self.counts[:, list(self.labels.scored)]

    def _empty(self) -> float:
        return 1.0 if self.labels.binary else float("nan")


def evaluate(predictor: Predictor, samples: Iterable[Sample]) -> Scores:
    """Score a predictor on samples. Raises LimnerError for an unreadable file or a mask of another size than its image."""
    return Scores.of(list(score_each(predictor, samples)), predictor.labels)


def score_each(predictor: Predictor, samples: Iterable[Sample]) -> Iterator[tuple[str, Int64[ndarray, "k 3"]]]:
    """The counts of one sample after another."""
    for sample in samples:
        truth = sample.class_index(predictor.labels)
        prediction = predictor.predict(sample.read_image()).class_index
        if truth.shape != prediction.shape:
            raise LimnerError(f"{sample.mask} has another size than its image. Masks must have their image's size: export this mask again.")
        yield sample.id, confusion(prediction, truth, len(predictor.labels.names))


def _mean_classes(values: Float64[ndarray, "n k"]) -> Float64[ndarray, " n"]:
    present = ~np.isnan(values)
    return np.where(present.any(1), np.where(present, values, 0).sum(1) / np.maximum(present.sum(1), 1), np.nan)
