from pathlib import Path

import numpy as np
import pytest
import tifffile

from limner.data.image_pixels import to_image, to_rgb
from limner.data.images import (
    read_image,
)
from limner.errors import LimnerError

RNG = np.random.default_rng(0)


IMAGE = RNG.integers(0, 256, (6, 9, 3)).astype(np.uint8)


DEEP = (np.arange(54).reshape(6, 9) * 1200).astype(np.uint16)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32, np.float64, np.uint32])
def test_deeper_pixels_are_spread_over_8_bits_in_their_order(tmp_path: Path, dtype: type) -> None:
    tifffile.imwrite(tmp_path / "x.tif", (DEEP / 2).astype(dtype), photometric="minisblack")
    grey = read_image(tmp_path / "x.tif")[..., 0].ravel().astype(int)
    assert (np.diff(grey) >= 0).all()
    assert (grey[0], grey[-1]) == (0, 255)


def test_large_numbers_close_to_each_other_are_told_apart(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", (4_000_000_000 + np.arange(10_000).reshape(100, 100)).astype(np.uint32)
    )
    assert len(np.unique(read_image(tmp_path / "a.tif"))) == 256


def test_two_channels_are_red_and_green() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 2), np.uint8)
    assert (to_rgb(pixels) == np.dstack([pixels, np.zeros((6, 9), np.uint8)])).all()


@pytest.mark.parametrize("channels", [4, 5, 40])
def test_each_of_many_channels_has_a_pale_hue_of_its_own(channels: int) -> None:
    # One pixel for each channel, which is white in it
    shown = to_rgb(np.diag(np.full(channels, 255, np.uint8))[None])[0].astype(int)
    assert len(np.unique(shown, axis=0)) == channels
    assert (shown.max(1) == 255).all() and (shown.min(1) >= 127).all()


@pytest.mark.parametrize("value", [0, 1, 100, 255])
def test_many_channels_alike_are_grey(value: int) -> None:
    shown = to_rgb(np.full((2, 3, 6), value, np.uint8))
    assert (shown == shown[..., :1]).all() and abs(int(shown[0, 0, 0]) - value) <= 1


@pytest.mark.parametrize(
    "pixels",
    [
        DEEP,
        (DEEP >> 8).astype(np.uint8),
        DEEP > 30_000,
        (DEEP / 7).astype(np.float32),
        IMAGE,
        IMAGE.astype(np.uint16) * 9,
    ],
)
def test_an_array_is_taken_as_its_file_would_be(tmp_path: Path, pixels: np.ndarray) -> None:
    tifffile.imwrite(
        tmp_path / "x.tif", pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack"
    )
    assert (to_image(pixels) == read_image(tmp_path / "x.tif")).all()


@pytest.mark.parametrize("shape", [(4,), (0, 4), (2, 3, 4, 3)])
def test_an_array_that_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(LimnerError, match="height, width"):
        to_image(np.zeros(shape, np.uint8))


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.full((4, 4), np.nan, np.float32))
    with pytest.raises(LimnerError, match=r"x\.tif holds values that are not numbers"):
        read_image(tmp_path / "x.tif")


def test_numbers_beyond_float32_and_close_to_each_other_are_told_apart(tmp_path: Path) -> None:
    steps = np.arange(10_000).reshape(100, 100)
    for pixels in (
        1e9 + steps / 1e3,
        steps * 1e304 - 5e307,
        (steps * 6e34 - 3e38).astype("f4"),
        steps.astype(np.uint64) + np.uint64(2**63),
        steps + np.int64(-(2**63)),
        steps * 900_000_000_000_000 + np.int64(-(2**63)),
    ):
        tifffile.imwrite(tmp_path / "a.tif", pixels)
        image = read_image(tmp_path / "a.tif")[..., 0].ravel().astype(int)
        assert len(np.unique(image)) == 256
        assert (np.diff(image) >= 0).all()
