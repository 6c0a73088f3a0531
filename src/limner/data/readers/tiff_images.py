"""Which planes of a TIFF file make up which image: stacks, channels, pyramids, transparency."""

import io
import logging
import math
import struct
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from limner.data.readers.decoded import BinaryFile, UnsupportedImageError
from limner.data.readers.ome import ome_images

MAX_VOLUME_BYTES, MAX_SLICES = 4_000_000_000, 100_000
"""A page with a volume is decoded whole, for each of its slices."""
USUAL_TILE_PX = 4096
"""Up to this side, tiles may be larger than their image."""
REDUCED_COPY_FLAG, TRANSPARENCY_FLAG = 1, 4
"""In the tag NewSubfileType (TIFF 6.0)."""
TRANSPARENCY_KIND = 4
"""In the tag PhotometricInterpretation (TIFF 6.0)."""
PAGE_BY_PAGE = frozenset({"uniform", "generic"})
"""The kinds of tifffile's series that say nothing of the meaning of pages."""
SLIDES = ("is_svs", "is_ndpi", "is_scn", "is_bif", "is_philips", "is_qpi", "is_avs")
"""The properties by which tifffile knows files of slide scanners."""


class _Stream:
    """A file without its name, by which tifffile would open other files."""

    def __init__(self, file: BinaryFile) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell
        self.readinto: Any = file.readinto  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Plane:
    """A part of a page that is one channel of an image, or all of them."""

    page: Any
    """The page of tifffile whose tags it has."""
    slice: int = 0
    """Which one it is, of a page that holds a volume."""
    offset: int | None = None
    """Where its pixels begin, if it has no page of its own."""


@dataclass(frozen=True, slots=True)
class TiffImage:
    """The planes that are the channels of one image."""

    planes: tuple[Plane, ...]
    transparency: Any = None
    """The page that says which pixels are valid, such as GDAL's internal mask."""

    @property
    def page(self) -> Any:
        """The page whose tags are those of the image."""
        return self.planes[0].page


@dataclass(frozen=True, slots=True)
class TiffContent:
    """The images of a file, all of one size."""

    images: tuple[TiffImage, ...]
    left_out: tuple[str, ...] = ()
    """What else the file holds that is not marked as an addition."""


@contextmanager
def open_tiff(file: BinaryFile) -> Iterator[Any]:
    """Open a TIFF with tifffile, which then says nothing and opens no other file."""
    with quiet_tifffile().TiffFile(_Stream(file)) as tiff:
        yield tiff


def quiet_tifffile() -> Any:
    """Import tifffile, and keep what it says of odd files off the terminal."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    return tifffile


class _LastStack(threading.local):
    """The stack in memory whose pages a thread has listed last."""

    file: BinaryFile | None = None
    tiff: Any = None
    content: TiffContent | None = None


_LAST_STACK = _LastStack()


@contextmanager
def open_images(file: BinaryFile) -> Iterator[TiffContent]:
    """Open a TIFF and list its images; those of a stack in memory are listed once."""
    if file is _LAST_STACK.file and _LAST_STACK.content is not None:
        yield _LAST_STACK.content
        return
    with open_tiff(file) as tiff:
        content = list_images(tiff)
        # To list the pages of a stack for each of them takes time that grows with their square
        if isinstance(file, io.BytesIO) and len(content.images) > 1:
            _LAST_STACK.file, _LAST_STACK.tiff, _LAST_STACK.content = file, tiff, content
        yield content


def list_images(tiff: Any) -> TiffContent:
    """List the images of a file, without their reduced copies and transparency pages.

    Raises:
        UnsupportedImageError: They differ in size, or it is not clear what the planes are.
        ValueError: A page has no pixels, or tiles of an impossible size.
    """
    # The order of what is asked of tifffile counts: reading series first changes its pages
    pages = list(_pages_with_pixels(tiff.pages))
    _check_end(tiff, pages)
    for page in pages:
        _check_volume(page)
    full_size = [page for page in pages if not _is_addition(page)] or pages[:1]
    if pages[0].is_ome and len(full_size) > 1:
        placed = _place_by_ome(pages)
        in_images = {plane.page.index for planes in placed for plane in planes}
        rest = [page for page in full_size if page.index not in in_images]
        kept, copies = _without_copies([planes[0].page for planes in placed], rest)
        if len(kept) > len(placed):
            raise UnsupportedImageError(
                f"holds {len(kept) - len(placed)} images that its OME metadata do not speak of. "
                "Export it as a single OME-TIFF."
            )
    else:
        kept, copies = _without_copies([], full_size, is_slide=_is_slide(tiff))
        is_single = bool(pages[0].is_ome)
        placed = list(_place_page_by_page(kept) if is_single else _place_by_axes(tiff, pages, kept))
    distinct = {plane.page.index: plane.page for planes in placed for plane in planes}
    _require_one_size(distinct.values())
    for page in distinct.values():
        _check_tiles(page)
    transparency = _transparency_by_page(pages)
    return TiffContent(
        tuple(TiffImage(planes, transparency.get(planes[0].page.index)) for planes in placed),
        (f"{copies} smaller or other images",) if copies else (),
    )


def _check_volume(page: Any) -> None:
    """Raise UnsupportedImageError for a page of more slices than can be listed and decoded."""
    if page.imagedepth > 1 and (page.nbytes > MAX_VOLUME_BYTES or page.imagedepth > MAX_SLICES):
        raise UnsupportedImageError(
            f"holds a volume of {page.imagedepth:,} slices and {page.nbytes:,} bytes on one page. "
            "Export a stack of one page for each slice."
        )


def _check_end(tiff: Any, pages: Sequence[Any]) -> None:
    """Raise ValueError where further pages lie beyond the end of the file, or ImageJ's slices do.

    tifffile leaves them out.
    """
    file, form = tiff.filehandle, tiff.tiff
    file.seek(pages[-1].offset)
    (tags,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    file.seek(pages[-1].offset + form.tagnosize + tags * form.tagsize)
    following = file.read(form.offsetsize)
    is_cut = len(following) == form.offsetsize and (
        struct.unpack(form.offsetformat, following)[0] >= file.size
    )
    slices = int((tiff.imagej_metadata or {}).get("images", 1)) if len(pages) == 1 else 1
    if is_cut or (pages[0].dataoffsets[0] + slices * pages[0].nbytes > file.size and slices > 1):
        raise ValueError("the file ends before its pixels do")


def _is_addition(page: Any) -> bool:
    """Tell whether a page is marked as a reduced copy or as another page's transparency."""
    return bool(page.subfiletype & (REDUCED_COPY_FLAG | TRANSPARENCY_FLAG)) or (
        page.photometric == TRANSPARENCY_KIND
    )


def _pages_with_pixels(pages: Any) -> Iterator[Any]:
    """Iterate pages up to the first without pixels, and raise ValueError there.

    In a damaged file such pages may lead from one to the next for hours.
    """
    for page in pages:
        if not page.dataoffsets:
            raise ValueError("one of its images has no pixels")
        yield page


def _transparency_by_page(pages: Sequence[Any]) -> Mapping[int, Any]:
    """Find the transparency page that follows an image, by the index of the image's page."""
    by_page: dict[int, Any] = {}
    image = None
    for page in pages:
        if not _is_addition(page):
            image = page
        elif (
            image is not None
            and not page.subfiletype & REDUCED_COPY_FLAG
            and _size(page) == _size(image)
        ):
            by_page.setdefault(image.index, page)
    return by_page


def _size(page: Any) -> tuple[int, int]:
    return int(page.imagelength), int(page.imagewidth)


def _is_slide(tiff: Any) -> bool:
    return any(getattr(tiff, name, False) for name in SLIDES)


def _without_copies(
    placed: Sequence[Any], pages: Sequence[Any], *, is_slide: bool = False
) -> tuple[list[Any], int]:
    """Leave out pages that are smaller copies of the largest, and count them.

    Of a slide the label and the overview are left out too. Pages in `placed` stay.
    """
    largest = max([*placed, *pages], key=lambda page: math.prod(_size(page)))
    smaller = [page for page in pages if _size(page) != _size(largest)]
    if is_slide or all(_is_smaller_copy(page, largest) for page in smaller):
        return [*placed, *(page for page in pages if page not in smaller)], len(smaller)
    return [*placed, *pages], 0


def _is_smaller_copy(page: Any, whole: Any) -> bool:
    """Tell whether a page has the proportions and the pixels of a larger one."""
    height, width = _size(page)
    whole_height, whole_width = _size(whole)
    return (
        width < whole_width
        and abs(height - whole_height * width / whole_width) <= 1
        and (page.samplesperpixel, page.dtype) == (whole.samplesperpixel, whole.dtype)
    )


def _require_one_size(pages: Iterable[Any]) -> None:
    sizes = {_size(page) for page in pages}
    if len(sizes) > 1:
        raise UnsupportedImageError(
            f"holds images of {len(sizes)} sizes. A stack has images of one size: export them one "
            "by one."
        )


def _check_tiles(page: Any) -> None:
    if page.is_tiled and max(page.tilelength, page.tilewidth) > max(
        USUAL_TILE_PX, page.imagelength, page.imagewidth
    ):
        raise ValueError(
            f"its tiles have {page.tilewidth}x{page.tilelength} pixels, more than all of it"
        )
    if page.is_tiled and page.tiledepth > 1:
        tile, volume = page.tiledepth * page.tilelength * page.tilewidth, math.prod(page.shape)
        if tile > max(USUAL_TILE_PX**2, volume):
            raise ValueError(f"its tiles have {tile:,} voxels, more than all of it")


def _place_by_ome(pages: Sequence[Any]) -> list[tuple[Plane, ...]]:
    """Group pages into images as OME metadata say."""
    images = ome_images(str(pages[0].description), len(pages))
    return [tuple(Plane(pages[index]) for index in image) for image in images]


def _place_page_by_page(pages: Sequence[Any]) -> Iterator[tuple[Plane, ...]]:
    """Make an image of each page, or of each slice of its volume."""
    for page in pages:
        yield from ((Plane(page, slice),) for slice in range(page.imagedepth))


def _place_by_axes(
    tiff: Any, pages: Sequence[Any], kept: Sequence[Any]
) -> Iterator[tuple[Plane, ...]]:
    """Group planes into images by the axes that ImageJ and others write; else each is an image."""
    indices = {page.index for page in kept}
    series = [each for each in tiff.series if each.keyframe.index in indices]
    if not series or any(each.kind in PAGE_BY_PAGE for each in series):
        yield from _place_page_by_page(kept)
        return
    for each in series:
        yield from _images_of_series(each, pages)


def _images_of_series(series: Any, pages: Sequence[Any]) -> Iterator[tuple[Plane, ...]]:
    page = pages[series.keyframe.index]
    sizes = dict(zip(series.axes, series.shape, strict=True))
    inner = {"Y", "X", "S"} if page.samplesperpixel > 1 else {"Y", "X"}
    if page.samplesperpixel > 1 and "S" not in sizes and sizes.get("C") == page.samplesperpixel:
        # The channels of a confocal microscope (LSM) are the samples of a page
        inner |= {"C"}
    outer = [(axis, size) for axis, size in sizes.items() if axis not in inner]
    planes = _planes_of_series(series, pages, math.prod(size for _, size in outer))
    channel = next((i for i, (axis, _) in enumerate(outer) if axis in "CS"), None)
    if channel is None:
        yield from ((plane,) for plane in planes)
        return
    channels = outer[channel][1]
    stride = math.prod(size for _, size in outer[channel + 1 :])
    for first in range(len(planes)):
        if first // stride % channels == 0:
            yield tuple(planes[first + c * stride] for c in range(channels))


def _planes_of_series(series: Any, pages: Sequence[Any], count: int) -> list[Plane]:
    """List the planes of a series in the order of its axes.

    Raises:
        UnsupportedImageError: It has another number of planes than its axes say.
        ValueError: They lie beyond the end of the file.
    """
    page, own_pages = pages[series.keyframe.index], list(series.pages)
    if len(own_pages) * page.imagedepth == count:
        return [
            Plane(pages[own.index], slice) for own in own_pages for slice in range(page.imagedepth)
        ]
    if len(own_pages) == 1 and series.dataoffset is not None:
        if series.dataoffset + count * page.nbytes > page.parent.filehandle.size:
            raise ValueError("the file ends before its pixels do")
        return [Plane(page, 0, series.dataoffset + i * page.nbytes) for i in range(count)]
    raise UnsupportedImageError(
        f"holds {series.shape} values in {len(own_pages)} pages. Export a stack of one image for "
        "each slice."
    )
