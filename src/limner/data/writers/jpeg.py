"""Write images as JPEG, for pages and for synthetic photographs."""

from pathlib import Path

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from numpy import ndarray

from limner.files import write_atomic


def write_jpeg(path: Path, pixels: UInt8[ndarray, "h w 3"]) -> None:
    """Write an RGB JPEG of quality 92 atomically."""
    write_atomic(path, encode_jpeg(pixels, 92))


def encode_jpeg(pixels: UInt8[ndarray, "h w 3"], quality: int = 85) -> bytes:
    """Encode an RGB image as JPEG; `quality` is from 1 to 100."""
    return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality)
