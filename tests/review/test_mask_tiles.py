import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.errors import LimnerError
from limner.review.mask_tiles import (
    apply_tiles,
    mask_from_bytes,
    mask_to_bytes,
    tile_boxes,
    tiles_from_bytes,
    unpack_tiles,
)

sides = st.sampled_from([1, 2, 511, 512, 513, 1024, 1300])


def pack(tiles: dict[int, np.ndarray]) -> bytes:
    return zlib.compress(
        b"".join(index.to_bytes(4, "little") + tile.tobytes() for index, tile in tiles.items())
    )


def mask(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, (height, width)).astype(np.uint8)


@given(sides, sides, st.integers(0, 9))
def test_tiles_that_are_sent_restore_the_mask(height: int, width: int, seed: int) -> None:
    before, after = mask(height, width, 1), mask(height, width, seed + 2)
    tiles = unpack_tiles(
        pack({index: box.crop(after) for index, box in enumerate(tile_boxes((height, width)))}),
        (height, width),
        3,
    )
    assert (apply_tiles(before, tiles) == after).all() and (before == mask(height, width, 1)).all()
    stored = tiles_from_bytes(
        {index: tile.tobytes() for index, tile in tiles.items()}, (height, width)
    )
    assert (apply_tiles(before, stored) == after).all() and (
        mask_from_bytes(mask_to_bytes(after)) == after
    ).all()


TILE = np.zeros((10, 20), np.uint8)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not deflated|in the middle"),
        (b"no zlib", "not deflated"),
        (zlib.compress(b""), "there are none"),
        (zlib.compress(b"\0\0"), "in the middle"),
        (pack({0: TILE})[:-3], "in the middle"),
        (pack({0: TILE}) + b"more", "in the middle"),
        (pack({1: TILE}), "number 1 is none"),
        (pack({2**31: TILE}), "is none"),
        (zlib.compress(2 * (b"\0\0\0\0" + TILE.tobytes())), "came twice|in the middle"),
        (pack({0: TILE[:5]}), "in the middle"),
        (pack({0: TILE + np.uint8(3)}), "the class 3, and there are 3"),
        (zlib.compress(bytes(100_000_000)), "came twice|in the middle"),
    ],
)
def test_malformed_tiles_are_refused(body: bytes, message: str) -> None:
    with pytest.raises(LimnerError, match=message):
        unpack_tiles(body, (10, 20), 3)


def test_void_may_be_sent() -> None:
    assert (unpack_tiles(pack({0: np.full((10, 20), 255, np.uint8)}), (10, 20), 2)[0] == 255).all()
