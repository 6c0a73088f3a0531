"""Write images and masks as PNG."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8, UInt16
from numpy import ndarray
from PIL import Image

from limner.data.readers.png import SIGNATURE, encode_chunk
from limner.files import write_atomic


def write_png(path: Path, pixels: UInt8[ndarray, "h w *c"]) -> None:
    """Write a grey or RGB PNG atomically."""
    write_atomic(path, encode_png(pixels))


def encode_png(pixels: UInt8[ndarray, "h w *c"] | UInt16[ndarray, "h w"]) -> bytes:
    """Encode a grey or RGB image as PNG; grey may have 16 bits."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="PNG")
    return content.getvalue()


def encode_mask_png(pixels: UInt8[ndarray, "h w *c"]) -> bytes:
    """Encode a mask of few values, grey or RGB, as PNG.

    Runs of equal values are packed without row filters. That is smaller than Pillow's PNG and
    takes a third of the time.
    """
    height, width = pixels.shape[:2]
    is_grey = pixels.ndim == 2
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if is_grey else 2, 0, 0, 0)
    # Each row begins with the number of its filter, and 0 is none
    rows = np.zeros((height, 1 + pixels[0].size), np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    compressor = zlib.compressobj(1, strategy=zlib.Z_RLE if is_grey else zlib.Z_DEFAULT_STRATEGY)
    packed = compressor.compress(rows.data) + compressor.flush()
    chunks = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    return SIGNATURE + b"".join(encode_chunk(kind, body) for kind, body in chunks)
