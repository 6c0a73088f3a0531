from pathlib import Path

import numpy as np

from dataset_folders import ids_and_splits, save_image, save_images
from limner.data.scan import scan


def test_the_bowl_s_masks_of_single_objects_are_united(tmp_path: Path) -> None:
    objects = np.eye(3, dtype=np.uint8).repeat(6, 0).repeat(6, 1) * 255
    for id in ("1f9", "2c0"):
        save_image(tmp_path / f"stage1_train/{id}/images/{id}.png")
        for number in range(3):
            mask = np.zeros((18, 18), np.uint8)
            mask[number * 6 : number * 6 + 6] = objects[number * 6 : number * 6 + 6]
            save_image(tmp_path / f"stage1_train/{id}/masks/{number}e.png", mask)
    dataset = scan(tmp_path)
    assert dataset.layout == "x/images/x.png and x/masks/ with a mask for each object"
    assert [sample.id for sample in dataset.samples] == [
        "stage1_train/1f9/1f9",
        "stage1_train/2c0/2c0",
    ]
    assert (dataset.samples[0].read_mask().values == objects).all()
    assert dataset.masks_without_image == dataset.unused == ()
    assert [finding.code for finding in dataset.findings] == ["united-masks"]


def test_an_object_alone_is_a_mask_and_the_folders_above_tell_the_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for id in ("a", "b"):
            save_images(tmp_path, f"{split}/{id}/images/{id}.png", f"{split}/{id}/masks/7.png")
    assert ids_and_splits(tmp_path) == [
        ("test/a/a", "test"),
        ("test/b/b", "test"),
        ("train/a/a", "train"),
        ("train/b/b", "train"),
    ]


def test_one_mask_of_a_wrong_name_is_no_object(tmp_path: Path) -> None:
    save_images(tmp_path, "images/a.png", "masks/b.png")
    dataset = scan(tmp_path)
    assert dataset.samples == ()
    assert dataset.masks_without_image == (tmp_path / "masks/b.png",)


def test_folders_of_one_pair_each_are_the_plain_layout(tmp_path: Path) -> None:
    for id in ("a", "b", "c"):
        save_images(tmp_path, f"{id}/images/{id}.png", f"{id}/masks/{id}_mask.png")
    assert scan(tmp_path).layout == "images/ and masks/"
