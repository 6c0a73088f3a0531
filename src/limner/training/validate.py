"""The score of a network on prepared images, counted on the device."""

import math
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy import ndarray
from torch import Tensor, nn

from limner.data.cache import PreparedDataset
from limner.data.loader import DeviceDataset
from limner.labels import VOID, Labels
from limner.metrics.overlap import dice, one_vs_rest
from limner.recipe import TrainSettings
from limner.training.distributed import DistributedContext
from limner.training.step import Normalise, autocast

PREVIEWS = 6
"""Samples whose predicted masks are shown, always the same ones."""


@dataclass(frozen=True, slots=True)
class ValidationScore:
    """The mean Dice over images at the working size, and the masks of the previews by row."""

    mean_dice: float
    previews: dict[int, UInt8[ndarray, "h w"]]


@dataclass(frozen=True, slots=True)
class Validator:
    """Scores networks on a prepared dataset. A row of it is an image, or a tile of one."""

    data: PreparedDataset
    pixels: DeviceDataset
    normalise: Normalise
    labels: Labels
    settings: TrainSettings
    distributed: DistributedContext

    def score(self, network: nn.Module, batch_size: int) -> Generator[int, None, ValidationScore]:
        """Score a network, and give how many rows are done after each batch.

        The Dice is that of the threshold 0.5, over the scored classes that are in the image or its
        prediction. Each of several processes scores its part of the rows.
        """
        network.eval()
        data, distributed = self.data, self.distributed
        counts = self._empty_counts()
        preview_set = set(preview_rows(data))
        previews: dict[int, UInt8[ndarray, "h w"]] = {}
        rows = np.arange(len(data))[distributed.rank :: distributed.world_size]
        batches = [rows[first : first + batch_size] for first in range(0, len(rows), batch_size)]
        for batch, (images, masks) in zip(batches, self.pixels.iter_batches(batches), strict=True):
            predicted = self._predict(network, images)
            samples = torch.from_numpy(data.sample_index[batch]).to(self.pixels.device)
            _add_counts(counts, samples, masks, predicted)
            for position, row in enumerate(batch.tolist()):
                if row in preview_set:
                    previews[row] = predicted[position].to(torch.uint8).cpu().numpy()
            yield int(batch[-1]) + 1
        # Processes wait for each other between batches, so each must have as many
        batches_of_all = math.ceil(math.ceil(len(data) / distributed.world_size) / batch_size)
        for _ in range(batches_of_all - len(batches)):
            yield len(data)
        all_counts = distributed.all_reduce_sum(counts).cpu().numpy()
        return ValidationScore(_mean_dice(all_counts, self.labels), previews)

    def _empty_counts(self) -> Int64[Tensor, "n k1 k"]:
        samples, classes = int(self.data.sample_index.max()) + 1, len(self.labels.names)
        shape = (samples, classes + 1, classes)
        return torch.zeros(shape, dtype=torch.int64, device=self.pixels.device)

    def _predict(
        self, network: nn.Module, images: UInt8[Tensor, "b h w c"]
    ) -> Int64[Tensor, "b h w"]:
        with torch.no_grad(), autocast(self.settings):
            channels_first = images.permute(0, 3, 1, 2).float() / 255
            logits = network(self.normalise(channels_first)).float()
        return (logits[:, 0] >= 0).long() if self.labels.binary else logits.argmax(1)


def preview_rows(data: PreparedDataset) -> list[int]:
    """Choose the rows that are shown: the first of samples that are spread over the set."""
    samples = np.unique(
        np.linspace(0, len(data.ids) - 1, min(PREVIEWS, len(data.ids))).round()
    ).astype(np.int64)
    return [int(np.flatnonzero(data.sample_index == sample)[0]) for sample in samples]


def _add_counts(
    counts: Int64[Tensor, "n k1 k"],
    samples: Int64[Tensor, " b"],
    masks: UInt8[Tensor, "b h w"],
    predicted: Int64[Tensor, "b h w"],
) -> None:
    """Count pixels by sample, true class and predicted class; the last true class is void."""
    classes = counts.shape[2]
    truth = masks.long().masked_fill(masks == VOID, classes)
    cells = ((samples[:, None, None] * (classes + 1) + truth) * classes + predicted).flatten()
    counts.view(-1).scatter_add_(0, cells, torch.ones_like(cells))


def _mean_dice(counts: Int64[ndarray, "n k1 k"], labels: Labels) -> float:
    empty = 1.0 if labels.binary else float("nan")
    per_class = dice(one_vs_rest(counts[:, :-1]), empty=empty)[:, list(labels.scored)]
    scored = per_class[~np.isnan(per_class).all(1)]
    return float(np.nanmean(scored, axis=1).mean()) if len(scored) else 0.0
