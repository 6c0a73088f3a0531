import hashlib
from pathlib import Path

import numpy as np
import pytest
import zarr

from limner.data.images import (
    image_size,
    page_count,
    pixel_size,
    read_image,
    read_mask,
    read_values,
    read_with_info,
)
from limner.data.readers.pixel_size import PixelSize
from limner.errors import LimnerError
from limner.files import sha256_of_file
from zarr_stores import write_store


def random_pixels(*shape: int, dtype: type = np.uint16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_slices_and_times_are_images_and_channels_are_channels(
    version: str, tmp_path: Path
) -> None:
    pixels = random_pixels(2, 4, 3, 20, 30)
    path = tmp_path / "x.ome.zarr"
    write_store(path, pixels, "tczyx", version=version)
    assert (image_size(path), page_count(path)) == ((20, 30), 6)
    assert pixel_size(path) == PixelSize(0.25, 0.25, "µm")
    for page in range(6):
        expected = np.moveaxis(pixels[page // 3, :, page % 3], 0, -1)
        assert np.array_equal(read_values(path, page=page), expected)
    assert read_image(path, page=1).shape == (20, 30, 4)


@pytest.mark.parametrize("axes", ["yx", "cyx", "zyx"])
def test_a_single_plane_is_grey(axes: str, tmp_path: Path) -> None:
    pixels = random_pixels(20, 30)
    write_store(tmp_path / "x.zarr", pixels.reshape((1,) * (len(axes) - 2) + (20, 30)), axes)
    assert np.array_equal(read_values(tmp_path / "x.zarr")[..., 0], pixels)
    assert np.array_equal(read_mask(tmp_path / "x.zarr").values, pixels)


def test_colours_of_8_bits_stay_as_they_are(tmp_path: Path) -> None:
    pixels = random_pixels(3, 20, 30, dtype=np.uint8)
    write_store(tmp_path / "x.zarr", pixels, "cyx")
    assert np.array_equal(read_image(tmp_path / "x.zarr"), np.moveaxis(pixels, 0, -1))


def test_the_identity_is_that_of_all_files(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    group = write_store(path, random_pixels(20, 30), "yx")
    before = sha256_of_file(path)
    _, info = read_with_info(path)
    assert info.sha256.hex() == before
    group["full"][0, 0] = 1
    assert sha256_of_file(path) != before
    (tmp_path / "y").write_bytes(b"1")
    assert sha256_of_file(tmp_path / "y") == hashlib.sha256(b"1").hexdigest()


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "group.zarr", mode="w")
    zarr.create_array(tmp_path / "array.zarr", shape=(4, 4), dtype="u1")
    plate = zarr.open_group(tmp_path / "plate.zarr", mode="w")
    plate.attrs["ome"] = {"version": "0.5", "plate": {"wells": []}}
    (tmp_path / "file.zarr").write_bytes(b"PK\x03\x04")
    write_store(tmp_path / "axes.zarr", random_pixels(20, 30, 2), "yxc")
    for name, message in {
        "group": "without an image as OME-Zarr describes it",
        "array": "does not say what its axes are",
        "plate": "holds a plate of many images",
        "file": r"file\.zarr is not an image that can be read: it is a zip archive",
        "axes": "has the axes y, x, c; y and x must be the last ones",
    }.items():
        with pytest.raises(LimnerError, match=message):
            read_image(tmp_path / f"{name}.zarr")


def test_a_store_whose_chunk_is_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    write_store(path, random_pixels(20, 30), "yx")
    chunk = next(entry for entry in (path / "full").rglob("0") if entry.is_file())
    chunk.write_bytes(chunk.read_bytes()[:9])
    with pytest.raises(LimnerError, match=r"x\.zarr is damaged"):
        read_image(path)
