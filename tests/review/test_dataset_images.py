"""What a revision holds of images that are no single file."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile

from limner.data import large_images
from limner.data.images import read_image
from limner.data.sample import Sample
from limner.data.views import Box
from limner.review.matching import sample_file_content
from zarr_stores import write_store


def decoded(sample: Sample) -> np.ndarray:
    suffix, content = sample_file_content(sample)
    assert suffix == ".tif"
    return tifffile.imread(io.BytesIO(content))


@pytest.fixture
def channels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (20, 30, 4)).astype(np.uint8)


def test_files_of_channels_become_one(tmp_path: Path, channels: np.ndarray) -> None:
    for index, ending in enumerate(("c1", "c2", "c3", "c4")):
        tifffile.imwrite(tmp_path / f"a_{ending}.tif", channels[..., index])
    path = tmp_path / "a_{c1,c2,c3,c4}.tif"
    assert np.array_equal(decoded(Sample("a", path, tmp_path / "m.png")), channels)


def test_a_store_becomes_a_file(tmp_path: Path, channels: np.ndarray) -> None:
    write_store(tmp_path / "a.zarr", np.moveaxis(channels, -1, 0), "cyx")
    sample = Sample("a", tmp_path / "a.zarr", tmp_path / "m.png")
    assert np.array_equal(decoded(sample), read_image(tmp_path / "a.zarr"))


def test_a_region_becomes_a_file(
    tmp_path: Path, channels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_images, "LARGE_PIXELS", 100)
    options = {"photometric": "minisblack", "planarconfig": "contig", "tile": (16, 16)}
    tifffile.imwrite(tmp_path / "a.tif", channels, **options)
    box = Box(3, 5, 10, 12)
    sample = Sample("a@x5y3", tmp_path / "a.tif", tmp_path / "m.png", channels=4, region=box)
    assert np.array_equal(decoded(sample), box.crop(channels))
