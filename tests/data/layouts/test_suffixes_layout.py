from pathlib import Path

import pytest

from dataset_folders import ids_and_splits, save_images
from limner.data.scan import scan


def test_endings_tell_masks_from_images(tmp_path: Path) -> None:
    save_images(tmp_path, "a.jpg", "a_mask.png", "sub/b.jpg", "sub/b_mask.png")
    assert scan(tmp_path).layout == "name.jpg and name_mask.png"
    assert ids_and_splits(tmp_path) == [("a", None), ("sub/b", None)]


def test_images_without_a_mask_beside_them_are_reported(tmp_path: Path) -> None:
    save_images(tmp_path, "a.jpg", "a_mask.png", "b.jpg", "c-seg.png")
    dataset = scan(tmp_path)
    assert ids_and_splits(tmp_path) == [("a", None)]
    assert dataset.images_without_mask == (tmp_path / "b.jpg",)
    assert dataset.masks_without_image == (tmp_path / "c-seg.png",)


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("{}_sat.jpg", "{}_mask.png"),
        ("{}_img.png", "{}_masks.png"),
        ("{}_img.png", "{}_cp_masks.png"),
        ("{}.bmp", "{}_anno.bmp"),
        ("{}.tif", "{}_Simple Segmentation.tif"),
    ],
)
def test_names_of_other_programs_are_paired(tmp_path: Path, image: str, mask: str) -> None:
    for name in ("001", "002"):
        save_images(tmp_path, image.format(name), mask.format(name))
    dataset = scan(tmp_path)
    assert [sample.id for sample in dataset.samples] == ["001", "002"]
    assert dataset.samples[0].mask == tmp_path / mask.format("001")
    assert dataset.unused == ()
