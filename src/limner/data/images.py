"""Decode and encode images and masks; the only module that touches the readers and writers of image
files.

Decoding is strict: a file is decoded whole or refused with its name, the cause and the cure. Its
size is read from the header and checked before a pixel is decoded.
"""

import hashlib
import io
import logging
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from jaxtyping import Shaped, UInt, UInt8
from numpy import ndarray
from PIL import BmpImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from limner.errors import LimnerError
from limner.labels import Labels, PixelKind

PNG = b"\x89PNG\r\n\x1a\n"
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WebP", "DICOM")
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".webp", ".dcm"}
)
STACK_SUFFIXES = frozenset({".tif", ".tiff", ".dcm"})
"""Files that may hold several images of the same size."""
MAX_PIXELS = 500_000_000
MAX_UPLOAD_PIXEL_BYTES = 8
"""A pixel of an image that somebody sent may have, such as four channels of 16 bits."""
ORIENTATION = 0x0112
PNG_BITS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
"""How deep a channel of each type of colour may be (W3C PNG, section 11.2.1); more would be memory
that no image needs.
"""
USUAL_TILE_PX = 4096
"""Up to this side a TIFF's tiles may be larger than its image."""
WINDOW_PERCENT = (0.1, 99.9)
"""Deeper images than 8 bits are brought to 0..255 between these percentiles of their own values, so
that a hot pixel does not darken the rest.
"""

Pixels = Shaped[ndarray, "h w *c"]


class TooLargeError(LimnerError):
    """An image that is not decoded for its size."""


@dataclass(frozen=True, slots=True)
class MaskPixels:
    """What a mask file holds, before anything is known of its classes.

    `values` are grey values, palette indices or, where `kind` is "colour", colours as 0xRRGGBB.
    `palette` gives the colour (0xRRGGBB) of each index; `lossy` says that the file's format smears
    values.
    """

    values: UInt[ndarray, "h w"]
    kind: PixelKind
    palette: tuple[int, ...] = ()
    lossy: bool = False

    def to_colours(self) -> "MaskPixels":
        """The same mask as the colours that a viewer shows."""
        if self.kind == "colour":
            return self
        table = (
            np.array(self.palette, np.uint32)
            if self.kind == "palette"
            else np.arange(256, dtype=np.uint32) * 0x010101
        )
        return MaskPixels(table[np.minimum(self.values, len(table) - 1)], "colour")


@dataclass(frozen=True, slots=True)
class _Header:
    """A file's format and its size as it lies in the file, before any turn."""

    format: str
    height: int
    width: int
    orientation: int = 1
    pages: int = 1
    pixel_bytes: int = 4
    """Of a pixel once it is decoded, at most."""

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width upright."""
        return (
            (self.width, self.height)
            if self.orientation in {5, 6, 7, 8}
            else (self.height, self.width)
        )


@dataclass(frozen=True, slots=True)
class _Decoded:
    """Pixels upright, of any depth, with the colours of a palette; `alpha` says that the last
    channel is how solid a pixel is.
    """

    pixels: Shaped[ndarray, "h w *c"]
    palette: UInt8[ndarray, "n 3"] | None = None
    window: tuple[float, float] | None = None
    alpha: bool = False
    planes: bool = False
    """Its channels are planes of their own, each with a range of its own."""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What a file is like: height and width upright, its orientation as EXIF counts it, the bits of
    a channel, its largest value, and the SHA-256 of the bytes that were decoded.
    """

    size_px: tuple[int, int]
    orientation: int
    bits: int
    largest: float
    sha256: bytes


def read_image(
    path: Path, *, page: int = 0, at_least_px: tuple[int, int] | None = None
) -> UInt8[ndarray, "h w c"]:
    """An image, 0..255, turned upright by its EXIF orientation; alpha is dropped, deeper pixels are
    brought to 8 bits.

    Colour, palette and grey give RGB; a TIFF or DICOM of two channels, or of four and more, as of a
    microscope, gives as many. `page` counts from 0 in a file that holds several images. With
    `at_least_px` (height, width) a JPEG may be decoded at a half, a quarter or an eighth, as long
    as it is no smaller than that. Raises LimnerError for a file that cannot be decoded whole.
    """
    with _reading(path) as data:
        decoded = _decode(data, _header(data, path), path, page, at_least_px=at_least_px)
        return _as_image(decoded, path)


def to_image(pixels: Shaped[ndarray, "*_"]) -> UInt8[ndarray, "h w c"]:
    """What `read_image` gives of a file that holds these pixels: grey becomes RGB, deeper pixels
    and true and false are brought to 0..255.

    8-bit pixels stay as they are, with all their channels; nothing is known of a palette or of
    alpha. Raises LimnerError where there is no pixel, where a pixel is no number, and for an array
    of another shape.
    """
    if pixels.ndim not in {2, 3} or not pixels.size:
        raise LimnerError(
            f"the array has the shape {pixels.shape}. An image has height, width and, unless "
            "it is grey, channels."
        )
    return _as_image(
        _Decoded(pixels, planes=pixels.ndim == 3 and pixels.shape[2] != 3), Path("the array")
    )


def read_with_info(
    path: Path, *, page: int = 0, at_least_px: tuple[int, int] | None = None
) -> tuple[UInt8[ndarray, "h w c"], ImageInfo]:
    """What `read_image` gives, and what the file is like. Raises LimnerError as it does."""
    with _reading(path) as data:
        header = _header(data, path)
        decoded = _decode(data, header, path, page, at_least_px=at_least_px)
        return _as_image(decoded, path), _info(data, header, decoded)


def decode_image(data: bytes, name: str, most_pixels: int) -> UInt8[ndarray, "h w c"]:
    """What `read_image` gives, of bytes that somebody sent; `name` is what errors call them.

    Raises LimnerError as it does, for DICOM, and TooLargeError for an image of more pixels, or of
    more than 8 bytes for each of them, of which none is then decoded.
    """
    path = Path(name)
    with _explained(path):
        if data[128:132] == b"DICM" and not data.startswith(
            (b"II", b"MM", b"BM", b"RIFF", b"\x89PNG", b"\xff\xd8")
        ):
            raise LimnerError(
                f"{name} is DICOM, which is read from files alone. Send JPEG, PNG, WebP, BMP "
                "or TIFF."
            )
        header = _header(data, path)
        if (
            header.height * header.width > most_pixels
            or header.pixel_bytes > MAX_UPLOAD_PIXEL_BYTES
            or header.pages > 1
        ):
            raise TooLargeError(
                f"{name} claims {header.pages} images of {header.width}x{header.height} pixels of {header.pixel_bytes} bytes. "
                f"One of at most {most_pixels:,} pixels of {MAX_UPLOAD_PIXEL_BYTES} bytes is "
                "taken: cut it, or use limner predict."
            )
        return _as_image(_decode(data, header, path, 0), path)


def read_mask(path: Path, *, page: int = 0) -> MaskPixels:
    """A mask's pixel values as they stand in the file, turned upright by its EXIF orientation; what
    white means is not looked at.

    1-bit masks give 0 and 255. RGB that is grey gives its one channel. Where alpha is all that
    varies, alpha is the mask; where a pixel is transparent it is 0. Raises LimnerError for a file
    that cannot be decoded whole or that is no mask.
    """
    return read_mask_with_info(path, page=page)[0]


def read_mask_with_info(path: Path, *, page: int = 0) -> tuple[MaskPixels, ImageInfo]:
    """What `read_mask` gives, and what the file is like. Raises LimnerError as it does."""
    with _reading(path) as data:
        header = _header(data, path)
        decoded = _decode(data, header, path, page, as_stored=True)
        lossy = header.format == "JPEG" or b"VP8 " in data[:64]
        return _as_mask(decoded, path, lossy=lossy), _info(data, header, decoded)


def read_predicted_mask(path: Path, labels: Labels) -> UInt8[ndarray, "h w"]:
    """A mask that `Labels.to_pixels` gave and `encode_mask` kept, in class indices again. Raises
    LimnerError for any other file.
    """
    mask = read_mask(path)
    return labels.from_pixels(
        (mask.to_colours() if labels.coloured and not labels.binary else mask).values
    )


def image_size(path: Path) -> tuple[int, int]:
    """Height and width after the EXIF turn, from the header alone. Raises LimnerError as
    `read_image` does.
    """
    with _reading(path) as data:
        return _header(data, path).size_px


def page_count(path: Path) -> int:
    """How many images of the same size a file holds, such as the slices of a TIFF stack. Raises
    LimnerError as `read_image` does.
    """
    with _reading(path) as data:
        return _header(data, path).pages


def to_rgb(pixels: UInt8[ndarray, "h w c"]) -> UInt8[ndarray, "h w 3"]:
    """An image of any number of channels as a person looks at it: the first three as red, green and
    blue.
    """
    missing = max(0, 3 - pixels.shape[2])
    return np.ascontiguousarray(
        pixels[..., :3] if not missing else np.pad(pixels, ((0, 0), (0, 0), (0, missing)))
    )


def _info(data: bytes, header: _Header, decoded: _Decoded) -> ImageInfo:
    pixels = decoded.pixels
    return ImageInfo(
        header.size_px,
        header.orientation,
        1 if pixels.dtype == np.bool_ else 8 * pixels.itemsize,
        float(pixels.max()),
        hashlib.sha256(data).digest(),
    )


@contextmanager
def _reading(path: Path) -> Iterator[bytes]:
    """The file's bytes, and every failure to read or decode them as a LimnerError that names the
    file.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise LimnerError(f"{path} does not exist.") from error
    except OSError as error:
        raise LimnerError(
            f"{path} cannot be opened: {error.strerror}. Is it a file that you may read?"
        ) from error
    with _explained(path):
        yield data


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Every failure to decode as a LimnerError."""
    try:
        yield
    except LimnerError:
        raise
    except MemoryError as error:
        raise LimnerError(f"{path} needs more memory than there is. Cut it into parts.") from error
    except (
        Exception
        # The edge of the process: on hostile bytes a decoder may raise anything
    ) as error:
        raise LimnerError(
            f"{path} is damaged: {str(error).rstrip('.') or type(error).__name__}. It must "
            "decode whole: copy or export it again."
        ) from error


def _header(data: bytes, path: Path) -> _Header:
    """Format and size from the first bytes. Raises LimnerError for what is no image, or is larger
    than `MAX_PIXELS`.
    """
    if data.startswith(b"\xff\xd8\xff"):
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        header = _Header(
            "JPEG",
            height,
            width,
            _exif_orientation(JpegImagePlugin.JpegImageFile(io.BytesIO(data))),
        )
    elif data.startswith(PNG):
        height, width = struct.unpack(">4xII", data[12:24])[::-1] if len(data) >= 24 else (0, 0)
        header = _Header(
            "PNG",
            height,
            width,
            _exif_orientation(PngImagePlugin.PngImageFile(io.BytesIO(data)))
            if b"eXIf" in data
            else 1,
        )
    elif data[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:
        header = _tiff_header(data, path)
    elif data.startswith(b"BM"):
        bmp = BmpImagePlugin.BmpImageFile(io.BytesIO(data))
        header = _Header("BMP", bmp.height, bmp.width)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        webp = WebPImagePlugin.WebPImageFile(io.BytesIO(data))
        header = _Header("WebP", webp.height, webp.width, _exif_orientation(webp))
    elif data[128:132] == b"DICM":
        dicom = _dicom(data, path, pixels=False)
        header = _Header(
            "DICOM",
            int(dicom.Rows),
            int(dicom.Columns),
            pages=int(dicom.get("NumberOfFrames") or 1),
        )
    else:
        raise LimnerError(
            f"{path} is no image that can be read: {_what_it_is(data)}. Formats are "
            f"{', '.join(FORMATS)}: export it as one of them."
        )
    if header.height < 1 or header.width < 1:
        raise LimnerError(
            f"{path} is damaged: its header gives {header.width}x{header.height} pixels. Copy "
            "or export it again."
        )
    if header.height * header.width > MAX_PIXELS:
        raise TooLargeError(
            f"{path} claims {header.width}x{header.height} pixels. At most {MAX_PIXELS:,} are "
            "decoded: cut it into parts."
        )
    return header


def _what_it_is(data: bytes) -> str:
    """What a file that is no image seems to be, from its first bytes."""
    known = {
        b"": "it is empty",
        b"GIF8": "it is a GIF",
        b"%PDF": "it is a PDF",
        b"PK\x03\x04": "it is a zip archive",
        b"<": "it is a text such as HTML or SVG",
        b"version https://git-lfs": "it is a Git LFS pointer, whose content was never fetched (git lfs pull)",
        b"\x93NUMPY": "it is a NumPy array",
        b"\x00\x00\x00\x0cjP": "it is a JPEG 2000",
        b"\x1f\x8b": "it is a gzip archive, such as NIfTI",
    }
    if data[4:8] == b"ftyp":
        return "it is a HEIC or AVIF photograph"
    return next(
        (text for start, text in known.items() if start and data.startswith(start)),
        known[b""] if not data else "its content is unknown",
    )


def _decode(
    data: bytes,
    header: _Header,
    path: Path,
    page: int,
    *,
    at_least_px: tuple[int, int] | None = None,
    as_stored: bool = False,
) -> _Decoded:
    """The pixels of one image; `as_stored` leaves out what only a picture needs: rescaling, and
    turning dark on light over.
    """
    if not 0 <= page < header.pages:
        raise LimnerError(
            f"{path} has {header.pages} image{'s' * (header.pages != 1)}; number {page + 1} "
            "was asked for."
        )
    if header.format == "JPEG":
        return _Decoded(_upright(_decode_jpeg(data, header, at_least_px), header.orientation))
    if header.format == "TIFF":
        return _decode_tiff(data, path, page, as_stored)
    if header.format == "DICOM":
        return _decode_dicom(data, path, page, as_stored)
    if header.format == "PNG":
        _check_png(data)
        if data[24] == 16 and data[25] in {2, 4, 6}:
            # Pillow would cut these to 8 bits
            import imagecodecs

            return _Decoded(
                _upright(imagecodecs.png_decode(data), header.orientation), alpha=data[25] in {4, 6}
            )
    if header.format == "WebP" and struct.unpack("<I", data[4:8])[0] + 8 > len(data):
        raise ValueError(f"the file ends after {len(data)} bytes")
    plugin: Any = {
        "PNG": PngImagePlugin.PngImageFile,
        "BMP": BmpImagePlugin.BmpImageFile,
        "WebP": WebPImagePlugin.WebPImageFile,
    }[header.format]
    decoded = _from_pillow(plugin(io.BytesIO(data)), header, path)
    if (
        as_stored and header.format == "PNG" and data[25] == 0 and data[24] in {2, 4}
        # Which Pillow spreads over 0..255
    ):
        return replace(decoded, pixels=decoded.pixels // (255 // (2 ** data[24] - 1)))
    return decoded


def _decode_jpeg(
    data: bytes, header: _Header, at_least_px: tuple[int, int] | None
) -> UInt8[ndarray, "h w *c"]:
    """Every complaint of the decoder refuses the file: Pillow fills what is missing with grey and
    says nothing.
    """
    colourspace = simplejpeg.decode_jpeg_header(data)[2]
    if colourspace in {"CMYK", "YCCK"}:
        simplejpeg.decode_jpeg(data, "CMYK")
        return np.asarray(JpegImagePlugin.JpegImageFile(io.BytesIO(data)).convert("RGB"))
    height, width = at_least_px or (header.height, header.width)
    if header.orientation in {5, 6, 7, 8}:
        height, width = width, height
    pixels = simplejpeg.decode_jpeg(
        data, "GRAY" if colourspace == "Gray" else "RGB", min_height=height, min_width=width
    )
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def _check_png(data: bytes) -> None:
    """Every chunk's checksum, and how many bytes the pixels have: a decoder looks at neither.
    Raises ValueError.
    """
    at = 8
    pixels = bytearray()
    while at < len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        end = at + 8 + length
        if end + 4 > len(data):
            raise ValueError(f"the file ends within its {name.decode('latin-1')} chunk")
        if (
            zlib.crc32(memoryview(data)[at + 4 : end])
            != struct.unpack(">I", data[end : end + 4])[0]
        ):
            raise ValueError(f"the checksum of its {name.decode('latin-1')} chunk is wrong")
        if name == b"IDAT":
            pixels += memoryview(data)[at + 8 : end]
        if name == b"IEND":
            if data[24] not in PNG_BITS.get(data[25], ()):
                raise ValueError(
                    f"its header gives {data[24]} bits for a colour of type {data[25]}, which "
                    "no PNG has"
                )
            needed = _png_bytes(data)
            if len(zlib.decompressobj().decompress(pixels, needed)) < needed:
                raise ValueError("its pixels end before the image does")
            return
        at = end + 4
    raise ValueError("the file ends before its end mark")


def _png_bytes(data: bytes) -> int:
    """How many bytes the unpacked pixels of a PNG must have, with a filter byte for each row (W3C
    PNG, section 9; Adam7 has seven passes).
    """
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    depth = bits * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 0)
    passes = (
        (
            (0, 0, 8, 8),
            (4, 0, 8, 8),
            (0, 4, 4, 8),
            (2, 0, 4, 4),
            (0, 2, 2, 4),
            (1, 0, 2, 2),
            (0, 1, 1, 2),
        )
        if interlaced
        else ((0, 0, 1, 1),)
    )
    sizes = ((-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes)
    return sum(
        rows * (1 + -(-columns * depth // 8)) for columns, rows in sizes if rows > 0 and columns > 0
    )


def _from_pillow(image: Image.Image, header: _Header, path: Path) -> _Decoded:
    if getattr(image, "n_frames", 1) > 1:
        raise LimnerError(
            f"{path} is an animation of {getattr(image, 'n_frames', 1)} frames. One image is "
            "read from a file: export the frames."
        )
    image.load()
    palette = None
    if image.mode in {"P", "PA"}:
        colours = image.getpalette("RGB") or []
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(colours) // 3] = np.array(colours, np.uint8).reshape(-1, 3)
    if image.mode == "PA":
        image, palette = image.convert("RGBA"), None
    return _Decoded(
        _upright(np.asarray(image), header.orientation), palette, alpha=image.mode in {"LA", "RGBA"}
    )


def _exif_orientation(image: Image.Image) -> int:
    """1 to 8, and 1 where the EXIF data is missing or damaged: pixels do not depend on it."""
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # noqa: BLE001
        # Hostile metadata may raise anything
        return 1
    return orientation if orientation in range(1, 9) else 1


def _upright(pixels: Pixels, orientation: int) -> Shaped[ndarray, "h2 w2 *c"]:
    """Pixels turned as EXIF's orientation says (TIFF 6.0, tag 274)."""
    if orientation in {5, 6, 7, 8}:
        pixels = pixels.swapaxes(0, 1)
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _tiff_header(data: bytes, path: Path) -> _Header:
    with _tiff(data) as file:
        pages = _tiff_pages(file, path)
        orientation = pages[0].tags.valueof(ORIENTATION, 1)
        images = len(pages) // _tiff_channels(file, len(pages))
        depth = (
            pages[0].samplesperpixel * max(1, pages[0].bitspersample // 8) * (len(pages) // images)
        )
        for page in pages:
            if page.is_tiled and max(page.tilelength, page.tilewidth) > max(
                USUAL_TILE_PX, page.imagelength, page.imagewidth
            ):
                raise ValueError(
                    f"its tiles have {page.tilewidth}x{page.tilelength} pixels, more than all of it"
                )
        return _Header(
            "TIFF",
            pages[0].imagelength,
            pages[0].imagewidth,
            orientation if orientation in range(1, 9) else 1,
            images,
            depth,
        )


def _tiff_pages(file: Any, path: Path) -> list[Any]:
    """The pages of a TIFF, without smaller copies of them. Raises LimnerError where they differ in
    size, or one holds a volume.
    """
    pages = [page for page in _with_pixels(file.pages) if not page.subfiletype & 1] or [
        file.pages.first
    ]
    sizes = {(page.imagelength, page.imagewidth) for page in pages}
    if len(sizes) > 1:
        raise LimnerError(
            f"{path} holds images of {len(sizes)} sizes. A stack has images of one size: "
            "export them one by one."
        )
    if len(pages) == 1 and math.prod(file.series[0].shape) > math.prod(pages[0].shape):
        raise LimnerError(
            f"{path} holds {file.series[0].shape} values in a single image. Export a stack of "
            "one image for each slice."
        )
    return pages


def _with_pixels(pages: Any) -> Iterator[Any]:
    """Pages one by one, up to the first without pixels: in a damaged file they may lead from one to
    the next for hours. Raises ValueError there.
    """
    for page in pages:
        if not page.dataoffsets:
            raise ValueError("one of its images has no pixels")
        yield page


def _tiff_channels(file: Any, pages: int) -> int:
    """How many pages are the channels of one image, as ImageJ and OME write those of a microscope;
    1 where the file says nothing of the kind.
    """
    series = file.series[0]
    within = series.axes.endswith("CYX") and math.prod(series.shape[:-2]) == pages
    return int(series.shape[-3]) if within else 1


def _decode_tiff(data: bytes, path: Path, page: int, as_stored: bool) -> _Decoded:
    with _tiff(data) as file:
        pages = _tiff_pages(file, path)
        channels = _tiff_channels(file, len(pages))
        directory = pages[page * channels]
        decoded = [
            _tiff_page(one, data, path, as_stored)
            for one in pages[page * channels : (page + 1) * channels]
        ]
        pixels = decoded[0] if channels == 1 else np.stack(decoded, axis=2)
        palette = None
        if directory.photometric.name == "PALETTE":
            palette = (np.asarray(directory.colormap).T >> 8).astype(np.uint8)
        extra = [int(kind) for kind in directory.extrasamples]
        alpha = (
            bool(extra)
            and directory.photometric.name != "SEPARATED"
            and (extra[-1] in {1, 2} or is_opaque(pixels[..., -1]))
        )
        orientation = directory.tags.valueof(ORIENTATION, 1)
        return _Decoded(
            _upright(pixels, orientation if orientation in range(1, 9) else 1),
            palette,
            alpha=alpha,
            planes=channels > 1,
        )


def is_opaque(channel: Shaped[ndarray, "*_"]) -> bool:
    """Whether a channel of which nothing is said is that of an image that is solid everywhere."""
    return (
        bool((channel == channel.flat[0]).all())
        and channel.dtype.kind == "u"
        and int(channel.flat[0]) == np.iinfo(channel.dtype).max
    )


def _tiff_page(
    directory: Any, data: bytes, path: Path, as_stored: bool
) -> Shaped[ndarray, "h w *c"]:
    for offset, count in zip(directory.dataoffsets, directory.databytecounts, strict=True):
        if count == 0 or offset + count > len(data):
            raise ValueError("the file ends before its pixels do")
    photometric = directory.photometric.name
    pixels: ndarray = directory.asarray()
    if photometric == "YCBCR" and directory.compression.name not in {"JPEG", "OJPEG"}:
        pixels = np.asarray(Image.fromarray(pixels, mode="YCbCr").convert("RGB"))
    if directory.planarconfig == 2 and pixels.ndim == 3:
        pixels = np.moveaxis(pixels, 0, -1)
    if photometric == "MINISWHITE" and not as_stored:
        pixels = ~pixels if pixels.dtype == np.bool_ else np.iinfo(pixels.dtype).max - pixels
    if photometric == "SEPARATED":
        return np.asarray(
            Image.fromarray(_unsigned_8(pixels[..., :4], path), mode="CMYK").convert("RGB")
        )
    if photometric not in {"MINISBLACK", "MINISWHITE", "RGB", "YCBCR", "PALETTE"}:
        raise LimnerError(
            f"{path} has colours of the kind {photometric}. Grey, RGB, palette and CMYK are "
            "read: export it as RGB."
        )
    return pixels


def _unsigned_8(pixels: Pixels, path: Path) -> UInt8[ndarray, "h w c"]:
    if pixels.dtype != np.uint8 or pixels.shape[-1] != 4:
        raise LimnerError(
            f"{path} is CMYK of type {pixels.dtype}. CMYK is read with 8 bits and four "
            "channels: export it as RGB."
        )
    return pixels


@contextmanager
def _tiff(data: bytes) -> Iterator[Any]:
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        yield file


def _dicom(data: bytes, path: Path, *, pixels: bool) -> Any:
    try:
        import pydicom
    except ImportError as error:
        raise LimnerError(
            f"{path} is DICOM, which needs pydicom: pip install 'limner[dicom]'."
        ) from error
    return pydicom.dcmread(io.BytesIO(data), stop_before_pixels=not pixels)


def _decode_dicom(data: bytes, path: Path, page: int, as_stored: bool) -> _Decoded:
    """Rescaled by slope and intercept and windowed as the file says, dark on light turned into
    light on dark (DICOM PS3.3 C.7.6.3, C.11).
    """
    dicom = _dicom(data, path, pixels=True)
    frames = dicom.pixel_array
    pixels = frames[page] if int(dicom.get("NumberOfFrames") or 1) > 1 else frames
    if as_stored:
        return _Decoded(pixels)
    if dicom.PhotometricInterpretation == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        pixels = apply_color_lut(pixels, dicom)
    elif dicom.PhotometricInterpretation.startswith("YBR"):
        from pydicom.pixels.processing import convert_color_space

        pixels = convert_color_space(pixels, dicom.PhotometricInterpretation, "RGB")
    window = None
    if dicom.SamplesPerPixel == 1 and ("RescaleSlope" in dicom or "WindowCenter" in dicom):
        pixels = pixels * float(dicom.get("RescaleSlope") or 1) + float(
            dicom.get("RescaleIntercept") or 0
        )
    if (
        dicom.SamplesPerPixel == 1
        and dicom.get("WindowWidth") is not None
        and dicom.get("WindowCenter") is not None
    ):
        centre, width = (
            float(value[0] if hasattr(value, "__len__") else value)
            for value in (dicom.WindowCenter, dicom.WindowWidth)
        )
        window = (centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)
    if dicom.PhotometricInterpretation == "MONOCHROME1":
        low, high = window or (float(pixels.min()), float(pixels.max()))
        pixels = low + high - pixels.astype(np.float64)
    return _Decoded(pixels, None, window)


def _as_image(decoded: _Decoded, path: Path) -> UInt8[ndarray, "h w c"]:
    pixels = decoded.pixels
    if decoded.palette is not None:
        return decoded.palette[pixels]
    if decoded.alpha:
        pixels = pixels[..., :-1]
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    shallow = pixels.astype(np.uint8) * np.uint8(255) if pixels.dtype == np.bool_ else pixels
    if shallow.dtype != np.uint8 and (
        shallow.ndim == 2 or (shallow.shape[2] == 3 and not decoded.planes)
    ):
        shallow = _to_8_bits(shallow, path, decoded.window)
    elif shallow.dtype != np.uint8:
        # Each channel of a microscope has a range of its own
        shallow = np.stack(
            [
                _to_8_bits(shallow[..., channel], path, decoded.window)
                for channel in range(shallow.shape[2])
            ],
            axis=2,
        )
    return np.ascontiguousarray(
        shallow if shallow.ndim == 3 else np.repeat(shallow[..., None], 3, axis=2)
    )


def _as_mask(decoded: _Decoded, path: Path, *, lossy: bool) -> MaskPixels:
    pixels = decoded.pixels
    if decoded.planes:
        raise LimnerError(
            f"{path} holds {pixels.shape[2]} planes that it calls channels. A mask has one: "
            "export one value for each class, or a stack with the axes ZYX."
        )
    if decoded.palette is not None:
        return MaskPixels(
            pixels,
            "palette",
            tuple(int(colour) for colour in decoded.palette.astype(np.uint32) @ _CHANNELS),
        )
    if decoded.alpha:
        pixels = _without_alpha(pixels, path)
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if pixels.ndim == 3 and (pixels.shape[2] != 3 or pixels.dtype != np.uint8):
        raise LimnerError(
            f"{path} is a mask of {pixels.shape[2]} channels of type {pixels.dtype}. A mask "
            "is grey, a palette or 8-bit RGB: export one value for each class."
        )
    if pixels.ndim == 3:
        return MaskPixels(pixels.astype(np.uint32) @ _CHANNELS, "colour", lossy=lossy)
    if pixels.dtype != np.uint8:
        if not (
            np.isfinite(pixels).all()
            and 0 <= pixels.min() <= pixels.max() <= 65535
            and (pixels == np.floor(pixels)).all()
        ):
            raise LimnerError(
                f"{path} has values from {pixels.min()} to {pixels.max()}. A mask has whole "
                "values from 0 to 65535: export the classes' numbers."
            )
        pixels = pixels.astype(np.uint8 if pixels.max() < 256 else np.uint16)
    return MaskPixels(pixels, "grey", lossy=lossy)


def _to_8_bits(
    pixels: Pixels, path: Path, window: tuple[float, float] | None
) -> UInt8[ndarray, "h w *c"]:
    """Deeper pixels as 0..255, linearly between the file's own window or `WINDOW_PERCENT` of the
    image's values.
    """
    if pixels.dtype.kind not in "uif" or not np.isfinite(pixels).all():
        raise LimnerError(
            f"{path} holds values that are no numbers (NaN or infinite, or type "
            f"{pixels.dtype}). Export it with finite pixel values."
        )
    low, high = window or np.percentile(pixels, WINDOW_PERCENT)
    if high <= low:
        low, high = float(pixels.min()), max(float(pixels.max()), float(pixels.min()) + 1)
    exact = (
        np.float64 if pixels.dtype.kind in "ui" and pixels.dtype.itemsize > 2 else np.float32
        # Which tells no neighbours of large numbers apart
    )
    scaled = (np.clip(pixels.astype(exact), low, high) - exact(low)) * exact(255 / (high - low))
    return np.rint(scaled).astype(np.uint8)


def _without_alpha(pixels: Shaped[ndarray, "h w c"], path: Path) -> Shaped[ndarray, "h w *c2"]:
    """The mask in a file with alpha: the colours, or the alpha where it alone varies; transparent
    pixels are 0.
    """
    colours, alpha = pixels[..., :-1], pixels[..., -1]
    if alpha.min() == alpha.max():
        return colours if alpha.max() > 0 else np.zeros_like(colours)
    if (colours == colours[:1, :1]).all():
        return alpha
    solid = np.iinfo(alpha.dtype).max if alpha.dtype.kind == "u" else 1
    if not np.isin(alpha, (0, solid)).all():
        raise LimnerError(
            f"{path} is half transparent in places, so its classes are not certain. A mask "
            "has one value for each class: export it without alpha."
        )
    return colours * (alpha > 0)[..., None].astype(colours.dtype)


_CHANNELS = np.array([1 << 16, 1 << 8, 1], np.uint32)
