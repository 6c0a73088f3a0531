"""Masks in tiles of 512 px, as the page sends them, and as bytes, as the store holds them."""

import zlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.views import Box
from limner.errors import LimnerError
from limner.labels import VOID

TILE_PX = 512
INDEX_BYTES = 4
"""The size of a tile's index, which precedes its pixels."""


def tile_boxes(size_px: tuple[int, int]) -> list[Box]:
    """The boxes of a mask's tiles, row by row; those at the right and lower edge are smaller."""
    height, width = size_px
    return [
        Box(top, left, min(TILE_PX, height - top), min(TILE_PX, width - left))
        for top in range(0, height, TILE_PX)
        for left in range(0, width, TILE_PX)
    ]


def unpack_tiles(
    body: bytes, size_px: tuple[int, int], classes: int
) -> dict[int, UInt8[ndarray, "_ _"]]:
    """Unpack the tiles that a page sent, by their index.

    Args:
        body: a zlib stream. For each tile it holds the index (32 bits, little endian) and then the
            pixels, row by row, as class indices.
        size_px: height and width of the mask.
        classes: how many classes there are; pixels are below it, or void.

    Raises LimnerError for anything else, before more memory is used than the mask has pixels.
    """
    boxes = tile_boxes(size_px)
    content = _inflate(body, sum(INDEX_BYTES + box.height * box.width for box in boxes))
    tiles: dict[int, UInt8[ndarray, "_ _"]] = {}
    offset = 0
    while offset < len(content):
        index = int.from_bytes(content[offset : offset + INDEX_BYTES], "little")
        if index >= len(boxes) or index in tiles:
            raise LimnerError(
                f"the mask has {len(boxes)} tiles, and number {index} is none of them or "
                "came twice."
            )
        start, size = offset + INDEX_BYTES, boxes[index].height * boxes[index].width
        pixels = np.frombuffer(content, np.uint8)[start : start + size]
        if len(pixels) < size:
            raise _truncated()
        _require_classes(pixels, classes)
        tiles[index] = pixels.reshape(boxes[index].height, boxes[index].width)
        offset = start + size
    if not tiles:
        raise _truncated()
    return tiles


def _inflate(body: bytes, limit: int) -> bytes:
    """Decompress a body. Raises LimnerError where it is damaged, or holds more than the limit."""
    decompressor = zlib.decompressobj()
    try:
        content = decompressor.decompress(body, limit + 1)
    except zlib.error as error:
        raise LimnerError(
            f"the tiles are not deflated ({error}). Send them as the page does."
        ) from error
    if len(content) > limit or not decompressor.eof or decompressor.unused_data:
        raise _truncated()
    return content


def _require_classes(pixels: UInt8[ndarray, " n"], classes: int) -> None:
    unknown = pixels[(pixels >= classes) & (pixels != VOID)]
    if unknown.size:
        raise LimnerError(f"a tile has the class {int(unknown[0])}, and there are {classes}.")


def _truncated() -> LimnerError:
    return LimnerError(
        "the tiles end in the middle of one, or there are none. Send them as the page does."
    )


def apply_tiles(
    mask: UInt8[ndarray, "h w"], tiles: Mapping[int, UInt8[ndarray, "_ _"]]
) -> UInt8[ndarray, "h w"]:
    """Return a copy of a mask in which some tiles are replaced."""
    changed, boxes = mask.copy(), tile_boxes((mask.shape[0], mask.shape[1]))
    for index, tile in tiles.items():
        boxes[index].crop(changed)[:] = tile
    return changed


def tiles_from_bytes(
    contents: Mapping[int, bytes], size_px: tuple[int, int]
) -> dict[int, UInt8[ndarray, "_ _"]]:
    """Tiles from the bytes that the store holds: the pixels of each, row by row.

    Raises LimnerError where they are of a mask of another size.
    """
    boxes = tile_boxes(size_px)
    if any(
        index >= len(boxes) or len(content) != boxes[index].height * boxes[index].width
        for index, content in contents.items()
    ):
        raise LimnerError(
            "what was drawn is of another size than the mask, which has "
            f"{size_px[1]}x{size_px[0]} px. Restore the image and its mask."
        )
    return {
        index: np.frombuffer(content, np.uint8).reshape(boxes[index].height, boxes[index].width)
        for index, content in contents.items()
    }


def mask_to_bytes(mask: UInt8[ndarray, "h w"]) -> bytes:
    """A mask as the store holds it and as it is hashed: a line with height and width, then the
    class indices, row by row.
    """
    return b"%d %d\n" % (mask.shape[0], mask.shape[1]) + np.ascontiguousarray(mask).tobytes()


def mask_from_bytes(content: bytes) -> UInt8[ndarray, "h w"]:
    """The mask that `mask_to_bytes` wrote."""
    header, _, pixels = content.partition(b"\n")
    height, width = map(int, header.split())
    return np.frombuffer(pixels, np.uint8).reshape(height, width)
