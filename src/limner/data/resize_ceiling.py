"""The resize ceiling: the best Dice that a working size allows, from masks resized and back."""

import zlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from numpy import ndarray

from limner.data.parallel import map_in_order
from limner.data.preprocess import mask_to_canvas
from limner.data.resize import upsample_bands
from limner.data.sample import Sample
from limner.data.views import views
from limner.labels import Labels
from limner.metrics.overlap import confusion_counts, dice
from limner.recipe import ResizeMode

MASKS = 128
"""Masks that are looked at, spread over the set; more change the fourth digit."""


class ResizeCeiling:
    """The Dice that a network reaches at most at a working size, measured on some of the masks.

    Each mask is read once, when the first size is asked for, and then kept compressed.
    """

    def __init__(self, samples: Sequence[Sample], labels: Labels) -> None:
        self._samples = samples[:: -(-len(samples) // MASKS)]
        self._labels = labels
        self._masks: dict[int, tuple[bytes, tuple[int, ...]]] = {}
        """By position the compressed class indices, and their shape."""

    def __call__(self, size_px: tuple[int, int], resize_mode: ResizeMode) -> dict[str, float]:
        """For each scored class the mean Dice of a network that is right about every pixel.

        Args:
            size_px: Height and width that the network would see.
            resize_mode: How images are brought to that size; tiles lose nothing and have no
                ceiling.

        Returns:
            The mean over the masks that have the class, by class name. A class that no mask has is
            left out.

        Raises LimnerError where a mask cannot be read.
        """
        rows = map_in_order(
            lambda position: self._mask_dice(position, size_px, resize_mode),
            range(len(self._samples)),
        )
        table = np.stack(list(rows))  # (n, k)
        return {
            self._labels.names[i]: float(np.nanmean(table[:, i]))
            for i in self._labels.scored
            if not np.isnan(table[:, i]).all()
        }

    def _mask_dice(
        self, position: int, size_px: tuple[int, int], resize_mode: ResizeMode
    ) -> Float64[ndarray, " k"]:
        """The Dice of each class of one mask, NaN where the mask does not have the class."""
        truth, binary = self._class_index(position), self._labels.binary
        image_px = truth.shape[0], truth.shape[1]
        classes = len(self._labels.names)
        (view,) = views(image_px, size_px, resize_mode)
        canvas = mask_to_canvas(truth, view, size_px, classes)
        planes = view.target.crop_planes(_one_hot(canvas, (1,) if binary else range(classes)))
        upsampled = np.concatenate(list(upsample_bands(planes, image_px)), axis=1)
        prediction = upsampled[0] >= 0.5 if binary else upsampled.argmax(0)
        counts = confusion_counts(prediction.astype(np.uint8), truth, classes)
        return np.where(counts[:, [0, 2]].sum(1) > 0, dice(counts), np.nan)

    def _class_index(self, position: int) -> UInt8[ndarray, "h w"]:
        if position not in self._masks:
            class_index = self._samples[position].class_index(self._labels)
            self._masks[position] = zlib.compress(class_index.tobytes(), 1), class_index.shape
            return class_index
        packed, shape = self._masks[position]
        return np.frombuffer(zlib.decompress(packed), np.uint8).reshape(shape)


def _one_hot(
    class_index: UInt8[ndarray, "h w"], classes: Sequence[int]
) -> Float32[ndarray, "k h w"]:
    """What a network that is right would give: 1 where a class is, 0 elsewhere."""
    return np.stack([(class_index == index).astype(np.float32) for index in classes])
