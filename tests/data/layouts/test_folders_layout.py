from collections.abc import Callable
from pathlib import Path
from unicodedata import normalize

import pytest

from dataset_folders import ids_and_splits, save_images
from limner.data.scan import scan
from shapes import disc


def test_images_and_masks_are_paired_by_stem(pairs: Callable[..., Path]) -> None:
    root = pairs({"a": disc(), "b": disc()})
    (root / "masks" / "b.png").rename(root / "masks" / "c.png")
    dataset = scan(root)
    assert [sample.id for sample in dataset.samples] == ["a"]
    assert [path.name for path in dataset.images_without_mask] == ["b.png"]
    assert [path.name for path in dataset.masks_without_image] == ["c.png"]


@pytest.mark.parametrize("name", ["a_mask.png", "a-label.png", "a_Segmentation.png", "a_gt.png"])
def test_a_mask_s_name_may_have_an_ending(pairs: Callable[..., Path], name: str) -> None:
    root = pairs({"a": disc()})
    (root / "masks" / "a.png").rename(root / "masks" / name)
    assert ids_and_splits(root) == [("a", None)]


@pytest.mark.parametrize(
    "names",
    ["{split}/images/a.png {split}/masks/a.png", "images/{split}/a.png masks/{split}/a.png"],
)
def test_folders_above_and_below_tell_the_split(tmp_path: Path, names: str) -> None:
    for split in ("train", "valid", "testing"):
        save_images(tmp_path, *names.format(split=split).split())
    assert [split for _, split in ids_and_splits(tmp_path)] == ["test", "train", "val"]
    assert len({id for id, _ in ids_and_splits(tmp_path)}) == 3


def test_pairs_at_any_depth_keep_their_folders_in_their_ids(tmp_path: Path) -> None:
    save_images(
        tmp_path,
        "clinic/2024/images/a.png",
        "clinic/2024/masks/a.png",
        "images/deep/er/b.png",
        "masks/deep/er/b_mask.png",
    )
    assert ids_and_splits(tmp_path) == [("clinic/2024/a", None), ("deep/er/b", None)]


def test_two_files_that_differ_only_in_the_suffix_are_reported(tmp_path: Path) -> None:
    save_images(tmp_path, "images/a.jpg", "images/a.png", "masks/a.png")
    images = tmp_path / "images"
    assert scan(tmp_path).same_name == ((images / "a.jpg", images / "a.png"),)
    assert ids_and_splits(tmp_path) == [("a", None)]


def test_names_that_differ_by_their_unicode_form_are_a_pair(tmp_path: Path) -> None:
    composed, decomposed = normalize("NFC", "Größe é"), normalize("NFD", "Größe é")
    save_images(tmp_path, f"images/{composed}.png", f"masks/{decomposed}_mask.png")
    save_images(tmp_path, f"images/{decomposed}/1.png", f"masks/{composed}/1.png")
    assert ids_and_splits(tmp_path) == [(composed, None), (f"{composed}/1", None)]
    assert scan(tmp_path).unused == ()


def test_folders_of_mmsegmentation_are_paired(tmp_path: Path) -> None:
    save_images(tmp_path, "img_dir/train/a.jpg", "ann_dir/train/a.png")
    save_images(tmp_path, "img_dir/val/b.jpg", "ann_dir/val/b.png")
    assert ids_and_splits(tmp_path) == [("train/a", "train"), ("val/b", "val")]
