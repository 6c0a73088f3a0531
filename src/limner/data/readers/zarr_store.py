"""Read OME-Zarr with zarr: a folder of chunks, of which the full resolution is read."""

import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
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

NAME = "OME-Zarr"
SUFFIXES = frozenset({".zarr"})
HOLDS_PAGES = True
EXTRA = "microscopy"
OME_ENDING = ".ome"
"""Before the suffix of many stores."""
METADATA = ("zarr.json", ".zattrs", ".zarray", ".zgroup")
"""Files that say what a folder of a store is; the first that is there counts."""
ALL_AXES = "tczyx"
"""Of the first versions, which name none."""


class StoreFile(io.BytesIO):
    """A folder of a store as a file: it holds the metadata, and its name leads to the chunks."""

    def __init__(self, folder: Path) -> None:
        paths = (folder / name for name in METADATA)
        super().__init__(next((path.read_bytes() for path in paths if path.is_file()), b""))
        self.name = str(folder)


def is_store(folder: Path) -> bool:
    """Whether a folder is a store, or lies in one."""
    return folder.is_dir() and any(path.suffix.lower() in SUFFIXES for path in _and_above(folder))


def label_names(store: Path) -> list[str]:
    """The names of the label images that a store holds, as its metadata list them.

    Raises ValueError or OSError where these cannot be read.
    """
    labels = store / "labels"
    for name in METADATA[:2]:
        if (path := labels / name).is_file():
            content = json.loads(path.read_text(encoding="utf-8"))
            attributes = content.get("attributes", content)
            return [str(label) for label in attributes.get("ome", attributes).get("labels", [])]
    return []


def recognises(_start: bytes) -> bool:
    return False


def read_header(file: BinaryFile) -> ImageHeader:
    return open_planes(file, _open).header


def decode(file: BinaryFile, _header: ImageHeader, options: DecodeOptions) -> DecodedImage:
    return decode_plane(open_planes(file, _open), options)


def _and_above(folder: Path) -> Sequence[Path]:
    return (folder, *folder.parents)


def _open(file: BinaryFile) -> PlaneFile:
    if not isinstance(file, StoreFile):
        raise UnsupportedImageError(
            "is no folder, as an OME-Zarr is. Unpack it, or copy the whole folder."
        )
    with needs_package("OME-Zarr", EXTRA):
        import zarr
    content = zarr.open(Path(file.name), mode="r")
    if isinstance(content, zarr.Array):
        raise UnsupportedImageError(
            "is a Zarr array that does not say what its axes are. Save it as OME-Zarr, for example "
            "with ome-zarr-py, or its planes as TIFF."
        )
    content, scales = _find_image(content)
    level: Any = content[scales["datasets"][0]["path"]]
    names = [
        str(axis["name"] if isinstance(axis, Mapping) else axis)
        for axis in scales.get("axes", ALL_AXES)
    ]
    sizes = dict(zip(names, level.shape, strict=True))
    if names[-2:] != ["y", "x"]:
        raise UnsupportedImageError(
            f"has the axes {', '.join(names)}; y and x must be the last ones. Save it again as "
            "OME-Zarr says it."
        )
    planes = [name for name in names[:-2] if name != "c"]
    counts = tuple(sizes[name] for name in planes)
    channels = sizes.get("c", 1)
    header = ImageHeader(
        sizes["y"],
        sizes["x"],
        pages=math.prod(counts),
        pixel_bytes=channels * level.dtype.itemsize,
        stored_pixel_size=_pixel_size(scales),
    )

    def read(page: int) -> Pixels:
        place = dict(zip(planes, np.unravel_index(page, counts), strict=True)) if planes else {}
        chosen = tuple(int(place[name]) if name in place else slice(None) for name in names[:-2])
        pixels = np.asarray(level[chosen])
        if pixels.ndim == 2:
            return pixels
        return pixels[0] if channels == 1 else np.moveaxis(pixels, 0, -1)

    is_colour = channels == 3 and level.dtype == np.uint8
    return PlaneFile(header, read, separate_channels=channels > 1 and not is_colour)


def _find_image(group: Any) -> tuple[Any, Mapping[str, Any]]:
    """The group of the image, and what it says of its resolutions."""
    attributes = group.attrs.asdict()
    attributes = attributes.get("ome", attributes)
    if scales := attributes.get("multiscales"):
        return group, scales[0]
    if "plate" in attributes or "well" in attributes:
        raise UnsupportedImageError(
            "holds a plate of many images. Copy the fields that count, such as A/1/0 in it, each "
            "to a folder of its own that ends in .zarr."
        )
    # As bioformats2raw writes them
    series = sorted(name for name, _ in group.groups() if name.isdigit())
    if len(series) == 1:
        return _find_image(group[series[0]])
    raise UnsupportedImageError(
        f"holds {len(series)} images (series). Copy each to a folder of its own that ends in .zarr."
        if series
        else "is a Zarr store without an image as OME-Zarr describes it. Save it as OME-Zarr, for "
        "example with ome-zarr-py, or its planes as TIFF."
    )


def _pixel_size(scales: Mapping[str, Any]) -> PixelSize | None:
    """Read the scale of the last two axes, and the unit that both have."""
    factors = [
        transform["scale"][-2:]
        for transform in (
            *scales["datasets"][0].get("coordinateTransformations", ()),
            *scales.get("coordinateTransformations", ()),
        )
        if transform.get("type") == "scale"
    ]
    axes = scales.get("axes", ())[-2:]
    units = {axis.get("unit") for axis in axes if isinstance(axis, Mapping)}
    if not factors or len(units) != 1:
        return None
    height, width = np.prod(np.array(factors, np.float64), axis=0).tolist()
    return to_pixel_size(height, width, str(units.pop()))
