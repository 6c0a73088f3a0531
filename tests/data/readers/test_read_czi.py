"""CZI as Zeiss's own library writes it."""

from pathlib import Path

import numpy as np
import pytest
from pylibCZIrw import czi as zeiss

from limner.data.images import image_size, page_count, pixel_size, read_values
from limner.errors import LimnerError

RNG = np.random.default_rng(0)


def write(path: Path, planes: dict[tuple[int, int, int], np.ndarray], **options: str) -> Path:
    """Write planes by their slice, channel and scene."""
    with zeiss.create_czi(str(path), **options) as file:
        for (z, channel, scene), plane in planes.items():
            file.write(plane, plane={"Z": z, "C": channel}, scene=scene, location=(30, 40))
        file.write_metadata("x", scale_x=2.5e-7, scale_y=5e-7)
    return path


@pytest.mark.parametrize(
    "compression", ["uncompressed:", "zstd0:", "zstd1:", "zstd1:PreProcess=HiLoByteUnpack"]
)
def test_slices_are_images_and_channels_are_channels(tmp_path: Path, compression: str) -> None:
    planes = {
        (z, channel, 0): RNG.integers(0, 60000, (12, 20, 1)).astype(np.uint16)
        for z in range(3)
        for channel in range(2)
    }
    path = write(tmp_path / "x.czi", planes, compression_options=compression)
    assert (page_count(path), image_size(path)) == (3, (12, 20))
    for z in range(3):
        values = read_values(path, page=z)
        expected = np.dstack([planes[z, channel, 0] for channel in range(2)])
        assert np.array_equal(values, expected)
    size = pixel_size(path)
    assert size is not None and size.unit == "µm"
    assert (size.height, size.width) == pytest.approx((0.5, 0.25))


def test_colours_are_red_green_and_blue(tmp_path: Path) -> None:
    """As the other side reads them back: blue, green, red."""
    colours = RNG.integers(0, 255, (12, 20, 3)).astype(np.uint8)
    path = write(tmp_path / "x.czi", {(0, 0, 0): colours})
    assert np.array_equal(read_values(path), colours[..., ::-1])


def test_tiles_of_a_mosaic_are_one_image(tmp_path: Path) -> None:
    whole = RNG.integers(0, 255, (20, 24, 1)).astype(np.uint8)
    path = tmp_path / "x.czi"
    with zeiss.create_czi(str(path)) as file:
        for left in (0, 12):
            file.write(
                np.ascontiguousarray(whole[:, left : left + 12]),
                location=(100 + left, 50),
            )
    assert np.array_equal(read_values(path), whole)


def test_scenes_of_several_sizes_are_named(tmp_path: Path) -> None:
    planes = {(0, 0, scene): np.zeros((10 + scene, 10, 1), np.uint8) for scene in range(2)}
    with pytest.raises(LimnerError, match=r"holds images of 2 sizes \(scenes\)"):
        read_values(write(tmp_path / "x.czi", planes))


def test_a_cut_off_file_is_damaged(tmp_path: Path) -> None:
    path = write(tmp_path / "x.czi", {(0, 0, 0): np.zeros((40, 40, 1), np.uint8)})
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(LimnerError, match=r"x\.czi is damaged"):
        read_values(path)
