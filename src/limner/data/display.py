"""An image as people set it to be shown: a window of its values, a gamma, one of its channels."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8
from numpy import ndarray

from limner.data.image_file import open_image
from limner.data.image_pixels import WINDOW_PERCENT, to_channels, to_rgb
from limner.data.readers.decoded import DecodedImage, DecodeOptions, NamedWindow

MAX_GAMMA = 10.0


@dataclass(frozen=True, slots=True)
class Display:
    """How the values of an image are shown."""

    windows: Mapping[int | None, tuple[float, float]] = field(default_factory=dict)
    """The values that are black and white: of a channel, from 0, or with None of all that have none
    of their own. Where there is neither, the image decides.
    """
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
    window: tuple[float, float] | None = None
    windows: tuple[NamedWindow, ...] = ()
    has_separate_channels: bool = False
    """Whether the channels are no colours, so that each has a range of its own."""

    @property
    def channels(self) -> int:
        """How many there are."""
        return int(self.pixels.shape[2])

    def bounds(self, channel: int | None) -> tuple[float, float]:
        """The lowest and the highest value of a channel, or of all that are shown together; 0 and
        255 of 8 bits.
        """
        if self.pixels.dtype == np.uint8:
            return 0.0, 255.0
        shown = _finite(self._select(channel))
        return (float(shown.min()), float(shown.max())) if len(shown) else (0.0, 1.0)

    def proposed(self, channel: int | None) -> tuple[float, float]:
        """The values that are black and white unless somebody sets others."""
        if self.window is not None:
            return self.window
        if self.pixels.dtype == np.uint8:
            return 0.0, 255.0
        shown = _finite(self._select(channel))
        low, high = np.percentile(shown, WINDOW_PERCENT).tolist() if len(shown) else (0.0, 1.0)
        return (low, high) if low < high else self.bounds(channel)

    def show(self, display: Display) -> UInt8[ndarray, "h w 3"]:
        """Give the picture. Values that are no numbers are black."""
        channels = range(self.channels) if display.channel is None else [display.channel]
        planes = [self._show_channel(channel, display) for channel in channels]
        return to_rgb(np.stack(planes * 3 if len(planes) == 1 else planes, axis=2))

    def _show_channel(self, channel: int, display: Display) -> UInt8[ndarray, "h w"]:
        low, high = self._window(channel, display)
        plane = np.nan_to_num(self.pixels[..., channel].astype(np.float32))
        share = np.clip((plane - low) / max(high - low, 1e-9), 0, 1)
        shown: UInt8[ndarray, "h w"] = np.rint(255 * share ** np.float32(1 / display.gamma)).astype(
            np.uint8
        )
        return shown

    def _window(self, channel: int, display: Display) -> tuple[float, float]:
        for key in (channel, None):
            if key in display.windows:
                return display.windows[key]
        alone = self.has_separate_channels or display.channel is not None
        return self.proposed(channel if alone else None)

    def _select(self, channel: int | None) -> Shaped[ndarray, "h w c2"]:
        """The values of a channel, or of all."""
        return self.pixels if channel is None else self.pixels[..., channel : channel + 1]


def read_values_to_show(path: Path, page: int = 0) -> ImageValues:
    """Read the values of an image, upright.

    Raises LimnerError where the file cannot be decoded whole.
    """
    with open_image(path) as image:
        decoded: DecodedImage = image.decode_upright(DecodeOptions(page, as_values=True))
        pixels = to_channels(decoded)
        if pixels.dtype == np.bool_:
            pixels = pixels.astype(np.uint8) * np.uint8(255)
        return ImageValues(
            pixels,
            decoded.window,
            decoded.windows,
            decoded.separate_channels and pixels.shape[2] > 1,
        )


def _finite(values: Shaped[ndarray, "h w c"]) -> Shaped[ndarray, " n"]:
    flat = values.ravel()
    return flat[np.isfinite(flat)] if flat.dtype.kind == "f" else flat
