"""Olympus's OIB, against oiffile."""

from pathlib import Path

import numpy as np
import pytest
from oiffile import OifFile

from limner.data.image_file import classify
from limner.data.images import image_size, page_count, pixel_size, read_values
from limner.data.readers.pixel_size import PixelSize
from limner.errors import LimnerError
from microscope_files import write_oib

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("channels", [1, 3])
def test_slices_are_images_and_channels_are_channels(channels: int, tmp_path: Path) -> None:
    planes = RNG.integers(0, 4000, (4, channels, 50, 60)).astype(np.uint16)
    path = write_oib(tmp_path / "x.oib", planes, um=0.2)
    with OifFile(path) as file:
        assert np.array_equal(file.asarray(0).reshape(channels, 4, 50, 60).swapaxes(0, 1), planes)
    assert (page_count(path), image_size(path)) == (4, (50, 60))
    assert pixel_size(path) == PixelSize(0.2, 0.2, "µm")
    for page in range(4):
        assert np.array_equal(read_values(path, page=page), np.moveaxis(planes[page], 0, -1))


def test_a_file_may_state_no_pixel_size(tmp_path: Path) -> None:
    planes = RNG.integers(0, 4000, (1, 1, 50, 60)).astype(np.uint16)
    assert pixel_size(write_oib(tmp_path / "x.oib", planes)) is None


def test_an_oib_is_known_by_its_suffix_alone() -> None:
    start = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(500)
    assert classify("x.oib", start) == "image" and classify("x.doc", start) != "image"


def test_what_is_none_and_what_was_cut_off_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.oib").write_bytes(b"no compound file at all" * 100)
    with pytest.raises(LimnerError, match=r"a\.oib is no OIB, as its suffix says"):
        read_values(tmp_path / "a.oib")
    planes = RNG.integers(0, 4000, (4, 1, 50, 60)).astype(np.uint16)
    path = write_oib(tmp_path / "b.oib", planes)
    path.write_bytes(path.read_bytes()[: 9 * 512])
    with pytest.raises(LimnerError, match=r"b\.oib is damaged"):
        for page in range(4):
            read_values(path, page=page)
