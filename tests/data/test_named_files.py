import json
import unicodedata
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from dataset_folders import save_image
from limner.data.check import check
from limner.data.findings import Finding
from limner.data.named_files import portable_path
from limner.data.scan import scan
from shapes import disc


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (r"images\1\a.jpg", "images/1/a.jpg"),
        (r"C:\photos\a.jpg", "photos/a.jpg"),
        ("c:/photos/a.jpg", "photos/a.jpg"),
        (r"\\server\share\a.jpg", "server/share/a.jpg"),
        ("../../media/./a.jpg", "media/a.jpg"),
        ("https://example.org/p/a%20b.jpg?token=1#x", "p/a b.jpg"),
        ("s3://bucket/p/a.jpg", "p/a.jpg"),
        ("file:///C:/photos/a.jpg", "photos/a.jpg"),
        ("/data/local-files/?d=photos/a.jpg", "photos/a.jpg"),
        ("http://localhost:8080/data/local-files/?d=photos%5Ca.jpg", "photos/a.jpg"),
        ("https://example.org/get?file=p/a.png&size=3", "p/a.png"),
        ("a.jpg?v=2", "a.jpg"),
        ("100%.jpg", "100%.jpg"),
    ],
)
def test_paths_of_any_system_and_urls_are_relative_paths(name: str, path: str) -> None:
    assert portable_path(name) == PurePosixPath(path)


def save_photos(root: Path, *names: str) -> None:
    for seed, name in enumerate(names):
        noise = np.random.default_rng(seed).integers(0, 255, (16, 16, 3)).astype(np.uint8)
        save_image(root / name, noise)


def write_coco(path: Path, *names: str) -> None:
    """Write an annotation file of one square in each image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    square = [[2, 2, 8, 2, 8, 8, 2, 8]]
    numbers = range(len(names))
    table = {
        "images": [{"id": n, "file_name": names[n], "height": 16, "width": 16} for n in numbers],
        "categories": [{"id": 0, "name": "cell"}],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 0, "segmentation": square} for n in numbers
        ],
    }
    path.write_text(json.dumps(table))


def findings_of(root: Path, code: str) -> list[Finding]:
    return [finding for finding in check(scan(root)).findings if finding.code == code]


@pytest.mark.parametrize(
    "pattern",
    [
        r"images\{}.png",
        r"D:\export\{}.png",
        "/label-studio/data/media/upload/1/{}.png",
        "../../media/upload/4/{}.png",
        "/data/local-files/?d=photos/{}.png",
        "https://example.org/p/{}.png?token=3",
        "train/{}.png",
    ],
)
def test_the_one_image_of_a_name_is_meant_wherever_coco_says_that_it_lies(
    tmp_path: Path, pattern: str
) -> None:
    save_photos(tmp_path, "images/a.png", "images/b.png")
    write_coco(tmp_path / "result.json", pattern.format("a"), pattern.format("b"))
    dataset = scan(tmp_path)
    assert [(sample.id, sample.image) for sample in dataset.samples] == [
        ("images/a", tmp_path / "images/a.png"),
        ("images/b", tmp_path / "images/b.png"),
    ]
    assert dataset.unused == ()
    (note,) = findings_of(tmp_path, "paths-elsewhere")
    assert note.severity == "note"
    assert note.message == (
        f"{tmp_path}/result.json names 2 files by paths that are not there, such as "
        f"{pattern.format('a')!r}. Each is taken for the one file of that name, such as "
        f"{tmp_path}/images/a.png."
    )


def test_the_split_of_the_annotation_file_tells_two_images_of_a_name_apart(tmp_path: Path) -> None:
    save_photos(tmp_path, "train/a.png", "val/a.png")
    for split in ("train", "val"):
        write_coco(tmp_path / f"annotations/{split}.json", r"C:\set\a.png")
    images = {sample.split: sample.image for sample in scan(tmp_path).samples}
    assert images == {"train": tmp_path / "train/a.png", "val": tmp_path / "val/a.png"}


def test_a_path_that_names_one_split_is_not_found_in_another(tmp_path: Path) -> None:
    save_photos(tmp_path, "val/a.png")
    write_coco(tmp_path / "result.json", "train/a.png")
    (error,) = findings_of(tmp_path, "unreadable-image")
    assert error.message == f"{tmp_path}/train/a.png does not exist."


def test_two_files_of_the_name_are_an_error_that_names_both(tmp_path: Path) -> None:
    save_photos(tmp_path, "2023/a.png", "2024/a.png", "2024/b.png")
    write_coco(tmp_path / "result.json", r"C:\set\a.png", r"C:\set\b.png")
    (error,) = findings_of(tmp_path, "ambiguous-name")
    assert error.severity == "error"
    assert error.message == (
        f"{tmp_path}/result.json names 'C:\\\\set\\\\a.png', which is not there, and 2 files bear "
        f"that name: {tmp_path}/2023/a.png and {tmp_path}/2024/a.png. Give the path of the right "
        "one, seen from the table."
    )
    # More of the path tells them apart, and so does the cure
    write_coco(tmp_path / "result.json", r"C:\set\2024\a.png", "2024/b.png")
    assert {sample.image for sample in scan(tmp_path).samples} == {
        tmp_path / "2024/a.png",
        tmp_path / "2024/b.png",
    }
    assert not findings_of(tmp_path, "ambiguous-name")


def test_two_names_that_lead_to_one_file_are_an_error(tmp_path: Path) -> None:
    save_photos(tmp_path, "images/a.png")
    write_coco(tmp_path / "result.json", r"x\a.png", r"y\a.png")
    errors = findings_of(tmp_path, "ambiguous-name")
    assert [error.message for error in errors] == [
        f"{tmp_path}/result.json names {name!r}, which is not there. The one file of that name, "
        f"{tmp_path}/images/a.png, is also what {other!r} would mean. Fetch the missing files, or "
        "give their paths, seen from the table."
        for name, other in ((r"x\a.png", r"y\a.png"), (r"y\a.png", r"x\a.png"))
    ]
    assert scan(tmp_path).samples == ()


@pytest.mark.parametrize("folder", ["images\\{},masks\\{}", "D:\\s\\images\\{},D:\\s\\masks\\{}"])
def test_tables_written_on_windows_give_their_pairs(tmp_path: Path, folder: str) -> None:
    for name in ("a.png", "b.png"):
        save_photos(tmp_path, f"images/{name}")
        save_image(tmp_path / f"masks/{name}", disc())
    lines = [folder.format(name, name) for name in ("a.png", "b.png")]
    (tmp_path / "list.csv").write_text("\n".join(["image,mask", *lines]))
    assert [(sample.image.name, sample.mask) for sample in scan(tmp_path).samples] == [
        (name, tmp_path / f"masks/{name}") for name in ("a.png", "b.png")
    ]
    assert "names 4 files by paths" in findings_of(tmp_path, "paths-elsewhere")[0].message


def test_urls_of_image_and_mask_that_tell_no_folder_are_ambiguous(tmp_path: Path) -> None:
    save_photos(tmp_path, "images/a.png")
    save_image(tmp_path / "masks/a.png", disc())
    (tmp_path / "list.csv").write_text("image,mask\nhttps://x.org/1/a.png,https://x.org/2/a.png\n")
    errors = findings_of(tmp_path, "ambiguous-name")
    assert len(errors) == 2
    assert f"{tmp_path}/images/a.png and {tmp_path}/masks/a.png" in errors[0].message


def test_accents_are_the_same_in_either_unicode_form(tmp_path: Path) -> None:
    for form, other in (("NFC", "NFD"), ("NFD", "NFC")):
        root = tmp_path / form
        save_photos(root, f"images/{unicodedata.normalize(form, 'zoë')}.png")
        write_coco(root / "result.json", f"images/{unicodedata.normalize(other, 'zoë')}.png")
        (sample,) = scan(root).samples
        assert sample.id == unicodedata.normalize("NFC", "images/zoë")
        assert sample.image.is_file()


def test_a_path_with_escaped_spaces_is_found(tmp_path: Path) -> None:
    save_photos(tmp_path, "images/a b.png")
    write_coco(tmp_path / "result.json", "upload/a%20b.png")
    assert [sample.image.name for sample in scan(tmp_path).samples] == ["a b.png"]
