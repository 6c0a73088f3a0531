"""Large images in tiles, for the review page."""

import io

import numpy as np
import pytest
from PIL import Image

from limner.data.large_images import ArrayImage
from limner.web.review.tiled_picture import TILE_PX, TiledPicture


def smooth(height: int, width: int) -> np.ndarray:
    """An image in which neighbours are alike, so that JPEG changes little."""
    y, x = np.mgrid[:height, :width]
    planes = [128 + 100 * np.sin(y / 97 + k) * np.cos(x / 131 - k) for k in range(3)]
    return np.stack(planes, axis=2).astype(np.uint8)


def decode(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content))).astype(int)


@pytest.mark.parametrize(("height", "width"), [(300, 400), (512, 512), (513, 700), (1300, 2100)])
def test_tiles_of_each_level_are_the_image_at_a_half(height: int, width: int) -> None:
    image = smooth(height, width)
    picture = TiledPicture(ArrayImage(image))
    for level in range(picture.levels + 1):
        wanted = np.asarray(Image.fromarray(image).reduce(2**level)).astype(int)
        for top in range(0, wanted.shape[0], TILE_PX):
            for left in range(0, wanted.shape[1], TILE_PX):
                tile = decode(picture.tile(level, top // TILE_PX, left // TILE_PX))
                part = wanted[top : top + TILE_PX, left : left + TILE_PX]
                assert tile.shape == part.shape
                assert np.abs(tile - part).mean() < 2
    assert max(wanted.shape) <= TILE_PX


def test_there_are_no_tiles_beside_the_image() -> None:
    picture = TiledPicture(ArrayImage(smooth(600, 1200)))
    assert picture.levels == 2
    assert picture.has(0, 1, 2) and picture.has(2, 0, 0)
    for place in ((0, 2, 0), (0, 0, 3), (1, 1, 0), (3, 0, 0), (-1, 0, 0), (0, -1, 0)):
        assert not picture.has(*place)


def test_each_part_of_the_image_is_read_once_for_all_smaller_sizes() -> None:
    reads = []

    class Counted(ArrayImage):
        def read(self, box):  # type: ignore[no-untyped-def]
            reads.append(box)
            return super().read(box)

    picture = TiledPicture(Counted(smooth(1100, 1100)))
    for level in (picture.levels, 1):
        for row in range(2):
            for column in range(2):
                if picture.has(level, row, column):
                    picture.tile(level, row, column)
    assert len(reads) == len(set(reads)) == 9
