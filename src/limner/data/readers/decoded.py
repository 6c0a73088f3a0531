"""What every reader of a format takes and gives: a file, its header and its decoded pixels."""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Literal, NamedTuple

from jaxtyping import Bool, Shaped, UInt8
from numpy import ndarray

from limner.data.readers.pixel_size import PixelSize

if TYPE_CHECKING:
    BinaryFile = BinaryIO
else:
    # Those who check types at run time do not take io.BytesIO for a typing.BinaryIO
    BinaryFile = io.IOBase
Pixels = Shaped[ndarray, "h w *c"]
ExtraBand = Literal["opaque", "transparency", "data"]
"""What a last band is by its values, which may be a transparency: opaque everywhere, so that it is
neither; mostly opaque; or varying like an image.
"""
WhiteIsZero = Literal["inverted", "kept"]
"""What was done with the values of a mask whose file stores white as 0. They were inverted, so that
white has the highest value, as in other files. Or they were kept, as True and False are.
"""


class UnsupportedImageError(Exception):
    """A sound image that is not read. The message continues a sentence that begins with its file:
    what it has, what is read, and how to export it.
    """


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What a file says of its images before a pixel is decoded."""

    height: int
    """Of the pixels as they are stored, before they are turned upright."""
    width: int
    orientation: int = 1
    """As EXIF counts: 1 to 8, and 1 is upright."""
    pages: int = 1
    """How many images of this size the file holds."""
    pixel_bytes: int = 4
    """How many bytes a decoded pixel has, at most."""
    stored_pixel_size: PixelSize | None = None
    """How large a pixel is, before the image is turned upright; None where the file states none."""

    @property
    def is_turned(self) -> bool:
        """Whether rows become columns when the image is turned upright."""
        return self.orientation in {5, 6, 7, 8}

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width upright."""
        return (self.width, self.height) if self.is_turned else (self.height, self.width)

    @property
    def pixel_size(self) -> PixelSize | None:
        """How large a pixel of the upright image is."""
        stored = self.stored_pixel_size
        return stored.turned() if stored and self.is_turned else stored


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """Which pixels of a file are decoded, and how."""

    page: int = 0
    """Counts from 0."""
    at_least_px: tuple[int, int] | None = None
    """Upright height and width that suffice; a JPEG may be decoded at a reduced scale."""
    as_stored: bool = False
    """For masks: do not rescale values."""
    channels: int | None = None
    """How many the set has. By it a last band that may be transparency is kept or left out."""
    as_values: bool = False
    """Of DICOM: give what was measured, such as Hounsfield units, and no window of it."""


class NamedWindow(NamedTuple):
    """Values that are shown as black and as white, and what the file calls this range."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class StoredKind:
    """How a file holds its pixels, by which it is compared with the others of its set."""

    colours: str
    """Such as MINISBLACK or RGB."""
    bands: int
    depth: str
    """Such as uint16."""


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """The pixels of one image as they are stored, of any depth."""

    pixels: Pixels
    orientation: int = 1
    """As EXIF counts. A page of a TIFF may have another than the first."""
    palette: UInt8[ndarray, "n 3"] | None = None
    """The colour of each value, where the pixels are indices."""
    window: tuple[float, float] | None = None
    """The values that the file shows as black and as white."""
    has_alpha: bool = False
    """The last channel says how opaque a pixel is."""
    separate_channels: bool = False
    """The channels are not colours: each is a plane with a range of its own."""
    lossy_codec: str = ""
    """The codec that changed values when the file was written, such as "JPEG"; empty for none."""
    valid: Bool[ndarray, "h w *c"] | None = None
    """Where values are measurements; None where all are. Elsewhere the file holds no data."""
    stored: StoredKind | None = None
    extra_band: ExtraBand | None = None
    """What the last band is, where it may not be a channel of the image."""
    left_out: tuple[str, ...] = ()
    """What else the file holds, in words."""
    white_is_zero: WhiteIsZero | None = None
    """Of masks alone; None where the file stores black as 0."""
    windows: tuple[NamedWindow, ...] = ()
    """Ranges that the file proposes, where values were asked for."""
