from pathlib import Path

import pytest

from dataset_folders import ids_and_splits, save_image, save_images
from limner.data.check import check
from limner.data.scan import scan
from limner.errors import LimnerError


def test_a_manifest_gives_pairs_splits_and_groups(tmp_path: Path) -> None:
    save_images(tmp_path, "x/1.png", "y/2.png")
    (tmp_path / "list.csv").write_text(
        "Image,mask,split,group\nx/1.png,y/2.png,Train,Anna\ny/2.png,x/1.png,validation,\n",
        encoding="utf-8-sig",
    )
    dataset = scan(tmp_path)
    assert dataset.layout == "CSV manifest list.csv"
    assert [(s.id, s.mask, s.split, s.group) for s in dataset.samples] == [
        ("x/1", tmp_path / "y" / "2.png", "train", "Anna"),
        ("y/2", tmp_path / "x" / "1.png", "val", None),
    ]


def test_several_manifests_are_read_and_their_names_tell_the_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        save_image(tmp_path / f"{split}.png")
        (tmp_path / f"{split}.csv").write_text(f"image;mask\n{split}.png;{split}.png\n")
    (tmp_path / "patients.csv").write_bytes(b"name;age\nJos\xe9;3\n")
    assert ids_and_splits(tmp_path) == [("test", "test"), ("train", "train")]


def test_a_manifest_may_name_its_samples(tmp_path: Path) -> None:
    save_image(tmp_path / "1.png")
    (tmp_path / "list.csv").write_text("id,image,mask\nfirst,1.png,1.png\n")
    assert ids_and_splits(tmp_path) == [("first", None)]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [("1.png,1.png,fifth", "the split 'fifth'"), ("1.png,,train", "no image or no mask")],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    (tmp_path / "list.csv").write_text(f"image,mask,split\n1.png,1.png,\n{line}\n")
    with pytest.raises(LimnerError, match=rf"list\.csv, line 3, gives {complaint}"):
        scan(tmp_path)


@pytest.mark.parametrize("column", ["set", "subset"])
def test_a_column_set_or_subset_is_the_split_where_it_holds_splits(
    tmp_path: Path, column: str
) -> None:
    save_images(tmp_path, "1.png", "2.png")
    text = f"image,mask,{column}\n1.png,1.png,train\n2.png,2.png,test\n"
    (tmp_path / "list.csv").write_text(text, encoding="utf-16")
    assert ids_and_splits(tmp_path) == [("1", "train"), ("2", "test")]
    (tmp_path / "list.csv").write_text(text.replace("train", "B").replace("test", "A"))
    assert ids_and_splits(tmp_path) == [("1", None), ("2", None)]


def test_a_manifest_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    save_images(tmp_path, "images/1.png", "masks/1.png")
    (tmp_path / "list.csv").write_bytes(b"image,mask\nJos\xe9.png,1.png\n")
    with pytest.raises(LimnerError, match=r"list\.csv cannot be read.*Give a table in UTF-8"):
        scan(tmp_path)
    (tmp_path / "list.csv").write_text("# by Ann\nimage,mask\nimages/1.png,masks/1.png\n")
    with pytest.raises(LimnerError, match=r"has comments above its line of column names"):
        scan(tmp_path)


def test_images_in_no_line_are_counted_with_that_cause(tmp_path: Path) -> None:
    save_images(tmp_path, "images/1.png", "images/2.png", "masks/1.png")
    (tmp_path / "list.csv").write_text("image,mask\nimages/1.png,masks/1.png\n")
    assert any(
        finding.message == f"1 image file is in no line of the CSV manifest list.csv, such as "
        f"{tmp_path}/images/2.png, and left out. Add lines for them if they belong to the set."
        for finding in check(scan(tmp_path)).findings
    )
