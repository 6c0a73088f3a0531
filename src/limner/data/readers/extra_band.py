"""The last band of a TIFF, which may be its transparency or a band of data, such as infrared."""

from typing import Any

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

from limner.data.readers.decoded import ExtraBand, Pixels

ALPHA_KINDS = frozenset({1, 2})
"""In the tag ExtraSamples (TIFF 6.0): associated and unassociated alpha."""
MOSTLY = 0.5
"""Of the pixels that are not wholly transparent, a transparency leaves most of them opaque."""


def judge_extra_band(page: Any, pixels: Pixels) -> ExtraBand | None:
    """Judge what the last band of a page is; None where there is no doubt that it is data.

    What the file calls it does not settle that: GDAL calls the fourth of four 8-bit bands alpha
    where nobody says otherwise.
    """
    extra = [int(kind) for kind in page.extrasamples]
    if not extra or pixels.ndim < 3 or pixels.shape[2] < 2:
        return None
    last = pixels[..., -1]
    if is_opaque(last):
        return "opaque"
    if extra[-1] in ALPHA_KINDS:
        return "data" if _varies_like_an_image(last) else "transparency"
    return "data" if len(extra) == 1 else None


def drops_last_band(judged: ExtraBand | None, bands: int, channels: int | None) -> bool:
    """Tell whether an image is given without its last band.

    Args:
        judged: What the last band is.
        bands: How many the file has.
        channels: How many channels the set has, which settles it. Without them the file does.
    """
    # Grey is given as RGB
    without = 3 if bands == 2 else bands - 1
    if judged is not None and channels in {bands, without}:
        return channels == without
    return judged in {"opaque", "transparency"}


def is_opaque(channel: Shaped[ndarray, "*_"]) -> bool:
    """Tell whether a channel of unknown meaning is the alpha of an opaque image."""
    return (
        bool((channel == channel.flat[0]).all())
        and channel.dtype.kind == "u"
        and int(channel.flat[0]) == np.iinfo(channel.dtype).max
    )


def _varies_like_an_image(channel: Shaped[ndarray, "h w"]) -> bool:
    opaque = np.iinfo(channel.dtype).max if channel.dtype.kind in "ui" else 1
    shown = channel[channel != 0]
    return bool(shown.size and shown.min() < shown.max() and (shown < opaque).mean() > MOSTLY)
