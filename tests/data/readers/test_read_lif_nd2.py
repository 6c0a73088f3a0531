"""Leica's LIF and Nikon's ND2, against liffile and nd2."""

from pathlib import Path

import liffile
import nd2
import numpy as np
import pytest

from limner.data.images import image_size, page_count, pixel_size, read_image, read_values
from limner.errors import LimnerError
from microscope_files import write_lif, write_nd2

RNG = np.random.default_rng(0)


def test_slices_of_a_lif_are_images_and_channels_are_channels(tmp_path: Path) -> None:
    values = RNG.integers(0, 60000, (4, 2, 10, 14)).astype(np.uint16)
    path = write_lif(tmp_path / "x.lif", {"a": ("ZCYX", values)}, metres=2.5e-7)
    assert np.array_equal(liffile.imread(path), values)
    assert (page_count(path), image_size(path)) == (4, (10, 14))
    for page in range(4):
        assert np.array_equal(read_values(path, page=page), values[page].transpose(1, 2, 0))
    size = pixel_size(path)
    assert size is not None and size.unit == "µm"
    assert (size.height, size.width) == pytest.approx((0.25, 0.25))


def test_series_of_one_size_are_images_one_after_the_other(tmp_path: Path) -> None:
    series = {
        name: ("TYX", RNG.integers(0, 255, (count, 6, 8)).astype(np.uint8))
        for name, count in (("a", 2), ("b", 3))
    }
    path = write_lif(tmp_path / "x.lif", series)
    assert page_count(path) == 5 and pixel_size(path) is None
    assert np.array_equal(read_values(path, page=3)[..., 0], series["b"][1][1])


def test_colours_of_a_lif(tmp_path: Path) -> None:
    values = RNG.integers(0, 255, (6, 8, 3)).astype(np.uint8)
    path = write_lif(tmp_path / "x.lif", {"a": ("YXS", values)})
    assert np.array_equal(liffile.imread(path), values)
    assert np.array_equal(read_image(path), values)


def test_series_of_several_sizes_are_named(tmp_path: Path) -> None:
    series = {f"s{side}": ("YX", np.zeros((side, 8), np.uint8)) for side in (6, 7)}
    with pytest.raises(LimnerError, match="holds 2 images of 2 sizes"):
        read_image(write_lif(tmp_path / "x.lif", series))


def test_a_cut_off_lif_is_damaged(tmp_path: Path) -> None:
    values = RNG.integers(0, 255, (30, 40)).astype(np.uint8)
    path = write_lif(tmp_path / "x.lif", {"a": ("YX", values)})
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(LimnerError, match=r"x\.lif is damaged"):
        read_image(path)


@pytest.mark.parametrize("channels", [1, 2])
def test_points_in_time_of_an_nd2_are_images(tmp_path: Path, channels: int) -> None:
    frames = RNG.integers(0, 60000, (3, 8, 10, channels)).astype(np.uint16)
    path = write_nd2(tmp_path / "x.nd2", frames, um=0.325)
    expected = frames.transpose(0, 3, 1, 2).squeeze()
    assert np.array_equal(nd2.imread(path), expected)
    assert (page_count(path), image_size(path)) == (3, (8, 10))
    for page in range(3):
        assert np.array_equal(read_values(path, page=page), frames[page])
    size = pixel_size(path)
    assert size is not None and (size.height, size.width, size.unit) == (0.325, 0.325, "µm")


def test_frames_that_were_never_recorded_are_no_images(tmp_path: Path) -> None:
    """nd2 gives zeros for them."""
    frames = RNG.integers(1, 60000, (5, 8, 10, 1)).astype(np.uint16)
    path = write_nd2(tmp_path / "x.nd2", frames, um=0.5, stored=3)
    assert not nd2.imread(path)[4].any()
    assert page_count(path) == 3


def test_a_cut_off_nd2_is_damaged(tmp_path: Path) -> None:
    path = write_nd2(tmp_path / "x.nd2", np.zeros((2, 40, 50, 1), np.uint16), um=0.5)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(LimnerError, match=r"x\.nd2 is damaged"):
        read_image(path)
