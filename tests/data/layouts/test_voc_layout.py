from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset_folders import ids_and_splits, save_image
from limner.data.check import check
from limner.data.scan import scan
from limner.errors import LimnerError
from limner.labels import VOID
from shapes import disc


def save_voc(root: Path, *names: str, without_mask: tuple[str, ...] = ()) -> Path:
    """Images and masks; returns the folder of the split lists, which is empty."""
    for name in (*names, *without_mask):
        save_image(root / "JPEGImages" / f"{name}.jpg", np.zeros((16, 16, 3), np.uint8))
    for name in names:
        save_image(root / "SegmentationClass" / f"{name}.png")
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    return lists


def save_palette_mask(path: Path, class_index: int) -> None:
    """A disc of a class with a border of 255, with VOC's first colours."""
    border = (disc(radius=7) > 0) & (disc() == 0)
    pixels = np.where(border, 255, disc(value=class_index)).astype(np.uint8)
    mask = Image.fromarray(pixels, mode="P")
    mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [224, 224, 192] * 253)
    mask.save(path)


def test_a_list_of_names_with_endings_and_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    lists = save_voc(tmp_path, "vid8_0000", "with space", "c")
    (lists / "train.txt").write_text("vid8_0000.jpg\r\nwith space\r\n", encoding="utf-8-sig")
    (lists / "test.txt").write_text("JPEGImages/c", encoding="utf-8-sig")
    assert ids_and_splits(tmp_path) == [
        ("c", "test"),
        ("vid8_0000", "train"),
        ("with space", "train"),
    ]
    (lists / "val.txt").write_text("c\n")
    with pytest.raises(LimnerError, match="another list"):
        scan(tmp_path)


def test_the_lists_are_the_splits_and_255_is_void(tmp_path: Path) -> None:
    lists = save_voc(tmp_path / "VOC2012", "a", "b", without_mask=("boxes_only",))
    for class_index, name in enumerate(("a", "b"), start=1):
        mask = tmp_path / "VOC2012" / "SegmentationClass" / f"{name}.png"
        save_palette_mask(mask, class_index)
    (lists / "train.txt").write_text("a\n")
    (lists / "val.txt").write_text("b\n")
    (lists / "trainval.txt").write_text("a\nb\n")
    assert scan(tmp_path).layout == "Pascal VOC"
    assert ids_and_splits(tmp_path) == [("a", "train"), ("b", "val")]
    labels = check(scan(tmp_path)).labels
    assert labels is not None and labels.void_values == ((VOID, VOID),)


def test_an_image_that_is_neither_listed_nor_segmented_is_set_aside(tmp_path: Path) -> None:
    save_voc(tmp_path, "a", without_mask=("boxes_only",))
    dataset = scan(tmp_path)
    assert ids_and_splits(tmp_path) == [("a", None)]
    assert dataset.images_without_mask == dataset.unused == ()


def test_what_the_lists_name_is_used_or_reported(tmp_path: Path) -> None:
    lists = save_voc(tmp_path, "a", "b", "new", without_mask=("listed",))
    (lists / "trainval.txt").write_text("a\nlisted\n")
    (lists / "test.txt").write_text("b\n")
    dataset = scan(tmp_path)
    assert ids_and_splits(tmp_path) == [("a", "train"), ("b", "test")], (
        "trainval stands for train where there is none"
    )
    assert [path.name for path in dataset.images_without_mask] == ["listed.jpg"]
    assert dataset.unused == ()
    (warning,) = dataset.findings
    assert (warning.code, warning.severity) == ("split-lists", "warning")
    assert warning.message == (
        f"1 pair is in none of the lists that are taken (test.txt, trainval.txt in {lists}), such "
        "as new, and left out. Add them to a list if they belong to the set."
    )
    (lists / "val.txt").write_text("a\n")
    assert ids_and_splits(tmp_path) == [("a", "val"), ("b", "test")]
    (lists / "test.txt").write_text("b\ngone\n")
    with pytest.raises(LimnerError, match="name 1 image that is not there, such as gone"):
        scan(tmp_path)


def test_lists_that_name_no_segmented_image_are_refused(tmp_path: Path) -> None:
    lists = save_voc(tmp_path, "a", without_mask=("listed",))
    (lists / "train.txt").write_text("listed\n")
    with pytest.raises(LimnerError, match="name no image that is there, such as a"):
        scan(tmp_path)


def test_a_list_that_is_not_in_utf_8_is_named(tmp_path: Path) -> None:
    lists = save_voc(tmp_path, "a")
    (lists / "train.txt").write_bytes(b"Jos\xe9\n")
    with pytest.raises(LimnerError, match=r"train\.txt cannot be read.*Save it as UTF-8"):
        scan(tmp_path)


def test_lists_of_other_names_are_named(tmp_path: Path) -> None:
    lists = save_voc(tmp_path, "a", "b")
    (lists / "train_aug.txt").write_text("a\n")
    (lists / "val.txt").write_text("b\n")
    messages = [finding.message for finding in scan(tmp_path).findings]
    assert any("1 pair is in none of the lists that are taken" in message for message in messages)
    assert any(f"{lists}/train_aug.txt looks like a split list" in message for message in messages)
    # The cure
    (lists / "train_aug.txt").rename(lists / "train.txt")
    assert ids_and_splits(tmp_path) == [("a", "train"), ("b", "val")]
    assert scan(tmp_path).findings == ()


def test_a_list_in_utf_16_is_read(tmp_path: Path) -> None:
    lists = save_voc(tmp_path, "a", "b")
    (lists / "train.txt").write_text("a\n", encoding="utf-16")
    (lists / "val.txt").write_text("b\n", encoding="utf-16")
    assert ids_and_splits(tmp_path) == [("a", "train"), ("b", "val")]
