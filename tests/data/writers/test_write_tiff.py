from pathlib import Path

import numpy as np
import pytest
import tifffile

from limner.data.writers.tiff import (
    TILE_PX,
    compress_tiles,
    write_compressed_tiles,
    write_tiled_tiff,
)
from limner.errors import LimnerError


@pytest.mark.parametrize("size_px", [(1, 1), (256, 256), (300, 700), (513, 255)])
def test_a_mask_written_in_bands_is_read_whole(size_px: tuple[int, int], tmp_path: Path) -> None:
    mask = np.random.default_rng(0).integers(0, 3, size_px).astype(np.uint8)
    bands = [mask[top : top + TILE_PX] for top in range(0, size_px[0], TILE_PX)]
    write_tiled_tiff(tmp_path / "a.tif", size_px, bands)
    write_compressed_tiles(
        tmp_path / "b.tif", size_px, [tile for band in bands for tile in compress_tiles(band)]
    )
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), mask)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_a_mask_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    def bands() -> object:
        yield np.zeros((256, 10), np.uint8)
        raise LimnerError("no more")

    with pytest.raises(LimnerError):
        write_tiled_tiff(tmp_path / "a.tif", (600, 10), bands())  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
