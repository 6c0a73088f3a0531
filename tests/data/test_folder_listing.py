import os
from pathlib import Path

import pytest

from dataset_folders import ids_and_splits, save_images
from limner.data.folder_listing import FolderListing, find_images
from limner.data.scan import scan


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    save_images(tmp_path, "photos/a.png", "drawings/a.png")
    for folder, target in (("images", "photos"), ("masks", "drawings")):
        (tmp_path / "set" / folder).mkdir(parents=True)
        (tmp_path / "set" / folder / "part").symlink_to(tmp_path / target)
    (tmp_path / "set" / "images" / "loop").symlink_to(tmp_path / "set")
    assert ids_and_splits(tmp_path / "set") == [("part/a", None)]


def test_a_folder_comes_before_the_links_to_it(tmp_path: Path) -> None:
    save_images(tmp_path, "real/a.png", "real/deep/b.png")
    (tmp_path / "a_link").symlink_to("real")
    (tmp_path / "b_link").symlink_to(tmp_path / "real/deep")
    listing = FolderListing(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in listing.images()] == [
        "real/a.png",
        "real/deep/b.png",
    ]
    assert listing.repeated_links() == {
        tmp_path / "a_link": tmp_path / "real",
        tmp_path / "b_link": tmp_path / "real/deep",
    }


def test_links_that_lead_nowhere_or_to_themselves_are_files(tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    assert [path.name for path in find_images(tmp_path)] == ["gone.png", "loop.png"]


def test_hidden_folders_are_left_alone(tmp_path: Path) -> None:
    save_images(
        tmp_path, "images/a.png", "masks/a.png", ".backup/images/b.png", ".backup/masks/b.png"
    )
    assert ids_and_splits(tmp_path) == [("a", None)]


def test_hidden_files_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "._a.png").touch()
    (tmp_path / "a.png").touch()
    assert [path.name for path in find_images(tmp_path)] == ["a.png"]


def test_files_are_in_the_order_of_their_paths(tmp_path: Path) -> None:
    save_images(tmp_path, "b/1.png", "a/2.png", "c.png", "a/1.PNG", "a.b/1.png")
    names = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert names == ["a/1.PNG", "a/2.png", "a.b/1.png", "b/1.png", "c.png"]


def test_a_folder_inside_is_listed_as_if_it_were_the_start(tmp_path: Path) -> None:
    save_images(tmp_path, "a/1.png")
    (tmp_path / "images").symlink_to(tmp_path / "a")
    listing = FolderListing(tmp_path)
    assert listing.images(tmp_path / "images") == [tmp_path / "images" / "1.png"]
    assert listing.images(tmp_path / "images") == find_images(tmp_path / "images")


def test_a_scan_reads_each_folder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_images(tmp_path, "images/deep/a.png", "masks/deep/a.png", "other/b.png")
    folders_read: list[Path] = []
    scandir = os.scandir

    def recorded_scandir(folder: Path) -> object:
        folders_read.append(folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", recorded_scandir)
    scan(tmp_path)
    monkeypatch.undo()
    assert len(folders_read) == len(set(folders_read)) == 6
