"""Read NRRD with pynrrd: slices along the third axis, turned as radiologists expect them."""

import bz2
import gzip
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from limner.data.readers.anatomy import slice_order
from limner.data.readers.decoded import (
    BinaryFile,
    DecodedImage,
    DecodeOptions,
    ImageHeader,
    Pixels,
    UnsupportedImageError,
)
from limner.data.readers.pixel_size import to_pixel_size
from limner.data.readers.planes import (
    MOST_CHANNELS,
    PlaneFile,
    decode_plane,
    inflate,
    needs_package,
    open_planes,
    volume_window,
)

NAME = "NRRD"
SUFFIXES = frozenset({".nrrd"})
HOLDS_PAGES = True
EXTRA = "medical"
TOWARDS_RAS = {
    "right": (0, 1),
    "left": (0, -1),
    "anterior": (1, 1),
    "posterior": (1, -1),
    "superior": (2, 1),
    "inferior": (2, -1),
}
"""Of the names in the field "space": which direction of the body, and its sign."""
DETACHED = ("data file", "datafile")
"""Fields that name another file."""
SKIPS = ("line skip", "lineskip", "byte skip", "byteskip")
"""Fields that say what stands before the voxels."""
PACKED: dict[str, Callable[..., Any]] = {
    "gzip": gzip.open,
    "gz": gzip.open,
    "bzip2": bz2.open,
    "bz2": bz2.open,
}
"""How the voxels are packed, by the field "encoding"."""
MOST_VOXEL_BYTES = 8


def recognises(start: bytes) -> bool:
    return start.startswith(b"NRRD0")


def read_header(file: BinaryFile) -> ImageHeader:
    return _to_image_header(_parse_header(file))


def decode(file: BinaryFile, _header: ImageHeader, options: DecodeOptions) -> DecodedImage:
    return decode_plane(open_planes(file, _open), options)


def _open(file: BinaryFile) -> PlaneFile:
    import nrrd

    header = _parse_header(file)
    image_header = _to_image_header(header)
    header, file = _inflate(header, file)
    # In the order of the file: the first axis of its sizes runs fastest
    voxels = nrrd.read_data(header, file, index_order="F")
    voxels = _channels_last(voxels, header)
    order = slice_order(_affine(header))

    def read(page: int) -> Pixels:
        plane = voxels[:, :, page] if voxels.ndim == 4 else voxels
        return order.to_image(plane[..., 0] if plane.shape[2] == 1 else plane)

    is_colour = _is_colour(header)
    window = None if is_colour else volume_window(read, image_header.pages)
    return PlaneFile(image_header, read, separate_channels=not is_colour, window=window)


def _inflate(header: dict[str, Any], file: BinaryFile) -> tuple[dict[str, Any], BinaryFile]:
    """Unpack the voxels of a packed file, and say in the header that they are raw."""
    unpack = PACKED.get(header.get("encoding", ""))
    if unpack is None:
        return header, file
    if any(header.get(key, 0) != 0 for key in SKIPS):
        raise UnsupportedImageError(
            "is a packed NRRD whose voxels do not begin at its start. Save it anew, for example in "
            "3D Slicer."
        )
    most_bytes = math.prod(int(size) for size in header["sizes"]) * MOST_VOXEL_BYTES
    return type(header)({**header, "encoding": "raw"}), inflate(unpack(file), most_bytes)


def _parse_header(file: BinaryFile) -> dict[str, Any]:
    with needs_package("NRRD", EXTRA):
        import nrrd
    header: dict[str, Any] = nrrd.read_header(file)
    if named := next((header[key] for key in DETACHED if key in header), None):
        raise UnsupportedImageError(
            f"is the header of an NRRD whose values are in another file ({named}). Save it as one "
            "file, for example in 3D Slicer."
        )
    return header


def _channel_axis(header: dict[str, Any]) -> int | None:
    """The axis that holds channels: a colour's, or the one that has no direction in space."""
    kinds = list(header.get("kinds", []))
    for axis, kind in enumerate(kinds):
        if kind in {"RGB-color", "RGBA-color", "vector", "list", "3-color", "4-color"}:
            return axis
    directions = header.get("space directions")
    if directions is not None:
        for axis, direction in enumerate(directions):
            if direction is None or np.isnan(np.asarray(direction, float)).all():
                return axis
    return None


def _is_colour(header: dict[str, Any]) -> bool:
    return any("color" in str(kind).lower() for kind in header.get("kinds", []))


def _channels_last(voxels: ndarray, header: dict[str, Any]) -> ndarray:
    axis = _channel_axis(header)
    return voxels[..., None] if axis is None else np.moveaxis(voxels, axis, -1)


def _affine(header: dict[str, Any]) -> Float[ndarray, "4 4"]:
    """From the indices of voxels to directions of the body (RAS+), in the header's unit."""
    affine = np.eye(4)
    # Without a space the axes are those of most files: to the left, to the back, to the head
    space = str(header.get("space") or "left-posterior-superior").lower()
    rows = [TOWARDS_RAS.get(name, (index, 1)) for index, name in enumerate(space.split("-")[:3])]
    for axis, step in enumerate(_steps(header)[:3]):
        for value, (direction, sign) in zip(step, rows, strict=False):
            affine[direction, axis] = sign * value
    return affine


def _steps(header: dict[str, Any]) -> list[Float[ndarray, " d"]]:
    """The step along each axis in space."""
    directions = header.get("space directions")
    if directions is not None:
        steps = [np.asarray(step, float) for step in directions if step is not None]
        return [step for step in steps if not np.isnan(step).any()]
    channel = _channel_axis(header)
    spacings = header.get("spacings", [1.0] * int(header["dimension"]))
    sides = [float(side) for axis, side in enumerate(spacings) if axis != channel]
    return [side * np.eye(3)[axis] for axis, side in enumerate(sides[:3])]


def read_affine(file: BinaryFile) -> Float[ndarray, "4 4"]:
    """Read where the voxels lie, in the order of the file's axes without that of channels."""
    return _affine(_parse_header(file))


def _to_image_header(header: dict[str, Any]) -> ImageHeader:
    sizes = [int(size) for size in header["sizes"]]
    axis = _channel_axis(header)
    channels = 1 if axis is None else sizes.pop(axis)
    if len(sizes) not in {2, 3} or channels > MOST_CHANNELS:
        raise UnsupportedImageError(
            f"holds an array of {len(header['sizes'])} axes ({header['sizes']}). An image or a "
            f"volume of up to {MOST_CHANNELS} channels is read: save one as NRRD of its own."
        )
    order = slice_order(_affine(header))
    height, width = order.sides(sizes[0], sizes[1])
    lengths = [float(np.linalg.norm(step)) for step in _steps(header)[:2]]
    units = header.get("space units") or ["mm"]
    stated = len(lengths) == 2 and ("space directions" in header or "spacings" in header)
    size = to_pixel_size(*order.sides(lengths[0], lengths[1]), str(units[0])) if stated else None
    pages = sizes[2] if len(sizes) > 2 else 1
    return ImageHeader(height, width, pages=pages, pixel_bytes=8 * channels, stored_pixel_size=size)
