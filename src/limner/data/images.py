"""Decode and encode images and masks; the only module that touches Pillow's readers and writers."""

import warnings
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image, ImageOps, UnidentifiedImageError

from limner.errors import LimnerError

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})
MAX_PIXELS = 500_000_000
Image.MAX_IMAGE_PIXELS = None  # the header is checked against MAX_PIXELS before anything is decoded


def read_image(path: Path) -> UInt8[ndarray, "h w 3"]:
    """An image as RGB, 0..255, turned upright by its EXIF orientation.

    Raises LimnerError for a file that cannot be decoded whole or is not 8 bits deep.
    """
    image = _decode(path)
    if image.mode.startswith(("I", "F")):
        raise LimnerError(f"{path} has pixels of mode {image.mode}. Images of 8 bits are read: export it with 8 bits per channel.")
    return np.asarray(image.convert("RGB"))


def read_mask(path: Path) -> UInt8[ndarray, "h w"]:
    """A mask's pixel values, turned upright by its EXIF orientation; a palette gives its indices, RGB that is grey its one channel.

    Raises LimnerError for a file that cannot be decoded whole or whose values do not fit 0..255.
    """
    image = _decode(path)
    pixels = np.asarray(image if image.mode in {"L", "P"} else image.convert("L") if image.mode in {"1", "LA"} else image)
    if pixels.ndim == 3 and (pixels[..., :3] == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    if pixels.ndim != 2:
        raise LimnerError(f"{path} is a mask in colours (mode {image.mode}). A mask has one channel, a value for each class: export it as grey or palette PNG.")
    if not 0 <= pixels.min() <= pixels.max() <= 255 or (pixels != pixels.astype(np.uint8)).any():
        raise LimnerError(f"{path} has values from {pixels.min()} to {pixels.max()}. A mask has whole values from 0 to 255: export it with 8 bits.")
    return pixels.astype(np.uint8)


def image_size(path: Path) -> tuple[int, int]:
    """Height and width after the EXIF turn, from the header alone. Raises LimnerError as `read_image` does."""
    with _opened(path) as image:
        width, height = image.size
        turned = image.getexif().get(0x0112, 1) in {5, 6, 7, 8} and image.format != "TIFF"
    return (width, height) if turned else (height, width)


def write_png(path: Path, pixels: UInt8[ndarray, "h w *c"]) -> None:
    """Write a grey or RGB PNG through a temporary file, so that a torn one never bears the name."""
    temporary = path.with_name(path.name + ".part")
    Image.fromarray(pixels).save(temporary, format="PNG")
    temporary.replace(path)


def write_jpeg(path: Path, pixels: UInt8[ndarray, "h w 3"]) -> None:
    Image.fromarray(pixels).save(path, format="JPEG", quality=92)


def resize(pixels: UInt8[ndarray, "h w *c"], size_px: tuple[int, int]) -> UInt8[ndarray, "h2 w2 *c"]:
    """Bilinear with antialiasing, over channels together; `size_px` is height and width."""
    if pixels.shape[:2] == size_px:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size_px[::-1], Image.Resampling.BILINEAR, reducing_gap=3.0))


def _decode(path: Path) -> Image.Image:
    with _opened(path) as image:
        try:
            image.load()
            upright = ImageOps.exif_transpose(image) if image.format != "TIFF" else image.copy()
        except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError) as error:
            raise LimnerError(f"{path} is damaged: {error}. It must decode whole: copy or export it again.") from error
    return upright


def _opened(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(path, formats=FORMATS)
    except FileNotFoundError as error:
        raise LimnerError(f"{path} does not exist.") from error
    except UnidentifiedImageError as error:
        raise LimnerError(f"{path} is no image that can be read. Formats are {', '.join(FORMATS)}: export it as one of them.") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise LimnerError(f"{path} cannot be opened: {error}. Copy or export it again.") from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise LimnerError(f"{path} claims {image.width}x{image.height} pixels. At most {MAX_PIXELS:,} are decoded: cut it into parts.")
    return image
