from pathlib import Path

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
