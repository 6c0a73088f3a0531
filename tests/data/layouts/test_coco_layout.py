import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_folders import ids_and_splits, save_image, save_images
from limner.data.scan import scan
from limner.errors import LimnerError

SQUARE = [2, 2, 18, 2, 18, 18, 2, 18]
TRIANGLE = [1, 1, 9, 1, 9, 9]


def write_coco(root: Path, segmentations: list[object], *, categories: list[int]) -> Path:
    """Write one image of 20x30 px and its annotations; returns the annotation file."""
    save_image(root / "pictures" / "a.png", np.zeros((20, 30, 3), np.uint8))
    table = {
        "images": [{"id": 7, "file_name": "a.png", "height": 20, "width": 30}],
        "annotations": [
            {
                "id": id,
                "image_id": 7,
                "category_id": category,
                "segmentation": segmentation,
                "area": 100 - id,
            }
            for id, (segmentation, category) in enumerate(
                zip(segmentations, categories, strict=True)
            )
        ],
        "categories": [{"id": 3, "name": "ring"}, {"id": 9, "name": "dot"}],
    }
    path = root / "annotations.json"
    path.write_text(json.dumps(table))
    return path


def change(path: Path, **keys: object) -> None:
    """Replace top-level keys of an annotation file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def annotation(**keys: object) -> dict[str, list[dict[str, object]]]:
    return {"annotations": [{"id": 5, "image_id": 7, "category_id": 3, **keys}]}


def read_first_mask(root: Path) -> Any:
    return scan(root).samples[0].read_mask().values


def test_polygons_have_holes_and_the_smaller_object_lies_above(tmp_path: Path) -> None:
    hole, dot = [6, 6, 14, 6, 14, 14, 6, 14], [9, 9, 11, 9, 11, 11, 9, 11]
    write_coco(tmp_path, [[SQUARE, hole], [dot]], categories=[3, 9])
    dataset = scan(tmp_path)
    assert dataset.layout == "COCO"
    mask = dataset.samples[0].read_mask().values
    assert (mask[4, 4], mask[8, 8], mask[10, 10], mask[19, 19]) == (1, 0, 2, 0)
    assert (mask == 1).sum() == 16 * 16 - 8 * 8
    assert dataset.class_names == ((0, "background"), (1, "ring"), (2, "dot"))
    (finding,) = dataset.findings
    assert (finding.code, finding.severity) == ("polygon-within-polygon", "note")
    assert "1 annotation has a polygon within another one, such as the id" in finding.message


def test_run_lengths_are_read_plain_and_compressed(tmp_path: Path) -> None:
    from pycocotools import mask as coco_mask

    mask = np.zeros((20, 30), np.uint8)
    mask[3:9, 5:25] = 1
    compressed = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    plain = np.diff([0, *edges, flat.size]).tolist()
    for counts in (compressed, plain):
        write_coco(tmp_path, [{"size": [20, 30], "counts": counts}], categories=[3])
        assert (read_first_mask(tmp_path) == mask).all()


def test_parts_of_one_object_are_joined(tmp_path: Path) -> None:
    left, right = [2, 2, 14, 2, 14, 12, 2, 12], [10, 2, 26, 2, 26, 12, 10, 12]
    write_coco(tmp_path, [[left, right, left]], categories=[3])
    assert read_first_mask(tmp_path).sum() == 24 * 10


def test_the_larger_object_lies_below_without_a_stated_area(tmp_path: Path) -> None:
    dot = [9, 9, 11, 9, 11, 11, 9, 11]
    path = write_coco(tmp_path, [[dot], [SQUARE]], categories=[9, 3])
    annotations = json.loads(path.read_text())["annotations"]
    for item in annotations:
        del item["area"]
    change(path, annotations=annotations)
    assert read_first_mask(tmp_path)[10, 10] == 2


def test_categories_of_several_files_are_the_same_by_name(tmp_path: Path) -> None:
    for split, ids in (("train", {"cat": 1, "dog": 2}), ("val", {"dog": 1, "cat": 2})):
        (tmp_path / split).mkdir()
        path = write_coco(tmp_path / split, [[SQUARE]], categories=[ids["dog"]])
        categories: list[dict[str, object]] = [{"id": id, "name": name} for name, id in ids.items()]
        change(path, categories=[*categories, {"id": 0, "name": "Background"}])
    dataset = scan(tmp_path)
    assert [name for _, name in dataset.class_names] == ["background", "cat", "dog"]
    assert [int(sample.read_mask().values.max()) for sample in dataset.samples] == [2, 2]
    assert [sample.split for sample in dataset.samples] == ["train", "val"]


def test_of_two_images_of_one_name_the_split_decides(tmp_path: Path) -> None:
    save_images(tmp_path, "train2017/a.png", "val2017/a.png")
    for split in ("train", "val"):
        folder = tmp_path / "annotations" / split
        folder.mkdir(parents=True)
        path = write_coco(folder, [], categories=[])
        (folder / "pictures" / "a.png").unlink()
        path.rename(tmp_path / "annotations" / f"instances_{split}.json")
    assert ids_and_splits(tmp_path) == [("train/a", "train"), ("val/a", "val")]
    images = [sample.image for sample in scan(tmp_path).samples]
    assert images == [tmp_path / "train2017" / "a.png", tmp_path / "val2017" / "a.png"]


def test_json_of_other_programs_is_left_alone(tmp_path: Path) -> None:
    write_coco(tmp_path, [[SQUARE]], categories=[3])
    (tmp_path / "list.json").write_text('["a.png"]')
    (tmp_path / "settings.json").write_text("{")
    (tmp_path / "pictures" / "about.json").write_text('{"images": 1}')
    assert len(scan(tmp_path).samples) == 1


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        (annotation(bbox=[1, 2, 3, 4], segmentation=[]), "only a box"),
        (annotation(image_id=8, segmentation=[TRIANGLE]), "images that it does not list"),
        (
            annotation(category_id="3", segmentation=[TRIANGLE]),
            "category '3', which it does not list",
        ),
        (
            {"images": [{"id": 7, "file_name": "a.png", "height": None, "width": 30}]},
            "no usable height",
        ),
        ({"categories": [{"id": 3}]}, "no usable name"),
        ({"categories": None}, "no list of categories"),
    ],
)
def test_a_file_that_would_lose_objects_is_refused(
    tmp_path: Path, keys: dict[str, object], complaint: str
) -> None:
    change(write_coco(tmp_path, [[SQUARE]], categories=[3]), **keys)
    with pytest.raises(LimnerError, match=complaint):
        scan(tmp_path)


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [20, 30], "counts": "04"},
        {"size": [20, 30], "counts": [3, 4]},
        [[1e9, 1, 5, 1, 5, 5]],
        [[float("inf"), 1, 5, 1, 5, 5]],
        [[float("nan"), 1, 5, 1, 5, 5]],
    ],
)
def test_a_shape_that_cannot_be_drawn_is_refused_and_crashes_nothing(
    tmp_path: Path, segmentation: object
) -> None:
    write_coco(tmp_path, [segmentation], categories=[3])
    with pytest.raises(LimnerError, match=r"a\.png.*cannot be drawn"):
        read_first_mask(tmp_path)


def test_an_image_that_claims_too_many_pixels_is_refused(tmp_path: Path) -> None:
    path = write_coco(tmp_path, [[SQUARE]], categories=[3])
    image = {"id": 7, "file_name": "a.png", "height": 10**6, "width": 10**6}
    change(path, images=[image])
    with pytest.raises(LimnerError, match="claims 1000000x1000000 pixels"):
        read_first_mask(tmp_path)


@pytest.mark.parametrize("key", ["images", "categories"])
def test_an_id_that_is_given_twice_is_an_error(tmp_path: Path, key: str) -> None:
    path = write_coco(tmp_path, [[[3, 3, 8, 3, 8, 8, 3, 8]]], categories=[3])
    records = json.loads(path.read_text())[key]
    double = {**records[0], "file_name": "b.png", "name": "another"}
    change(path, **{key: [*records, double]})
    with pytest.raises(LimnerError, match=rf"has 2 {key} of the id {records[0]['id']}"):
        scan(tmp_path)


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        (annotation(image_id=[7], segmentation=[TRIANGLE]), r"annotations of the image_id \[7\]"),
        (annotation(category_id={}, segmentation=[TRIANGLE]), r"annotations of the category_id {}"),
        (
            {"images": [{"id": [7], "file_name": "a.png", "height": 20, "width": 30}]},
            r"images of the id \[7\]",
        ),
    ],
)
def test_an_id_that_is_a_list_or_an_object_is_refused(
    tmp_path: Path, keys: dict[str, object], complaint: str
) -> None:
    change(write_coco(tmp_path, [[SQUARE]], categories=[3]), **keys)
    with pytest.raises(LimnerError, match=rf"{complaint}, which is neither a number nor a text"):
        scan(tmp_path)


def test_a_category_that_only_holds_others_is_no_class(tmp_path: Path) -> None:
    """Roboflow writes the project's name as category 0."""
    path = write_coco(tmp_path, [[SQUARE]], categories=[3])
    categories = [
        {"id": 0, "name": "cells", "supercategory": "none"},
        {"id": 3, "name": "rbc", "supercategory": "cells"},
        {"id": 4, "name": "wbc", "supercategory": "cells"},
    ]
    change(path, categories=categories)
    assert scan(tmp_path).class_names == ((0, "background"), (1, "rbc"), (2, "wbc"))
