"""Masks in tiles of 512 px, as the page changes and sends them, and whole, as they are kept."""

import zlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.preprocess import Box
from limner.errors import LimnerError
from limner.labels import VOID

TILE_PX = 512
HEAD_BYTES = 4


def tile_boxes(size_px: tuple[int, int]) -> list[Box]:
    """Where the tiles of a mask lie, row by row; those at its edges are smaller."""
    height, width = size_px
    return [
        Box(top, left, min(TILE_PX, height - top), min(TILE_PX, width - left))
        for top in range(0, height, TILE_PX)
        for left in range(0, width, TILE_PX)
    ]


def unpack_tiles(
    body: bytes, size_px: tuple[int, int], classes: int
) -> dict[int, UInt8[ndarray, "_ _"]]:
    """Tiles by their index, from deflated bytes: of each its index (32 bits, the lowest byte
    first), then its pixels, row by row, as class indices.

    Raises LimnerError for anything else, before more memory is taken than the mask has pixels.
    """
    places = tile_boxes(size_px)
    most = sum(HEAD_BYTES + box.height * box.width for box in places)
    inflate = zlib.decompressobj()
    try:
        content = inflate.decompress(body, most + 1)
    except zlib.error as error:
        raise LimnerError(
            f"the tiles are not deflated ({error}). Send them as the page does."
        ) from error
    found: dict[int, UInt8[ndarray, "_ _"]] = {}
    at = 0
    while at < len(content):
        index = int.from_bytes(content[at : at + HEAD_BYTES], "little")
        if index >= len(places) or index in found:
            raise LimnerError(
                f"the mask has {len(places)} tiles, and number {index} is none of them or "
                "came twice."
            )
        box = places[index]
        pixels = np.frombuffer(content, np.uint8)[
            at + HEAD_BYTES : at + HEAD_BYTES + box.height * box.width
        ]
        if len(pixels) < box.height * box.width:
            break
        if ((pixels >= classes) & (pixels != VOID)).any():
            raise LimnerError(
                "a tile has the class "
                f"{int(pixels[(pixels >= classes) & (pixels != VOID)][0])}, and there are "
                f"{classes}."
            )
        found[index] = pixels.reshape(box.height, box.width)
        at += HEAD_BYTES + len(pixels)
    if at != len(content) or not inflate.eof or inflate.unused_data or not found:
        raise LimnerError(
            "the tiles end in the middle of one, or there are none. Send them as the page does."
        )
    return found


def apply_tiles(
    mask: UInt8[ndarray, "h w"], tiles: Mapping[int, UInt8[ndarray, "_ _"]]
) -> UInt8[ndarray, "h w"]:
    """A mask with some of its tiles in the place of its own."""
    changed, places = mask.copy(), tile_boxes((mask.shape[0], mask.shape[1]))
    for index, tile in tiles.items():
        places[index].crop(changed)[:] = tile
    return changed


def tiles_from_bytes(
    contents: Mapping[int, bytes], size_px: tuple[int, int]
) -> dict[int, UInt8[ndarray, "_ _"]]:
    """Tiles as the store gives them: the pixels of each, row by row. Raises LimnerError where they
    are of a mask of another size.
    """
    places = tile_boxes(size_px)
    if any(
        index >= len(places) or len(content) != places[index].height * places[index].width
        for index, content in contents.items()
    ):
        raise LimnerError(
            "what was drawn is of another size than the mask, which has "
            f"{size_px[1]}x{size_px[0]} px. Restore the image and its mask."
        )
    return {
        index: np.frombuffer(content, np.uint8).reshape(places[index].height, places[index].width)
        for index, content in contents.items()
    }


def mask_to_bytes(mask: UInt8[ndarray, "h w"]) -> bytes:
    """A mask as the store keeps it and its hash is of: height and width in a line, then the class
    indices, row by row.
    """
    return b"%d %d\n" % (mask.shape[0], mask.shape[1]) + np.ascontiguousarray(mask).tobytes()


def mask_from_bytes(content: bytes) -> UInt8[ndarray, "h w"]:
    """The mask that `to_content` wrote."""
    head, _, pixels = content.partition(b"\n")
    height, width = map(int, head.split())
    return np.frombuffer(pixels, np.uint8).reshape(height, width)
