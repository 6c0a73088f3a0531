"""The score of a network on prepared canvases, counted on the device, and the threshold that suits it best."""

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from numpy import ndarray
from torch import Tensor, nn

from limner.data.batches import Pixels
from limner.data.cache import Standardised
from limner.inference.predictor import THRESHOLD
from limner.labels import VOID, Labels
from limner.metrics import dice
from limner.recipe import TrainSettings
from limner.training.distributed import Ranks
from limner.training.step import autocast

THRESHOLDS = np.arange(2, 39, dtype=np.float32) / 40
"""Of the probability, for a binary set: from 0.05 to 0.95, 0.5 among them."""
WATCHED = 6
"""Samples whose masks are kept to be looked at, always the same."""
TIE = 1e-4
"""Thresholds whose Dice differs by less are as good as each other, and the one nearest to 0.5 is taken."""

Standardise = Callable[[Float[Tensor, "b c h w"]], Float[Tensor, "b c2 h w"]]


@dataclass(frozen=True, slots=True)
class Scored:
    """Mean Dice over images on their canvases, the threshold that is best there, and the masks drawn on the watched canvases, by row."""

    mean_dice: float
    threshold: float
    drawn: dict[int, UInt8[ndarray, "h w"]]


def validate(
    network: nn.Module, data: Standardised, pixels: Pixels, standardise: Standardise, labels: Labels, settings: TrainSettings, ranks: Ranks
) -> Generator[int, None, Scored]:
    """Score a network, giving how many canvases are done after each batch; each of several processes looks at its part.

    The Dice is that of the threshold 0.5, over the scored classes that are in the image or its prediction; for several classes there is no
    threshold, and 0.5 is given.
    """
    network.eval()
    tally = BinaryTally(data, pixels.device) if labels.binary else ClassTally(data, pixels.device, len(labels.names))
    watched = set(watched_rows(data))
    drawn: dict[int, UInt8[ndarray, "h w"]] = {}
    rows = np.arange(len(data))[ranks.rank :: ranks.count]
    batches = [rows[first : first + settings.batch_size] for first in range(0, len(rows), settings.batch_size)]
    for chosen, (images, masks) in zip(batches, pixels.each(batches), strict=True):
        with torch.no_grad(), autocast(settings):
            logits = network(standardise(images.permute(0, 3, 1, 2).float() / 255)).float()
        tally.add(logits, masks, torch.from_numpy(data.owners[chosen]).to(pixels.device))
        for position in [i for i, row in enumerate(chosen.tolist()) if row in watched]:
            one = logits[position]
            drawn[int(chosen[position])] = (one[0] >= 0 if labels.binary else one.argmax(0)).to(torch.uint8).cpu().numpy()
        yield int(chosen[-1]) + 1
    most = math.ceil(math.ceil(len(data) / ranks.count) / settings.batch_size)
    for _ in range(most - len(batches)):  # all processes give as many times, since they look at each other in between
        yield len(data)
    counts = ranks.total(tally.counts).cpu().numpy()
    return _binary_score(counts, drawn) if isinstance(tally, BinaryTally) else Scored(_class_score(counts, labels), THRESHOLD, drawn)


def watched_rows(data: Standardised) -> list[int]:
    """The rows of the canvases that are looked at: the first of samples spread over the set."""
    samples = np.unique(np.linspace(0, len(data.ids) - 1, min(WATCHED, len(data.ids))).round()).astype(np.int64)
    return [int(np.flatnonzero(data.owners == sample)[0]) for sample in samples]


class BinaryTally:
    """Of every image, how many pixels of each truth reach so many thresholds; the counts stay on the device."""

    def __init__(self, data: Standardised, device: torch.device) -> None:
        self._thresholds = torch.from_numpy(THRESHOLDS).to(device)
        self.counts = torch.zeros((int(data.owners.max()) + 1, 3, len(THRESHOLDS) + 1), dtype=torch.int64, device=device)

    def add(self, logits: Float[Tensor, "b 1 h w"], masks: UInt8[Tensor, "b h w"], owners: Int64[Tensor, " b"]) -> None:
        passed = torch.bucketize(logits[:, 0].sigmoid().contiguous(), self._thresholds, right=True)  # how many thresholds each pixel reaches
        truth = masks.long().masked_fill(masks == VOID, 2)
        _count(self.counts, (owners[:, None, None] * 3 + truth) * (len(THRESHOLDS) + 1) + passed)


class ClassTally:
    """Of every image, how many pixels of each class were taken for each class; void pixels stand in a row of their own."""

    def __init__(self, data: Standardised, device: torch.device, classes: int) -> None:
        self._classes = classes
        self.counts = torch.zeros((int(data.owners.max()) + 1, classes + 1, classes), dtype=torch.int64, device=device)

    def add(self, logits: Float[Tensor, "b k h w"], masks: UInt8[Tensor, "b h w"], owners: Int64[Tensor, " b"]) -> None:
        truth = masks.long().masked_fill(masks == VOID, self._classes)
        _count(self.counts, (owners[:, None, None] * (self._classes + 1) + truth) * self._classes + logits.argmax(1))


def _count(counts: Int64[Tensor, "..."], places: Int64[Tensor, "b h w"]) -> None:
    flat = places.flatten()
    counts.view(-1).scatter_add_(0, flat, torch.ones_like(flat))


def _binary_score(counts: Int64[ndarray, "n 3 t1"], drawn: dict[int, UInt8[ndarray, "h w"]]) -> Scored:
    means = dice(by_threshold(counts), empty=1.0).mean(0)
    best = np.flatnonzero(means >= means.max() - TIE)
    nearest = best[np.abs(THRESHOLDS[best] - THRESHOLD).argmin()]
    return Scored(float(means[np.searchsorted(THRESHOLDS, THRESHOLD)]), float(THRESHOLDS[nearest]), drawn)


def by_threshold(counts: Int64[ndarray, "n 3 t1"]) -> Int64[ndarray, "n t 3"]:
    """True positives, false positives and false negatives of the foreground at each threshold, from how many pixels reach so many."""
    reached = counts[:, :2, ::-1].cumsum(2)[:, :, ::-1]  # (n, truth, t1): pixels that reach at least so many
    false, hit = reached[:, 0, 1:], reached[:, 1, 1:]
    return np.stack([hit, false, reached[:, 1, :1] - hit], axis=2)


def _class_score(counts: Int64[ndarray, "n k1 k"], labels: Labels) -> float:
    confused = counts[:, :-1]
    hit = np.diagonal(confused, axis1=1, axis2=2)
    table = np.stack([hit, confused.sum(1) - hit, confused.sum(2) - hit], axis=2)  # (n, k, 3)
    per_class = dice(table, empty=float("nan"))[:, list(labels.scored)]
    scored = per_class[~np.isnan(per_class).all(1)]
    return float(np.nanmean(scored, axis=1).mean()) if len(scored) else 0.0
