from pathlib import Path

import pytest

from dataset_folders import ids_and_splits, save_images
from limner.data.check import check
from limner.data.scan import scan
from limner.errors import LimnerError


def test_a_dataset_in_a_folder_of_its_own_is_found_with_a_note(tmp_path: Path) -> None:
    inner = tmp_path / "set/set"
    save_images(inner, "train/a.png", "train_labels/a_L.png")
    (tmp_path / "set/README.md").touch()
    (tmp_path / "set/__MACOSX").mkdir()
    dataset = scan(tmp_path / "set")
    assert (dataset.layout, dataset.root) == ("CamVid", inner)
    (note,) = [found for found in check(dataset).findings if found.code == "nested-folder"]
    assert (note.severity, note.message) == (
        "note",
        f"{tmp_path}/set holds nothing but {inner}, so the dataset is taken to begin there.",
    )


@pytest.mark.parametrize("depth", ["set", "set/set/set"])
def test_files_that_state_something_are_found_within(tmp_path: Path, depth: str) -> None:
    inner = tmp_path / depth
    save_images(inner, "images/a.png", "masks/a.png")
    (inner / "classes.txt").write_text("sky\nroad\n")
    (inner / "groups.csv").write_text("image,group\nimages/a.png,Anna\n")
    dataset = scan(tmp_path)
    assert [sample.group for sample in dataset.samples] == ["Anna"]
    assert list(dataset.class_names) == [(0, "sky"), (1, "road")]


def test_a_manifest_within_is_read(tmp_path: Path) -> None:
    save_images(tmp_path / "set", "images/a.png", "masks/a.png")
    (tmp_path / "set/list.csv").write_text("image,mask,split\nimages/a.png,masks/a.png,test\n")
    assert ids_and_splits(tmp_path) == [("images/a", "test")]


def test_folders_that_are_known_at_any_depth_keep_their_place_in_the_ids(tmp_path: Path) -> None:
    save_images(tmp_path, "patient_01/images/a.png", "patient_01/masks/a.png")
    assert ids_and_splits(tmp_path) == [("patient_01/a", None)]


def test_a_folder_of_one_split_alone_keeps_its_split(tmp_path: Path) -> None:
    save_images(tmp_path, "train/images/a.png", "train/masks/a.png")
    (tmp_path / "train/classes.txt").write_text("sky\nroad\n")
    assert ids_and_splits(tmp_path) == [("train/a", "train")]


def test_a_folder_without_a_layout_within_is_named_as_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "set/photos").mkdir(parents=True)
    with pytest.raises(LimnerError, match=rf"{tmp_path} is in no layout(?s:.*)Found there: set\."):
        scan(tmp_path)
