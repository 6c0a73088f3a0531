from pathlib import Path

import numpy as np

from dataset_folders import ids_and_splits, save_image, save_images
from limner.data.check import check
from limner.data.scan import scan


def square(left: int, value: int = 255) -> np.ndarray:
    mask = np.zeros((16, 16), np.uint8)
    mask[4:8, left : left + 4] = value
    return mask


def test_each_folder_of_masks_is_a_class(tmp_path: Path) -> None:
    for name in ("a", "b"):
        noise = np.random.default_rng(ord(name)).integers(0, 255, (16, 16, 3)).astype(np.uint8)
        save_image(tmp_path / f"images/{name}.jpg", noise)
        save_image(tmp_path / f"masks/vessel/{name}_mask.png", square(2))
    save_image(tmp_path / "masks/nerve/a.png", square(8, value=1))
    dataset = scan(tmp_path)
    assert dataset.layout == "images/ and a folder of masks for each class"
    assert dataset.class_names == ((0, "background"), (1, "nerve"), (2, "vessel"))
    first, second = (sample.read_mask().values for sample in dataset.samples)
    assert (first == square(2, 2) + square(8, 1)).all()
    assert (second == square(2, 2)).all()
    assert not check(dataset).errors


def test_classes_that_overlap_are_an_error_of_the_check(tmp_path: Path) -> None:
    save_images(tmp_path, "images/a.jpg")
    save_image(tmp_path / "masks/nerve/a.png", square(2))
    save_image(tmp_path / "masks/vessel/a.png", square(4))
    (error,) = check(scan(tmp_path)).errors
    assert "gives the pixel at x 4, y 4 the value 2, and a mask before it 1" in error.message


def test_folders_of_splits_are_no_classes(tmp_path: Path) -> None:
    for split in ("train", "val"):
        save_images(tmp_path, f"images/{split}/{split}.jpg", f"masks/{split}/{split}.png")
    assert ids_and_splits(tmp_path) == [("train/train", "train"), ("val/val", "val")]
