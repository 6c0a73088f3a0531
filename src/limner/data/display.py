"""An image as people set it to be shown: a window of its values, a gamma, one of its channels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8
from numpy import ndarray

from limner.data.image_file import open_image
from limner.data.image_pixels import WINDOW_PERCENT, to_channels
from limner.data.readers.decoded import DecodedImage, DecodeOptions, NamedWindow

MAX_GAMMA = 10.0


@dataclass(frozen=True, slots=True)
class Display:
    """How the values of an image are shown."""

    low: float | None = None
    """The value that is black; None where the image decides."""
    high: float | None = None
    """The value that is white, likewise."""
    gamma: float = 1.0
    """Of the shown share of white: below 1 darker, above 1 lighter."""
    channel: int | None = None
    """The one channel that is shown, as grey, from 0; None shows colours."""


@dataclass(frozen=True, slots=True)
class ImageValues:
    """The values of an image's channels, in the unit of its file, and how it proposes to show them.

    Their type is that of the file: DICOM gives what was measured, such as Hounsfield units.
    """

    pixels: Shaped[ndarray, "h w c"]
    window: tuple[float, float] | None
    windows: tuple[NamedWindow, ...]

    @property
    def channels(self) -> int:
        """How many there are."""
        return int(self.pixels.shape[2])

    def select(self, channel: int | None) -> Shaped[ndarray, "h w c2"]:
        """The values that are shown: of one channel, or of the first three."""
        if channel is None:
            return self.pixels[..., :3]
        return self.pixels[..., channel : channel + 1]

    def bounds(self, channel: int | None) -> tuple[float, float]:
        """The lowest and the highest value of what is shown; 0 and 255 of 8 bits."""
        if self.pixels.dtype == np.uint8:
            return 0.0, 255.0
        shown = _finite(self.select(channel))
        return (float(shown.min()), float(shown.max())) if len(shown) else (0.0, 1.0)

    def proposed(self, channel: int | None) -> tuple[float, float]:
        """The values that are black and white unless somebody sets others."""
        if self.window is not None:
            return self.window
        if self.pixels.dtype == np.uint8:
            return 0.0, 255.0
        shown = _finite(self.select(channel))
        low, high = np.percentile(shown, WINDOW_PERCENT).tolist() if len(shown) else (0.0, 1.0)
        return (low, high) if low < high else self.bounds(channel)

    def show(self, display: Display) -> UInt8[ndarray, "h w 3"]:
        """Give the picture. Values that are no numbers are black."""
        shown = self.select(display.channel).astype(np.float32)
        low, high = self.proposed(display.channel)
        low = low if display.low is None else display.low
        high = high if display.high is None else display.high
        planes = []
        for plane in np.moveaxis(shown, 2, 0):
            share = np.clip((np.nan_to_num(plane) - low) / max(high - low, 1e-9), 0, 1)
            planes.append(np.rint(255 * share ** np.float32(1 / display.gamma)).astype(np.uint8))
        if len(planes) == 1:
            planes *= 3
        # Two channels are red and green
        planes += [np.zeros_like(planes[0])] * (3 - len(planes))
        return np.stack(planes, axis=2)


def read_values_to_show(path: Path, page: int = 0) -> ImageValues:
    """Read the values of an image, upright.

    Raises LimnerError where the file cannot be decoded whole.
    """
    with open_image(path) as image:
        decoded: DecodedImage = image.decode_upright(DecodeOptions(page, as_values=True))
        pixels = to_channels(decoded)
        if pixels.dtype == np.bool_:
            pixels = pixels.astype(np.uint8) * np.uint8(255)
        return ImageValues(pixels, decoded.window, decoded.windows)


def _finite(values: Shaped[ndarray, "h w c"]) -> Shaped[ndarray, " n"]:
    flat = values.ravel()
    return flat[np.isfinite(flat)] if flat.dtype.kind == "f" else flat
