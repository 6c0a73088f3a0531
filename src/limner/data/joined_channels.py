"""The channels of one image, each from a file of its own."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from limner.data.image_pixels import to_channels
from limner.data.readers.decoded import (
    BinaryFile,
    DecodedImage,
    DecodeOptions,
    ImageHeader,
    UnsupportedImageError,
)


class Opened(Protocol):
    """A file whose header was read."""

    @property
    def header(self) -> ImageHeader: ...

    def decode_upright(self, options: DecodeOptions) -> DecodedImage:
        """Decode all pixels, and turn them upright."""
        ...


class JoinedChannels:
    """Reads several open files as the channels of one image, as a reader of a format does."""

    NAME = "channels"
    SUFFIXES = frozenset[str]()
    HOLDS_PAGES = True

    def __init__(self, images: Sequence[Opened]) -> None:
        self.images = images

    def recognises(self, _start: bytes) -> bool:
        return False

    def read_header(self, _file: BinaryFile) -> ImageHeader:
        """The header of the upright image. Raises UnsupportedImageError where sizes differ."""
        headers = [image.header for image in self.images]
        shapes = {(header.size_px, header.pages) for header in headers}
        if len(shapes) > 1:
            sizes = sorted({f"{width}x{height}" for (height, width), _ in shapes})
            raise UnsupportedImageError(
                f"has channels of different sizes or counts ({', '.join(sizes)} px). All files of "
                "an image have the same: export them again."
            )
        first = headers[0]
        return ImageHeader(
            *first.size_px,
            pages=first.pages,
            pixel_bytes=sum(header.pixel_bytes for header in headers),
            stored_pixel_size=first.pixel_size,
        )

    def decode(
        self, _file: BinaryFile, _header: ImageHeader, options: DecodeOptions
    ) -> DecodedImage:
        """Decode all files. Raises UnsupportedImageError where one is in colour."""
        decoded = [image.decode_upright(options) for image in self.images]
        planes = [to_channels(channel) for channel in decoded]
        if any(plane.shape[2] != 1 for plane in planes):
            raise UnsupportedImageError(
                "has a channel that is in colour. Each of its files holds one channel in grey: "
                "export them so."
            )
        voids = [channel.valid for channel in decoded]
        valid = None
        if any(void is not None for void in voids):
            valid = np.dstack(
                [
                    np.ones(plane.shape[:2], bool) if void is None else void.reshape(plane.shape)
                    for void, plane in zip(voids, planes, strict=True)
                ]
            )
        return DecodedImage(np.dstack(planes), separate_channels=True, valid=valid)
