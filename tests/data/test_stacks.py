from pathlib import Path

import numpy as np
import pytest
import tifffile

from dataset_folders import save_image
from limner.data import stacks
from limner.data.image_file import read_only_header
from limner.data.readers.decoded import ImageHeader
from limner.data.scan import scan
from shapes import disc


def save_stack(path: Path, pages: int) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 255, (pages, 16, 16)).astype(np.uint8)
    path.parent.mkdir(exist_ok=True)
    tifffile.imwrite(path, pixels, photometric="minisblack")
    return pixels


def test_a_stack_is_a_group_of_samples(tmp_path: Path) -> None:
    stack = save_stack(tmp_path / "images" / "film.tif", 3)
    (tmp_path / "masks").mkdir()
    discs = np.stack([disc(), disc(radius=3), disc(radius=2)])
    tifffile.imwrite(tmp_path / "masks" / "film.tif", discs, photometric="minisblack")
    samples = scan(tmp_path).samples
    assert [(sample.id, sample.group) for sample in samples] == [
        ("film#1", "film"),
        ("film#2", "film"),
        ("film#3", "film"),
    ]
    assert (samples[1].read_mask().values == disc(radius=3)).all()
    assert (samples[2].read_image()[..., 0] == stack[2]).mean() > 0.01


def test_a_mask_with_another_number_of_images_is_reported(tmp_path: Path) -> None:
    save_stack(tmp_path / "images" / "film.tif", 3)
    save_stack(tmp_path / "masks" / "film.tif", 2)
    save_image(tmp_path / "images" / "one.tif")
    save_stack(tmp_path / "masks" / "one.tif", 2)
    dataset = scan(tmp_path)
    assert [sample.id for sample in dataset.samples] == ["film#1", "film#2", "one"]
    mismatches = [(sample.id, pages) for sample, pages in dataset.page_mismatches]
    assert mismatches == [("film", 2), ("one", 2)]


def test_each_file_is_asked_once_for_its_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_stack(tmp_path / "images" / "film.tif", 3)
    save_stack(tmp_path / "masks" / "film.tif", 3)
    asked = []

    def count(path: Path) -> ImageHeader:
        asked.append(path.relative_to(tmp_path).as_posix())
        return read_only_header(path)

    monkeypatch.setattr(stacks, "read_only_header", count)
    assert len(scan(tmp_path).samples) == 3
    assert asked == ["images/film.tif", "masks/film.tif"]


def test_a_damaged_file_is_one_sample_until_it_is_read(tmp_path: Path) -> None:
    save_image(tmp_path / "masks" / "a.tif")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.tif").write_bytes(b"II*\0damaged")
    assert [sample.id for sample in scan(tmp_path).samples] == ["a"]
