"""The score of a network on prepared canvases, counted on the device."""

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from numpy import ndarray
from torch import Tensor, nn

from limner.data.cache import PreparedDataset
from limner.data.loader import DeviceDataset
from limner.labels import VOID, Labels
from limner.metrics.overlap import dice, one_vs_rest
from limner.recipe import TrainSettings
from limner.training.distributed import DistributedContext
from limner.training.step import autocast

PREVIEWS = 6
"""Samples whose masks are kept to be looked at, always the same."""

Normalise = Callable[[Float[Tensor, "b c h w"]], Float[Tensor, "b c2 h w"]]


@dataclass(frozen=True, slots=True)
class ValidationScore:
    """Mean Dice over images on their canvases, and the masks drawn on the watched canvases, by
    row.
    """

    mean_dice: float
    previews: dict[int, UInt8[ndarray, "h w"]]


def validate(
    network: nn.Module,
    data: PreparedDataset,
    pixels: DeviceDataset,
    standardise: Normalise,
    labels: Labels,
    settings: TrainSettings,
    ranks: DistributedContext,
    batch_size: int,
) -> Generator[int, None, ValidationScore]:
    """Score a network, so many canvases at a time, giving how many canvases are done after each
    batch; each of several processes looks at its part.

    The Dice is that of the threshold 0.5, over the scored classes that are in the image or its
    prediction.
    """
    network.eval()
    classes = len(labels.names)
    counts = torch.zeros(
        (int(data.sample_index.max()) + 1, classes + 1, classes),
        dtype=torch.int64,
        device=pixels.device,
    )
    watched = set(preview_rows(data))
    drawn: dict[int, UInt8[ndarray, "h w"]] = {}
    rows = np.arange(len(data))[ranks.rank :: ranks.world_size]
    batches = [rows[first : first + batch_size] for first in range(0, len(rows), batch_size)]
    for chosen, (images, masks) in zip(batches, pixels.iter_batches(batches), strict=True):
        with torch.no_grad(), autocast(settings):
            logits = network(standardise(images.permute(0, 3, 1, 2).float() / 255)).float()
        taken = (logits[:, 0] >= 0).long() if labels.binary else logits.argmax(1)
        _count(counts, torch.from_numpy(data.sample_index[chosen]).to(pixels.device), masks, taken)
        for position in [i for i, row in enumerate(chosen.tolist()) if row in watched]:
            drawn[int(chosen[position])] = taken[position].to(torch.uint8).cpu().numpy()
        yield int(chosen[-1]) + 1
    most = math.ceil(math.ceil(len(data) / ranks.world_size) / batch_size)
    for _ in range(
        most - len(batches)
        # All processes give as many times, since they look at each other in between
    ):
        yield len(data)
    return ValidationScore(_score(ranks.all_reduce_sum(counts).cpu().numpy(), labels), drawn)


def preview_rows(data: PreparedDataset) -> list[int]:
    """The rows of the canvases that are looked at: the first of samples spread over the set."""
    samples = np.unique(
        np.linspace(0, len(data.ids) - 1, min(PREVIEWS, len(data.ids))).round()
    ).astype(np.int64)
    return [int(np.flatnonzero(data.sample_index == sample)[0]) for sample in samples]


def _count(
    counts: Int64[Tensor, "n k1 k"],
    owners: Int64[Tensor, " b"],
    masks: UInt8[Tensor, "b h w"],
    taken: Int64[Tensor, "b h w"],
) -> None:
    """Count how many pixels of each true class were taken for each class, by sample; void pixels
    stand in a row of their own.
    """
    classes = counts.shape[2]
    truth = masks.long().masked_fill(masks == VOID, classes)
    places = ((owners[:, None, None] * (classes + 1) + truth) * classes + taken).flatten()
    counts.view(-1).scatter_add_(0, places, torch.ones_like(places))


def _score(counts: Int64[ndarray, "n k1 k"], labels: Labels) -> float:
    per_class = dice(one_vs_rest(counts[:, :-1]), empty=1.0 if labels.binary else float("nan"))[
        :, list(labels.scored)
    ]
    scored = per_class[~np.isnan(per_class).all(1)]
    return float(np.nanmean(scored, axis=1).mean()) if len(scored) else 0.0
