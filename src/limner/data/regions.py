"""Images that are read part by part, so that one larger than the memory can be segmented."""

from typing import Protocol, runtime_checkable

from jaxtyping import UInt8
from numpy import ndarray

from limner.data.preprocess import Box


@runtime_checkable
class Picture(Protocol):
    """Pixels 0..255, upright, that give any part of themselves."""

    @property
    def size_px(self) -> tuple[int, int]: ...

    @property
    def channels(self) -> int: ...

    def read(self, box: Box) -> UInt8[ndarray, "h w c"]: ...


class Whole:
    """An image in memory."""

    def __init__(self, image: UInt8[ndarray, "h w c"]) -> None:
        self._image = image
        self.size_px, self.channels = (image.shape[0], image.shape[1]), image.shape[2]

    def read(self, box: Box) -> UInt8[ndarray, "h w c"]:
        return box.of(self._image)
