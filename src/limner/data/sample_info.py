"""What the check learns of a sample, so that later steps need not read its files again."""

from dataclasses import dataclass

from jaxtyping import UInt8
from numpy import ndarray

from limner.data.images import ImageInfo
from limner.data.sample import SampleDigest
from limner.data.value_histogram import ValueHistogram


@dataclass(frozen=True, slots=True)
class SampleInfo:
    """One readable sample: its size, its mask's values, and what it is compared by.

    `size_px` is height and width, upright. `channels` are those of the image: 3 for colour and
    grey, else those of a microscope. `digest` is of the bytes that were decoded. `image_info` and
    `mask_info` say what the two files are like.
    """

    id: str
    size_px: tuple[int, int]
    mask: ValueHistogram
    thumbnail: UInt8[ndarray, "64 64"]
    pixel_sha256: bytes
    """SHA-256 of the decoded pixels."""
    mask_sha256: bytes = b""
    """SHA-256 of the decoded mask."""
    channels: int = 3
    digest: SampleDigest | None = None
    image_info: ImageInfo | None = None
    mask_info: ImageInfo | None = None
    value_specks: int = 0
    """How many pixels of the mask have another value than all eight around them."""
