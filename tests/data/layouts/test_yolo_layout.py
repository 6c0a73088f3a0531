from pathlib import Path

import cv2
import numpy as np
import pytest

from dataset_folders import ids_and_splits, save_image
from limner.data.check import check
from limner.data.scan import scan
from limner.errors import LimnerError

LARGE, SMALL = "1 0.1 0.125 0.725 0.125 0.725 0.75 0.1 0.75", "0 0.2 0.25 0.3 0.25 0.3 0.5 0.2 0.5"


def write(root: Path, *names: str, text: str = f"{SMALL}\n{LARGE}\n") -> None:
    """Write photos of 16x20 px; labels lie where YOLO looks for them."""
    for name in names:
        noise = np.random.default_rng(len(name)).integers(0, 255, (16, 20, 3)).astype(np.uint8)
        save_image(root / f"{name}.jpg", noise)
        label = root / f"{name.replace('images', 'labels')}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(text)


@pytest.mark.parametrize("name", ["images/a", "a", "part/images/a", "images/part/a"])
def test_smaller_objects_lie_above_larger_ones_with_their_border(tmp_path: Path, name: str) -> None:
    write(tmp_path, name)
    (tmp_path / "data.yaml").write_text("names: [spot, leaf]\n")
    dataset = scan(tmp_path)
    assert (dataset.layout, dataset.samples[0].id) == ("YOLO", name)
    assert dataset.class_names == ((0, "background"), (1, "spot"), (2, "leaf"))
    expected = np.zeros((16, 20), np.uint8)
    for index, line in ((2, LARGE), (1, SMALL)):
        points = np.array(line.split()[1:], float).reshape(-1, 2) * (20, 16)
        cv2.fillPoly(expected, [points.astype(np.int32)], index)
    assert (dataset.samples[0].read_mask().values == expected).all()
    assert not check(dataset).errors


@pytest.mark.parametrize(
    ("yaml", "splits"),
    [
        ("path: ../datasets/x\ntrain: images/one\nval: images/two\nnames: [s, l]", "train val"),
        ("train: ../one/images\nvalid: ../two/images\nnames:\n  0: s\n  1: l\n", "train val"),
        ("train: /home/me/set/images/one/\nval: [images/two]\nnames:\n- s\n- l", "train val"),
        ("train: images\nval: two.txt\nnames: {0: s, 1: l}", "train val"),
        ("train:\nval: # none yet\nnames: ['s', \"l\"]  # two", "train train"),
    ],
)
def test_a_data_yaml_tells_splits_and_classes(tmp_path: Path, yaml: str, splits: str) -> None:
    names = (
        ["one/images/a", "two/images/b"] if "../one" in yaml else ["images/one/a", "images/two/b"]
    )
    write(tmp_path, *names)
    (tmp_path / "data.yaml").write_text(yaml)
    (tmp_path / "two.txt").write_text("./images/two/b.jpg\n")
    found = dict(ids_and_splits(tmp_path))
    first, second = (found[name] for name in names)
    if splits == "train train":
        assert (first, second) == (None, None)
    else:
        assert (first, second) == ("train", "val")
    assert [name for _, name in scan(tmp_path).class_names] == ["background", "s", "l"]


def test_folders_tell_splits_without_a_data_yaml(tmp_path: Path) -> None:
    write(tmp_path, "images/train/a", "images/val/b")
    (tmp_path / "classes.txt").write_text("spot\nleaf\n")
    assert ids_and_splits(tmp_path) == [("images/train/a", "train"), ("images/val/b", "val")]


def test_an_image_without_a_file_has_no_object_and_is_told(tmp_path: Path) -> None:
    write(tmp_path, "images/a")
    save_image(tmp_path / "images/b.png", np.zeros((16, 20, 3), np.uint8))
    dataset = scan(tmp_path)
    assert [sample.id for sample in dataset.samples] == ["images/a", "images/b"]
    assert dataset.samples[1].read_mask().values.max() == 0
    (note,) = [each for each in check(dataset).findings if each.code == "no-label-file"]
    assert note.message == (
        f"1 image has no label file, such as {tmp_path}/images/b.png. As YOLO does, they are "
        "taken as images without an object."
    )


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("0 0.5 0.5 0.1 0.1", "object 2, is a box, which has no outline"),
        ("0 0.1 0.1 0.2 0.2 0.3", "object 2, is no class number with pairs of x and y"),
        ("5 0.1 0.1 0.2 0.2 0.3 0.1", "the class 5, and .*data.yaml names 2, from 0 to 1"),
    ],
)
def test_a_line_that_cannot_be_drawn_is_refused(tmp_path: Path, line: str, complaint: str) -> None:
    write(tmp_path, "images/a", text=f"{LARGE}\n{line}\n")
    (tmp_path / "data.yaml").write_text("names: [spot, leaf]\n")
    with pytest.raises(LimnerError, match=complaint):
        scan(tmp_path)


def test_a_polygon_outside_of_its_image_is_an_error_of_the_check(tmp_path: Path) -> None:
    write(tmp_path, "images/a", text="0 0.1 0.1 1.2 0.2 0.3 0.1\n")
    (error,) = check(scan(tmp_path)).errors
    assert "points outside of 0..1, the shares of width and height" in error.message


def test_labels_without_an_image_are_counted(tmp_path: Path) -> None:
    write(tmp_path, "images/a", "images/b")
    (tmp_path / "images/b.jpg").unlink()
    assert scan(tmp_path).masks_without_image == (tmp_path / "labels/b.txt",)


def test_a_folder_for_training_and_validation_is_no_split(tmp_path: Path) -> None:
    write(tmp_path, "images/a", "images/b")
    (tmp_path / "data.yaml").write_text("train: images\nval: images\nnames: [spot, leaf]\n")
    dataset = scan(tmp_path)
    assert [sample.split for sample in dataset.samples] == [None, None]
    (finding,) = (each for each in dataset.findings if each.code == "shared-split")
    assert "images for several splits, so its images are in none" in finding.message
