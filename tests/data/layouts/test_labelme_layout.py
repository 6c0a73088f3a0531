import json
from pathlib import Path

import numpy as np
import pytest

from dataset_folders import ids_and_splits, not_annotated, save_image
from limner.data.check import check
from limner.data.scan import scan
from limner.errors import LimnerError

SQUARE = [[2, 2], [12, 2], [12, 12], [2, 12]]
SMALL = [[4, 4], [6, 4], [6, 6], [4, 6]]


def write(root: Path, name: str, *shapes: tuple[str, object], **keys: object) -> Path:
    """Write a photo of 16x20 px, and its JSON as labelme has it."""
    noise = np.random.default_rng(len(name)).integers(0, 255, (16, 20, 3)).astype(np.uint8)
    save_image(root / f"{name}.jpg", noise)
    content = {
        "version": "6.3.1",
        "flags": {},
        "shapes": [
            {"label": label, "points": points, "group_id": None, "shape_type": "polygon"}
            for label, points in shapes
        ],
        "imagePath": Path(name).name + ".jpg",
        "imageData": None,
        "imageHeight": 16,
        "imageWidth": 20,
        **keys,
    }
    path = root / f"{name}.json"
    path.write_text(json.dumps(content))
    return path


def first_mask(root: Path) -> np.ndarray:
    return scan(root).samples[0].read_mask().values


def test_later_shapes_lie_above_earlier_ones_and_classes_have_the_order_of_the_alphabet(
    tmp_path: Path,
) -> None:
    write(tmp_path, "a", ("leaf", SQUARE), ("bug", SMALL))
    write(tmp_path, "b")
    dataset = scan(tmp_path)
    assert dataset.layout == "labelme"
    assert dataset.class_names == ((0, "background"), (1, "bug"), (2, "leaf"))
    mask = first_mask(tmp_path)
    assert ((mask == 2).sum(), (mask == 1).sum()) == (11 * 11 - 9, 9)
    assert dataset.samples[1].read_mask().values.max() == 0
    assert not check(dataset).errors


def test_splits_are_told_by_folders_and_ids_are_the_paths_of_images(tmp_path: Path) -> None:
    write(tmp_path, "train/a", ("leaf", SQUARE))
    write(tmp_path, "val/b", ("leaf", SQUARE), imagePath="..\\val\\b.jpg")
    assert ids_and_splits(tmp_path) == [("train/a", "train"), ("val/b", "val")]


def test_an_image_beside_its_file_is_found_whatever_the_path_says(tmp_path: Path) -> None:
    write(tmp_path, "a", ("leaf", SQUARE), imagePath="C:\\photos\\a.jpg")
    dataset = scan(tmp_path)
    assert dataset.samples[0].image == tmp_path / "a.jpg"
    assert dataset.findings == ()


def test_a_list_of_classes_gives_their_order_and_ignored_ones_are_void(tmp_path: Path) -> None:
    write(tmp_path, "a", ("leaf", SQUARE), ("__ignore__", SMALL))
    (tmp_path / "labels.txt").write_text("__ignore__\n_background_\nstem\nleaf\n")
    dataset = scan(tmp_path)
    assert dataset.class_names == ((0, "background"), (1, "stem"), (2, "leaf"))
    mask = dataset.samples[0].read_mask()
    assert mask.void is not None and mask.void.sum() == 9
    assert (mask.values == 2).sum() == 11 * 11 - 9


def test_images_without_a_json_are_counted(tmp_path: Path) -> None:
    write(tmp_path, "a", ("leaf", SQUARE))
    save_image(tmp_path / "b.jpg")
    assert "b.jpg, and left out" in not_annotated(scan(tmp_path))


def test_a_class_that_the_list_lacks_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "a", ("leef", SQUARE))
    (tmp_path / "labels.txt").write_text("leaf\nstem\n")
    with pytest.raises(LimnerError) as refused:
        scan(tmp_path)
    assert str(refused.value) == (
        f"{path} has an object of the class 'leef', which the class-name file does not list. "
        "Known are leaf, stem: add the class there, or rename it."
    )


def test_an_image_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "a", imageData="/9j/")
    (tmp_path / "a.jpg").rename(tmp_path / "other.jpg")
    with pytest.raises(LimnerError) as refused:
        scan(tmp_path)
    assert str(refused.value) == (
        f"{path} is of the image 'a.jpg', which is not there. Put the image beside it. It holds "
        "the image itself, too: save that from labelme as a file."
    )


def test_a_shape_without_a_label_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "a", shapes=[{"points": SQUARE}])
    with pytest.raises(LimnerError, match=f"{path} has a shape without a label"):
        scan(tmp_path)


def test_a_shape_that_cannot_be_drawn_and_a_wrong_size_are_errors_of_the_check(
    tmp_path: Path,
) -> None:
    write(tmp_path, "a", ("leaf", SQUARE[:2]))
    write(tmp_path, "b", ("leaf", SQUARE), imageHeight=15)
    size, shape = check(scan(tmp_path)).errors
    assert shape.message == (
        f"{tmp_path}/a.json (a.jpg) has an annotation that cannot be drawn (a polygon has 2 "
        "points, and needs 3). It must be a shape as labelme writes them: mend it there, and "
        "export it again."
    )
    assert "20x15" in size.message and "20x16" in size.message


def test_annotations_of_two_tools_in_one_folder_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "a", ("leaf", SQUARE))
    coco = tmp_path / "instances.json"
    coco.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    with pytest.raises(LimnerError) as refused:
        scan(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path} holds annotations of two tools: 1 file of COCO, such as {coco}, and 1 file of "
        f"labelme, such as {path}. Only one of them can be the truth: move the other out of the "
        "folder."
    )


def test_a_truncated_json_is_named(tmp_path: Path) -> None:
    write(tmp_path, "a", ("leaf", SQUARE))
    path = write(tmp_path, "b", ("leaf", SQUARE))
    path.write_text(path.read_text()[:100])
    dataset = scan(tmp_path)
    assert [sample.id for sample in dataset.samples] == ["a"]
    assert "b.jpg, and left out" in not_annotated(dataset)
    (finding,) = [each for each in check(dataset).findings if each.code == "damaged-json"]
    assert str(path) in finding.message
