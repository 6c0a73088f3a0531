"""The mask of an image in bands of rows, so that it need not fit into memory."""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import IO, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray


class MaskBand(NamedTuple):
    """Some rows of an image's mask, and how uncertain they are."""

    mask: UInt8[ndarray, "h w"]
    """Class indices."""
    uncertainty: UInt8[ndarray, "h w"]
    """The entropy of each pixel; 255 is the highest."""
    entropy: float
    """The sum over the pixels, each in 0..1."""

    @classmethod
    def of(cls, mask: UInt8[ndarray, "h w"], entropy: Float32[ndarray, "h w"]) -> "MaskBand":
        """A band from its entropy in 0..1, which is rounded."""
        grey = (entropy * 255).round().astype(np.uint8)
        return cls(mask, grey, float(entropy.sum(dtype=np.float64)))


def join_columns(parts: Sequence[Iterable[MaskBand]]) -> Iterator[MaskBand]:
    """Join the bands of parts that lie beside each other, from left to right.

    A part is computed as a whole, and all but the last wait on disk, compressed.

    Args:
        parts: The bands of each, which have the same rows.
    """
    *earlier, last = parts
    with ExitStack() as files:
        waiting = [_keep(bands, files.enter_context(TemporaryFile())) for bands in earlier]
        for bands in zip(*waiting, last, strict=True):
            masks, maps, entropies = zip(*bands, strict=True)
            yield MaskBand(np.hstack(masks), np.hstack(maps), sum(entropies))


def _keep(bands: Iterable[MaskBand], file: IO[bytes]) -> Iterator[MaskBand]:
    """Write bands to a file, and give what reads them again."""
    kept = []
    for band in bands:
        pixels = zlib.compress(np.stack([band.mask, band.uncertainty]).tobytes(), level=1)
        kept.append((file.write(pixels), band.mask.shape, band.entropy))
    file.seek(0)
    return (_read(file.read(length), shape, entropy) for length, shape, entropy in kept)


def _read(content: bytes, shape: tuple[int, ...], entropy: float) -> MaskBand:
    mask, uncertainty = np.frombuffer(zlib.decompress(content), np.uint8).reshape(2, *shape)
    return MaskBand(mask, uncertainty, entropy)
