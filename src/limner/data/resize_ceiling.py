"""The resize ceiling: the best Dice that a working size allows at all, from masks brought to it and
back.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from numpy import ndarray

from limner.data.parallel import Progress, map_in_order, with_progress
from limner.data.preprocess import mask_to_canvas, views
from limner.data.resize import upsample_bands
from limner.data.sample import Sample
from limner.labels import Labels
from limner.metrics.overlap import confusion_counts, dice
from limner.recipe import ResizeMode

MASKS = 128
"""Masks that are looked at, spread over the set; more change the fourth digit."""


def resize_ceiling(
    samples: Sequence[Sample],
    labels: Labels,
    size_px: tuple[int, int],
    resize_mode: ResizeMode,
    progress: Progress | None = None,
) -> dict[str, float]:
    """For each scored class the mean Dice, over the masks that have it, of a network that is right
    about every pixel at `size_px`. Tiles lose nothing and have no ceiling.

    A class that no mask has is left out. Raises LimnerError where a mask cannot be read.
    """
    chosen = samples[:: -(-len(samples) // MASKS)]
    rows = list(
        with_progress(
            map_in_order(
                lambda sample: _there_and_back(sample, labels, size_px, resize_mode), chosen
            ),
            len(chosen),
            progress,
        )
    )
    table = np.stack(rows)  # (n, k)
    return {
        labels.names[i]: float(np.nanmean(table[:, i]))
        for i in labels.scored
        if not np.isnan(table[:, i]).all()
    }


def _there_and_back(
    sample: Sample, labels: Labels, size_px: tuple[int, int], resize_mode: ResizeMode
) -> Float64[ndarray, " k"]:
    truth = sample.class_index(labels)
    image_px = truth.shape[0], truth.shape[1]
    (view,) = views(image_px, size_px, resize_mode)
    classes = len(labels.names)
    marked = (1,) if labels.binary else tuple(range(classes))
    marks = view.target.crop_planes(_marks(mask_to_canvas(truth, view, size_px, classes), marked))
    back = np.concatenate(list(upsample_bands(marks, image_px)), axis=1)
    prediction = back[0] >= 0.5 if labels.binary else back.argmax(0)
    counts = confusion_counts(prediction.astype(np.uint8), truth, classes)
    return np.where(counts[:, [0, 2]].sum(1) > 0, dice(counts), np.nan)


def _marks(class_index: UInt8[ndarray, "h w"], classes: Sequence[int]) -> Float32[ndarray, "k h w"]:
    """What a network that is right would say: 1 where a class is, 0 elsewhere."""
    return np.stack([(class_index == index).astype(np.float32) for index in classes])
