"""Read NIfTI with nibabel: slices along the third axis, turned as radiologists expect them."""

import gzip
import io
import logging
import math
import zlib
from typing import Any

import numpy as np

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

NAME = "NIfTI"
SUFFIXES = frozenset({".nii", ".nii.gz"})
HOLDS_PAGES = True
EXTRA = "medical"
GZIP = b"\x1f\x8b"
HEADER_BYTES = 544
"""Of both versions, the longer."""
MOST_SKIPPED_BYTES = 1 << 24
"""Before the voxels of a packed file."""
UNITS = {"mm": "mm", "micron": "µm", "meter": "m", "unknown": "mm"}


def recognises(start: bytes) -> bool:
    """Tell by the header's size and its mark, within gzip too."""
    if start.startswith(GZIP):
        try:
            start = zlib.decompressobj(31).decompress(start, HEADER_BYTES)
        except zlib.error:
            return False
    one = start[344:348] == b"n+1\0" and 348 in _both_orders(start)
    return one or (start[4:8] == b"n+2\0" and 540 in _both_orders(start))


def _both_orders(start: bytes) -> tuple[int, int]:
    return int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big")


def read_header(file: BinaryFile) -> ImageHeader:
    start = file.read(len(GZIP))
    file.seek(0)
    stream = gzip.GzipFile(fileobj=file) if start == GZIP else file
    return _to_image_header(_parse_header(io.BytesIO(stream.read(HEADER_BYTES)))[1])


def decode(file: BinaryFile, _header: ImageHeader, options: DecodeOptions) -> DecodedImage:
    return decode_plane(open_planes(file, open_nifti), options)


def open_nifti(file: BinaryFile) -> PlaneFile:
    """Open a volume, of which slices are read.

    Raises:
        UnsupportedImageError: It has more values for each voxel than are channels.
    """
    image = load_nifti(file)
    header = _to_image_header(image.header)
    order = slice_order(np.asarray(image.affine, float))

    def read(page: int) -> Pixels:
        values = np.asanyarray(image.dataobj[:, :, page] if image.ndim > 2 else image.dataobj)
        if values.dtype.names:
            # Colours are stored as a record of three bytes
            values = np.stack([values[name] for name in values.dtype.names[:3]], axis=-1)
        values = values.reshape(*values.shape[:2], -1)
        return order.to_image(values[..., 0] if values.shape[2] == 1 else values)

    is_colour = bool(image.header.get_data_dtype().names)
    window = None if is_colour else volume_window(read, header.pages)
    return PlaneFile(header, read, separate_channels=not is_colour, window=window)


def load_nifti(file: BinaryFile) -> Any:
    """Open an image of nibabel's whose voxels are read when they are asked for."""
    with needs_package("NIfTI", EXTRA):
        from nibabel.fileholders import FileHolder
    content: Any = _inflate(file)
    image_class, _ = _parse_header(content)
    content.seek(0)
    holder = FileHolder(fileobj=content)
    return image_class.from_file_map({"header": holder, "image": holder})


def _inflate(file: BinaryFile) -> BinaryFile:
    start = file.read(len(GZIP))
    file.seek(0)
    if start != GZIP:
        return file
    stream = gzip.GzipFile(fileobj=file)
    _, header = _parse_header(io.BytesIO(stream.read(HEADER_BYTES)))
    skipped = int(header.get_data_offset())
    if not 0 <= skipped <= MOST_SKIPPED_BYTES:
        raise ValueError(f"its header says that its voxels begin at byte {skipped:,}")
    voxels = math.prod(int(side) for side in header.get_data_shape())
    stream.seek(0)
    return inflate(stream, skipped + voxels * header.get_data_dtype().itemsize)


def _parse_header(content: BinaryFile) -> tuple[Any, Any]:
    """The class of nibabel's for this version, and the header."""
    with needs_package("NIfTI", EXTRA):
        from nibabel.nifti1 import Nifti1Image
        from nibabel.nifti2 import Nifti2Image
    logging.getLogger("nibabel").setLevel(logging.CRITICAL)
    start = content.read(8)
    content.seek(0)
    image_class = Nifti2Image if start[4:8] == b"n+2\0" else Nifti1Image
    return image_class, image_class.header_class.from_fileobj(content, check=False)


def _to_image_header(header: Any) -> ImageHeader:
    shape = [int(side) for side in header.get_data_shape()]
    if len(shape) < 2 or min(shape) < 1:
        raise ValueError(f"its header gives the shape {shape}")
    channels = int(np.prod(shape[3:]))
    if channels > MOST_CHANNELS:
        raise UnsupportedImageError(
            f"holds {channels} values for each voxel, such as points in time. Up to "
            f"{MOST_CHANNELS} are read, as channels: save each as a volume of its own."
        )
    order = slice_order(np.asarray(header.get_best_affine(), float))
    height, width = order.sides(shape[0], shape[1])
    zooms = [float(zoom) for zoom in header.get_zooms()[:2]]
    unit = UNITS.get(str(header.get_xyzt_units()[0]), "")
    return ImageHeader(
        height,
        width,
        pages=shape[2] if len(shape) > 2 else 1,
        pixel_bytes=channels * max(8, header.get_data_dtype().itemsize),
        stored_pixel_size=to_pixel_size(*order.sides(zooms[0], zooms[1]), unit),
    )
