from importlib import import_module
from pathlib import Path

import pytest

from dataset_folders import ids_and_splits, save_image, save_images
from limner.data import layouts
from limner.data.check import check
from limner.data.file_kinds import HEIC
from limner.data.scan import LAYOUTS, scan
from limner.errors import LimnerError
from shapes import disc


def test_every_file_of_a_layout_is_in_the_table() -> None:
    names = {path.stem for path in Path(layouts.__path__[0]).glob("[!_]*.py")}
    functions = {import_module(f"limner.data.layouts.{name}").match_layout for name in names}
    assert functions == set(LAYOUTS)


def test_samples_without_a_split_beside_official_ones_are_for_training(tmp_path: Path) -> None:
    for folder in ("", "test/"):
        save_image(tmp_path / f"{folder}images/a.png", disc() // 2)
        save_image(tmp_path / f"{folder}masks/a.png")
    save_image(tmp_path / "images/b.png", disc() // 2)
    save_image(tmp_path / "masks/b.png")
    assert ids_and_splits(tmp_path) == [("a", "train"), ("b", "train"), ("test/a", "test")]
    leaks = [finding for finding in check(scan(tmp_path)).findings if finding.code == "leak"]
    assert {finding.severity for finding in leaks} == {"error"}, "copies in the test set are leaks"


def test_files_that_are_in_no_pair_are_listed(tmp_path: Path) -> None:
    save_images(tmp_path, "images/a.png", "masks/a.png", "stray.png")
    (tmp_path / "images" / "b.heic").write_bytes(b"\0\0\0\x18ftypheic")
    dataset = scan(tmp_path)
    assert dataset.unused == (tmp_path / "stray.png",)
    assert dataset.unsupported == {tmp_path / "images" / "b.heic": HEIC}


def test_an_unknown_layout_lists_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(
        LimnerError,
        match=(
            r"(?s)CSV.*relative to them\n  nnU-Net.*COCO.*Pascal VOC.*val\.txt, test\.txt\).*"
            r"CamVid.*ISIC.*images/ beside masks/.*x_mask\.png.*at any depth\n.*x\.txt.*cure\n"
            r"Found there: photos"
        ),
    ):
        scan(tmp_path)


@pytest.mark.parametrize("name", ["none", "file.txt"])
def test_a_wrong_path_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.txt").touch()
    with pytest.raises(LimnerError, match=name):
        scan(tmp_path / name)


def test_images_that_are_read_through_a_link_are_not_unused(tmp_path: Path) -> None:
    save_images(tmp_path, "data/a.png", "masks/a.png")
    (tmp_path / "images").symlink_to("data")
    dataset = scan(tmp_path)
    assert len(dataset.samples) == 1
    assert dataset.unused == ()


def test_archives_in_a_folder_of_no_layout_are_to_be_unpacked(tmp_path: Path) -> None:
    save_images(tmp_path, "images/a.png")
    (tmp_path / "masks.zip").write_bytes(b"PK")
    with pytest.raises(LimnerError, match=r"Unpack masks\.zip there: archives are not read"):
        scan(tmp_path)
