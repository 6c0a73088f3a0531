"""OME metadata: which pages of a TIFF are the channels of which image."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from limner.data.readers.decoded import UnsupportedImageError

ChannelPages = tuple[int, ...]
"""For each channel of an image, which page of the file holds it, counted from 0."""
PlaneIndex = tuple[int, ...]
"""Where a plane lies along each axis of the metadata, the fastest axis first."""


@dataclass(frozen=True, slots=True)
class _Axes:
    """The axes of one position beside its rows and columns, as the metadata count its planes."""

    names: str
    """Such as "CZT": the first axis runs fastest."""
    sizes: tuple[int, ...]

    def locate(self, plane: int) -> PlaneIndex:
        """Find the place of a plane by its number."""
        index = []
        for size in self.sizes:
            plane, place = divmod(plane, size)
            index.append(place)
        return tuple(index)

    def number(self, index: PlaneIndex) -> int:
        """Find the number of a plane by its place. Raises ValueError where there is none."""
        number, stride = 0, 1
        for place, size in zip(index, self.sizes, strict=True):
            if not 0 <= place < size:
                raise ValueError(f"plane {place + 1} of {size}")
            number += place * stride
            stride *= size
        return number

    @property
    def planes(self) -> int:
        """How many planes there are."""
        return self.number(tuple(size - 1 for size in self.sizes)) + 1


def ome_images(xml: str, page_count: int) -> list[ChannelPages]:
    """List the images of an OME-TIFF, position by position.

    Of a set of several files these are the planes that the file itself holds.

    Args:
        xml: The description of the first page.
        page_count: How many pages the file has, at least two.

    Raises:
        UnsupportedImageError: The metadata do not say what the pages are.
    """
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise _unclear(f"cannot be read ({error})") from error
    if _children(root, "BinaryOnly"):
        raise _unclear("lie in another file, so that its channels and slices cannot be told apart")
    own = _own_uuid(root)
    images = [
        pages
        for image in _children(root, "Image")
        for pixels in _children(image, "Pixels")
        for pages in _images_of_position(pixels, own, page_count)
    ]
    placed = [page for pages in images for page in pages]
    if not placed or len(set(placed)) < len(placed):
        raise _unclear(f"place {len(set(placed))} of its {page_count} pages, some of them twice")
    return images


def _own_uuid(root: ElementTree.Element) -> str | None:
    """Find the identity by which the metadata mean this file; None where they speak of no other."""
    named = {element.text for element in root.iter() if _name(element) == "UUID"}
    own = root.get("UUID")
    if own is None and len(named) > 1:
        raise _unclear(f"are of {len(named)} files, and do not say which of them it is")
    return own or next(iter(named), None)


def _images_of_position(
    pixels: ElementTree.Element, own: str | None, page_count: int
) -> Iterator[ChannelPages]:
    """Give the images of one position of which this file holds planes, the slowest axis first."""
    try:
        axes = _read_axes(pixels)
        placing = _children(pixels, "TiffData") or [ElementTree.Element("TiffData")]
        pages = dict(
            pair for data in placing for pair in _read_tiff_data(data, axes, own, page_count)
        )
    except (KeyError, ValueError) as error:
        raise _unclear(f"are wrong or incomplete ({error})") from error
    channel_axis = axes.names.index("C")
    images: dict[PlaneIndex, dict[int, int]] = defaultdict(dict)
    for plane, page in pages.items():
        index = axes.locate(plane)
        outer = index[:channel_axis] + index[channel_axis + 1 :]
        images[outer[::-1]][index[channel_axis]] = page
    _require_same_channels(list(images.values()))
    for outer in sorted(images):
        yield tuple(images[outer][channel] for channel in sorted(images[outer]))


def _read_axes(pixels: ElementTree.Element) -> _Axes:
    """Read the axes of a position. Raises KeyError or ValueError where they are none."""
    names = pixels.attrib["DimensionOrder"].removeprefix("XY")
    if sorted(names) != ["C", "T", "Z"]:
        raise ValueError(f"DimensionOrder {pixels.attrib['DimensionOrder']}")
    sizes = {axis: int(pixels.attrib[f"Size{axis}"]) for axis in names}
    samples = {int(channel.get("SamplesPerPixel", 1)) for channel in _children(pixels, "Channel")}
    if len(samples) > 1 or min(samples, default=1) < 1:
        raise ValueError(f"SamplesPerPixel {sorted(samples)}")
    sizes["C"] //= max(samples, default=1)
    if min(sizes.values()) < 1:
        raise ValueError(f"sizes {sizes}")
    return _Axes(names, tuple(sizes[axis] for axis in names))


def _read_tiff_data(
    data: ElementTree.Element, axes: _Axes, own: str | None, page_count: int
) -> Iterator[tuple[int, int]]:
    """Give the planes that a TiffData element places in this file, each with its page.

    Raises:
        ValueError: It names planes or pages that there are not.
    """
    uuids = _children(data, "UUID")
    if uuids and uuids[0].text != own:
        return
    plane = axes.number(tuple(int(data.get(f"First{axis}", 0)) for axis in axes.names))
    page = int(data.get("IFD", 0))
    stated = data.get("PlaneCount", data.get("NumPlanes", "1" if "IFD" in data.attrib else None))
    # Without a number it means as many as there are
    rest = min(page_count - page, axes.planes - plane)
    count = rest if stated is None else int(stated)
    if page < 0 or not 0 <= count <= rest:
        raise ValueError(f"{count} planes from page {page + 1} on")
    yield from zip(range(plane, plane + count), range(page, page + count), strict=True)


def _require_same_channels(images: Sequence[dict[int, int]]) -> None:
    """Raise UnsupportedImageError where images of one position hold different channels."""
    kinds = {tuple(sorted(channels)) for channels in images}
    if len(kinds) > 1:
        fewest, most = min(map(len, kinds)), max(map(len, kinds))
        raise _unclear(
            f"give {fewest} channels to some of its images and "
            f"{'others' if fewest == most else most} to the rest"
        )


def _children(element: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    """List the children of a name, in whatever version of the schema."""
    return [child for child in element if _name(child) == name]


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _unclear(cause: str) -> UnsupportedImageError:
    return UnsupportedImageError(
        f"has OME metadata that {cause}. They must give each page its channel, slice and time: "
        "export it as a single OME-TIFF."
    )
