"""Read LIF, which Leica's microscopes write, with liffile: slices, times and series as images."""

import math
from typing import Any

import numpy as np

from limner.data.readers.decoded import (
    BinaryFile,
    DecodedImage,
    DecodeOptions,
    ImageHeader,
    Pixels,
    UnsupportedImageError,
)
from limner.data.readers.pixel_size import PixelSize, to_pixel_size
from limner.data.readers.planes import PlaneFile, decode_plane, needs_package, open_planes

NAME = "LIF"
SUFFIXES = frozenset({".lif"})
HOLDS_PAGES = True
EXTRA = "microscopy"


def recognises(start: bytes) -> bool:
    return start[:4] == b"\x70\0\0\0" and start[8:9] == b"\x2a"


def read_header(file: BinaryFile) -> ImageHeader:
    return open_planes(file, _open).header


def decode(file: BinaryFile, _header: ImageHeader, options: DecodeOptions) -> DecodedImage:
    return decode_plane(open_planes(file, _open), options)


def _open(file: BinaryFile) -> PlaneFile:
    with needs_package("LIF", EXTRA):
        from liffile import LifFile
    content = LifFile(file, squeeze=False)
    series = [image for image in content.images if {"Y", "X"} <= image.sizes.keys()]
    if not series:
        raise UnsupportedImageError("holds no image. Export the images of its project as TIFF.")
    sizes = {(image.sizes["Y"], image.sizes["X"]) for image in series}
    channels = {_channels(image) for image in series}
    if len(sizes) > 1 or len(channels) > 1:
        kinds = f"{len(sizes)} sizes" if len(sizes) > 1 else f"{len(channels)} numbers of channels"
        raise UnsupportedImageError(
            f"holds {len(series)} images of {kinds}. Export each as OME-TIFF of its own: Fiji "
            "opens it by Bio-Formats."
        )
    height, width = sizes.pop()
    count = channels.pop()
    pages = [(image, page) for image in series for page in range(_pages(image))]
    header = ImageHeader(
        height,
        width,
        pages=len(pages),
        pixel_bytes=count * series[0].dtype.itemsize,
        stored_pixel_size=_pixel_size(series[0]),
    )

    def read(page: int) -> Pixels:
        return _read_plane(*pages[page])

    left_out = len(content.images) - len(series)
    return PlaneFile(
        header,
        read,
        separate_channels="C" in series[0].sizes,
        left_out=(f"{left_out} series that are no images",) if left_out else (),
    )


def _channels(image: Any) -> int:
    return math.prod(size for axis, size in image.sizes.items() if axis in "CS")


def _pages(image: Any) -> int:
    return math.prod(size for axis, size in image.sizes.items() if axis not in "YXCS")


def _read_plane(image: Any, page: int) -> Pixels:
    """One image, with its channels as the last axis."""
    outer = [(axis, size) for axis, size in image.sizes.items() if axis not in "YXCS"]
    place = {}
    for axis, size in reversed(outer):
        page, place[axis] = divmod(page, size)
    names, values = list(image.sizes), image.asarray()
    index = tuple(place.get(axis, slice(None)) for axis in names)
    rest = [axis for axis in names if axis not in place]
    plane = np.moveaxis(values[index], [rest.index("Y"), rest.index("X")], [0, 1])
    plane = plane.reshape(*plane.shape[:2], -1)
    return plane[..., 0] if plane.shape[2] == 1 else plane


def _pixel_size(image: Any) -> PixelSize | None:
    """The distance of neighbouring rows and columns, of which the ends are stated in metres."""
    sides = []
    for axis in "YX":
        places = image.coords.get(axis)
        if places is None or len(places) < 2:
            return None
        sides.append(abs(float(places[1] - places[0])))
    size = to_pixel_size(sides[0], sides[1], "m")
    return size.in_unit("µm") if size else None
