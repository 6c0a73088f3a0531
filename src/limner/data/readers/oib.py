"""Read OIB, which Olympus's confocal microscopes write, with olefile: a TIFF for each plane."""

import io
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import PurePosixPath
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
from limner.data.readers.tiff_images import quiet_tifffile

NAME = "OIB"
SUFFIXES = frozenset({".oib"})
"""Files of other programs, such as old text documents, begin in the same way."""
HOLDS_PAGES = True
EXTRA = "microscopy"
INFO = "OibInfo.txt"
_PLANE = re.compile(r"s_((?:[A-Z]\d{3})+)\.tif", re.IGNORECASE)
_AXIS = re.compile(r"([A-Z])(\d{3})", re.IGNORECASE)


def recognises(_start: bytes) -> bool:
    return False


def read_header(file: BinaryFile) -> ImageHeader:
    return open_planes(file, _open).header


def decode(file: BinaryFile, _header: ImageHeader, options: DecodeOptions) -> DecodedImage:
    return decode_plane(open_planes(file, _open), options)


def _open(file: BinaryFile) -> PlaneFile:
    with needs_package("OIB", EXTRA):
        import olefile
    if not olefile.isOleFile(file):
        raise UnsupportedImageError("is no OIB, as its suffix says. Copy or export it again.")
    file.seek(0)
    content = olefile.OleFileIO(file)
    streams = {path[-1]: path for path in content.listdir()}
    info = _parse_settings(content.openstream(streams[INFO]).read())["OibSaveInfo"]
    names = {name: streams[key] for key, name in info.items() if key in streams}
    main = _parse_settings(content.openstream(names[info[info["MainFileName"]]]).read())
    planes = _list_planes(names)
    channels = sorted({channel for channel, _ in planes})
    pages = sorted({place for _, place in planes})
    if len(planes) != len(channels) * len(pages):
        raise ValueError(f"it holds {len(planes)} planes of {len(channels)} channels")

    def read_plane(key: tuple[int, tuple[int, ...]]) -> Pixels:
        stream = io.BytesIO(content.openstream(planes[key]).read())
        with quiet_tifffile().TiffFile(stream) as tiff:
            return np.asarray(tiff.pages.first.asarray())

    first = read_plane((channels[0], pages[0]))
    header = ImageHeader(
        first.shape[0],
        first.shape[1],
        pages=len(pages),
        pixel_bytes=len(channels) * first.itemsize,
        stored_pixel_size=_pixel_size(main.get("Reference Image Parameter", {})),
    )

    def read(page: int) -> Pixels:
        found = [read_plane((channel, pages[page])) for channel in channels]
        return found[0] if len(found) == 1 else np.dstack(found)

    return PlaneFile(header, read, separate_channels=len(channels) > 1)


def _list_planes(names: Mapping[str, Any]) -> dict[tuple[int, tuple[int, ...]], Any]:
    """The streams of the planes by their channel and their place along the other axes.

    Reference images, which have other axes in their names, are fewer than the planes.
    """
    series: dict[str, dict[tuple[int, tuple[int, ...]], Any]] = defaultdict(dict)
    for name, stream in names.items():
        match = _PLANE.fullmatch(PurePosixPath(name.replace("\\", "/")).name)
        if match is None:
            continue
        axes = [(axis.upper(), int(number)) for axis, number in _AXIS.findall(match[1])]
        channel = next((number for axis, number in axes if axis == "C"), 1)
        place = tuple(number for axis, number in axes if axis != "C")
        series["".join(axis for axis, _ in axes)][channel, place] = stream
    if not series:
        raise ValueError("it holds no plane of an image")
    return max(series.values(), key=len)


def _parse_settings(content: bytes) -> dict[str, dict[str, str]]:
    """Parse sections of keys and values, in UTF-16 or UTF-8; texts stand in quotes."""
    text = content.decode("utf-16" if content.startswith(b"\xff\xfe") else "utf-8", "replace")
    sections: dict[str, dict[str, str]] = {}
    values: dict[str, str] = {}
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            values = sections.setdefault(line[1:-1], {})
        elif "=" in line:
            key, _, value = line.partition("=")
            values[key] = value.strip('"')
    return sections


def _pixel_size(reference: Mapping[str, str]) -> PixelSize | None:
    units = {reference.get("HeightUnit", ""), reference.get("WidthUnit", "")}
    if len(units) != 1:
        return None
    return to_pixel_size(
        reference.get("HeightConvertValue"), reference.get("WidthConvertValue"), units.pop()
    )
