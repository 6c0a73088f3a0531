from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import disc
from limner.data.folder import image_files, scan
from limner.errors import LimnerError


def test_the_isic_layout_keeps_its_splits(lesions: Path) -> None:
    dataset = scan(lesions)
    assert dataset.layout == "ISIC"
    assert {split: sum(s.split == split for s in dataset.samples) for split in ("train", "val", "test")} == {"train": 16, "val": 4, "test": 4}
    assert dataset.samples[0].id == "ISIC_0000000"


def test_a_single_isic_folder_has_no_split(lesions: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for name in ("ISIC2018_Task1-2_Training_Input", "ISIC2018_Task1_Training_GroundTruth"):
        (tmp_path / "set" / name).symlink_to(lesions / name)
    assert {sample.split for sample in scan(tmp_path / "set").samples} == {None}


def test_images_and_masks_are_paired_by_stem(pairs: Callable[..., Path]) -> None:
    root = pairs({"a": disc(), "b": disc()})
    (root / "masks" / "b.png").rename(root / "masks" / "c.png")
    dataset = scan(root)
    assert [sample.id for sample in dataset.samples] == ["a"]
    assert [path.name for path in dataset.images_without_mask] == ["b.png"]
    assert [path.name for path in dataset.masks_without_image] == ["c.png"]


def test_the_endings_of_mask_names_are_known(pairs: Callable[..., Path]) -> None:
    root = pairs({"a": disc()})
    (root / "masks" / "a.png").rename(root / "masks" / "a_mask.png")
    assert [sample.id for sample in scan(root).samples] == ["a"]


def test_split_folders_are_kept(pairs: Callable[..., Path]) -> None:
    for split in ("train", "val"):
        pairs({"a": disc()}, f"set/{split}")
    root = pairs({"b": disc()}, "set/test").parent
    assert [(s.id, s.split) for s in scan(root).samples] == [("test/b", "test"), ("train/a", "train"), ("val/a", "val")]


def test_an_unknown_layout_lists_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(LimnerError, match=r"ISIC.*images/ beside masks/.*Found there: photos"):
        scan(tmp_path)


@pytest.mark.parametrize("name", ["none", "file.txt"])
def test_a_wrong_path_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.txt").touch()
    with pytest.raises(LimnerError, match=name):
        scan(tmp_path / name)


def test_class_names_are_read_with_their_values(pairs: Callable[..., Path]) -> None:
    root = pairs({"a": disc()})
    (root / "classes.txt").write_text("0 Sky\n1 Road sign\n11: void\n")
    assert scan(root).class_names == ((0, "Sky"), (1, "Road sign"), (11, "void"))


def test_a_class_file_that_names_a_value_twice_is_refused(pairs: Callable[..., Path]) -> None:
    root = pairs({"a": disc()})
    (root / "classes.txt").write_text("0 Sky\n0 Road\n")
    with pytest.raises(LimnerError, match="twice"):
        scan(root)


def test_hidden_files_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "._a.png").touch()
    (tmp_path / "a.png").touch()
    assert [path.name for path in image_files(tmp_path)] == ["a.png"]
