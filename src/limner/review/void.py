"""Void in reviewed masks: what people leave undecided is neither trained on nor scored."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.labels import VOID, Labels
from limner.metrics.overlap import image_dice

PREFERRED = (255, 128)
PREFERRED_COLOURS = (0xFFFFFF, 0x808080)


def with_void(labels: Labels) -> Labels:
    """Give a set that has no pixel value for void one that no class has.

    Example:
        >>> labels = Labels.from_values(["background", "lesion"], [0, 255])
        >>> with_void(labels).void_values
        ((128, 128),)
    """
    if labels.void_values:
        return labels
    preferred: Sequence[int] = PREFERRED_COLOURS if labels.coloured else PREFERRED
    candidates = (*preferred, *range(254, -1, -1))
    value = next(value for value in candidates if labels.class_of(value) is None)
    return replace(labels, void_values=((value, value),))


def dice_between(
    first: UInt8[ndarray, "h w"], second: UInt8[ndarray, "h w"], labels: Labels
) -> float:
    """The Dice between two people's masks, without the pixels that either leaves void.

    It is NaN where both have nothing.
    """
    truth = np.where(first == VOID, np.uint8(VOID), second)
    return image_dice(np.where(first == VOID, np.uint8(0), first), truth, labels)
