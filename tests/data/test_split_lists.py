from pathlib import Path

import pytest

from dataset_folders import ids_and_splits, save_image, save_images
from limner.data.scan import scan
from limner.data.split_names import split_from_file_name
from shapes import disc


def save_pairs(root: Path, *names: str) -> None:
    save_images(root, *(f"{folder}/{name}.png" for folder in ("images", "masks") for name in names))


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train_001", "train"),
        ("001-val", "val"),
        ("test12", "test"),
        ("21_training", "train"),
        ("eval_3", "test"),
        ("testis_01", None),
        ("my_test_photo", None),
        ("train_test", None),
        ("contest_2", None),
        ("0001", None),
    ],
)
def test_the_first_or_the_last_word_of_a_name_tells_a_split(name: str, split: str | None) -> None:
    assert split_from_file_name(name) == split


def test_splits_that_all_names_tell_are_taken(tmp_path: Path) -> None:
    save_pairs(tmp_path, "train_001", "train_002", "val_003", "test_004")
    assert ids_and_splits(tmp_path) == [
        ("test_004", "test"),
        ("train_001", "train"),
        ("train_002", "train"),
        ("val_003", "val"),
    ]
    (note,) = scan(tmp_path).findings
    assert (note.code, note.severity) == ("announced-splits", "note")
    assert note.message == (
        "the splits are those that the names of the images tell: 2 train, 1 val, 1 test."
    )


def test_names_of_which_some_tell_a_split_are_named_and_not_heard(tmp_path: Path) -> None:
    save_pairs(tmp_path, "a", "b", "c", "test_1", "test_2")
    assert {split for _, split in ids_and_splits(tmp_path)} == {None}
    (warning,) = scan(tmp_path).findings
    assert (warning.code, warning.severity) == ("split-name", "warning")
    assert "the names of 2 images are those of a validation or test set" in warning.message
    assert "3 names tell no split. All are divided at random" in warning.message


@pytest.mark.parametrize(
    "names",
    [("a", "b", "test"), ("test1", "test2", "test3"), ("contest_1", "contest_2", "latest_3")],
)
def test_names_that_hold_a_split_s_word_by_chance_are_not_named(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    save_pairs(tmp_path, *names)
    assert scan(tmp_path).findings == ()
    assert {split for _, split in ids_and_splits(tmp_path)} == {None}


@pytest.mark.parametrize("line", ["{}", "{}.png", "images/{}.png", "images/{0}.png masks/{0}.png"])
def test_lists_beside_the_images_are_taken(tmp_path: Path, line: str) -> None:
    save_pairs(tmp_path, "a", "b", "c")
    (tmp_path / "train.txt").write_text(f"{line.format('a')}\n{line.format('c')}\n")
    (tmp_path / "test.txt").write_text(line.format("b"))
    assert ids_and_splits(tmp_path) == [("a", "train"), ("b", "test"), ("c", "train")]
    (note,) = scan(tmp_path).findings
    assert f"{tmp_path}/train.txt tell: 2 train, 0 val, 1 test." in note.message


def test_lists_that_leave_images_out_are_named_and_not_heard(tmp_path: Path) -> None:
    save_pairs(tmp_path, "a", "b", "c")
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits/train.txt").write_text("a\nb\n")
    (tmp_path / "splits/test.txt").write_text("b\n")
    assert {split for _, split in ids_and_splits(tmp_path)} == {None}
    (warning,) = scan(tmp_path).findings
    assert (warning.code, warning.severity) == ("split-lists", "warning")
    assert "2 images are in none of them or in several, such as b" in warning.message


def test_texts_that_name_no_image_are_no_lists(tmp_path: Path) -> None:
    save_pairs(tmp_path, "a", "b")
    (tmp_path / "test.txt").write_text("nothing of this set\n")
    (tmp_path / "train.txt").write_bytes(b"\xff\x00")
    assert scan(tmp_path).findings == ()


def test_folders_come_before_names_and_lists(tmp_path: Path) -> None:
    save_pairs(tmp_path / "train", "test_1")
    save_pairs(tmp_path / "test", "train_1")
    (tmp_path / "test.txt").write_text("test_1\n")
    assert ids_and_splits(tmp_path) == [("test/train_1", "test"), ("train/test_1", "train")]


def test_drive_s_truth_may_be_called_label_beside_the_field_of_view(tmp_path: Path) -> None:
    for number in (21, 22):
        save_image(tmp_path / f"training/images/{number}_training.tif")
        save_image(tmp_path / f"training/label/{number}_manual1.png", disc(radius=3))
        save_image(tmp_path / f"training/mask/{number}_training_mask.png", disc(radius=7))
    dataset = scan(tmp_path)
    assert dataset.layout == "DRIVE"
    assert {str(sample.mask) for sample in dataset.samples} == {
        f"{tmp_path}/training/label/{number}_manual1.png" for number in (21, 22)
    }


def test_two_folders_of_masks_are_named(tmp_path: Path) -> None:
    save_images(tmp_path, "images/a.png", "mask/a.png", "label/a.png")
    (warning,) = scan(tmp_path).findings
    assert warning.code == "several-mask-folders"
    assert f"{tmp_path}/mask is taken for the masks of {tmp_path}/images, and " in warning.message
    assert f"{tmp_path}/label is left out." in warning.message
