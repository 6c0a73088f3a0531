"""Files of many planes, as microscopes and scanners write them: what their readers share."""

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from limner.data.image_pixels import WINDOW_PERCENT
from limner.data.readers.decoded import (
    BinaryFile,
    DecodedImage,
    DecodeOptions,
    ImageHeader,
    Pixels,
    UnsupportedImageError,
)

MOST_CHANNELS = 8
"""More values for each pixel are points in time or directions, and no channels."""
MOST_INFLATED_BYTES = 1 << 31
"""Of a packed volume."""
WINDOW_PLANES = 16
"""So many planes of a volume tell what is shown as black and as white in all of them."""


@dataclass(frozen=True, slots=True)
class PlaneFile:
    """A file that was opened, of which a plane is read at a time."""

    header: ImageHeader
    read: Callable[[int], Pixels]
    """Reads an image by its number, counted from 0."""
    separate_channels: bool = False
    """Channels are no colours: each has a range of its own."""
    window: tuple[float, float] | None = None
    left_out: tuple[str, ...] = ()


class _Last(threading.local):
    file: BinaryFile | None = None
    planes: PlaneFile | None = None


_LAST = _Last()


def open_planes(file: BinaryFile, opener: Callable[[BinaryFile], PlaneFile]) -> PlaneFile:
    """Open a file; the stack in memory that a thread has opened last is not opened anew."""
    if file is _LAST.file and _LAST.planes is not None:
        return _LAST.planes
    planes = opener(file)
    if isinstance(file, io.BytesIO) and planes.header.pages > 1:
        _LAST.file, _LAST.planes = file, planes
    return planes


def forget_planes() -> None:
    """Let go of the stack that this thread has opened last."""
    _LAST.file = _LAST.planes = None


def inflate(stream: io.BufferedIOBase, most_bytes: int) -> io.BytesIO:
    """Unpack the start of a stream: so many bytes as the header of its file asks for.

    A small file may unpack to a thousand times its size.

    Raises:
        UnsupportedImageError: These are more than `MOST_INFLATED_BYTES`.
    """
    if most_bytes > MOST_INFLATED_BYTES:
        raise UnsupportedImageError(
            f"is a packed volume of more than {MOST_INFLATED_BYTES:,} bytes. Save it unpacked."
        )
    return io.BytesIO(stream.read(most_bytes))


def decode_plane(planes: PlaneFile, options: DecodeOptions) -> DecodedImage:
    """Decode one image of an open file."""
    pixels = planes.read(options.page)
    if options.as_stored and pixels.dtype.kind == "f":
        pixels = _whole_numbers(pixels)
    return DecodedImage(
        np.ascontiguousarray(pixels),
        window=None if options.as_stored else planes.window,
        separate_channels=planes.separate_channels and pixels.ndim == 3,
        left_out=planes.left_out,
    )


def _whole_numbers(pixels: Pixels) -> Pixels:
    """Give fractions that are whole numbers as such: volumes of labels are often stored so."""
    if not np.isfinite(pixels).all() or (pixels != np.rint(pixels)).any():
        return pixels
    low, high = pixels.min(), pixels.max()
    return pixels.astype(np.uint32) if low >= 0 and high < 2**32 else pixels


def volume_window(read: Callable[[int], Pixels], pages: int) -> tuple[float, float] | None:
    """Find one range of black and white for all planes of a volume; None for 8 bits."""
    chosen = np.unique(np.linspace(0, pages - 1, WINDOW_PLANES).round().astype(int))
    values = [read(page) for page in chosen.tolist()]
    if values[0].dtype in (np.uint8, np.bool_):
        return None
    together = np.concatenate([value[np.isfinite(value)].ravel() for value in values])
    if not len(together):
        return None
    low, high = np.percentile(together, WINDOW_PERCENT).tolist()
    return (low, high) if low < high else None


@contextmanager
def needs_package(what: str, extra: str) -> Iterator[None]:
    """Turn an ImportError within the block into an error of a file that says what to install.

    Args:
        what: The file's kind, such as "NIfTI".
        extra: The extra of limner that installs the package.
    """
    try:
        yield
    except ImportError as error:
        raise UnsupportedImageError(
            f"is {what}, which needs {error.name}: pip install 'limner[{extra}]'."
        ) from error
