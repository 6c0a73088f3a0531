import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_folders import not_annotated, save_image
from limner.data.check import check
from limner.data.scan import scan
from limner.errors import LimnerError

SQUARE = [[10, 25], [50, 25], [50, 75], [10, 75]]


def region(kind: str, label: str, **value: object) -> dict[str, Any]:
    return {
        "type": f"{kind}labels",
        "value": {**value, f"{kind}labels": [label]},
        "original_width": 20,
        "original_height": 16,
        "image_rotation": 0,
    }


def task(
    *regions: dict[str, Any], image: str = "/data/local-files/?d=photos/a.jpg", **keys: object
) -> dict[str, Any]:
    return {
        "id": 1,
        "data": {"image": image},
        "annotations": [{"id": 5, "was_cancelled": False, "result": list(regions)}],
        **keys,
    }


def write(root: Path, *tasks: object, images: tuple[str, ...] = ("photos/a.jpg",)) -> Path:
    for number, name in enumerate(images):
        noise = np.random.default_rng(number).integers(0, 255, (16, 20, 3)).astype(np.uint8)
        save_image(root / name, noise)
    path = root / "project-1.json"
    path.write_text(json.dumps(tasks))
    return path


def test_polygons_rectangles_and_ellipses_are_drawn_later_ones_above(tmp_path: Path) -> None:
    write(
        tmp_path,
        task(
            region("polygon", "leaf", points=SQUARE),
            region("rectangle", "bug", x=20, y=25, width=10, height=25, rotation=0),
            region("ellipse", "bug", x=80, y=50, radiusX=10, radiusY=25, rotation=0),
        ),
    )
    dataset = scan(tmp_path)
    assert (dataset.layout, dataset.samples[0].id) == ("Label Studio", "photos/a")
    assert dataset.class_names == ((0, "background"), (1, "bug"), (2, "leaf"))
    mask = dataset.samples[0].read_mask().values
    expected = np.zeros((16, 20), np.uint8)
    expected[4:12, 2:10] = 2
    expected[4:8, 4:6] = 1
    assert (mask[:, :12] == expected[:, :12]).all()
    assert (mask[:, 12:] == 1).sum() == pytest.approx(np.pi * 2 * 4, abs=3)
    assert not check(dataset).errors


def test_a_rectangle_is_turned_round_its_corner(tmp_path: Path) -> None:
    turned = region("rectangle", "leaf", x=50, y=25, width=20, height=50, rotation=90)
    write(tmp_path, task(turned))
    expected = np.zeros((16, 20), np.uint8)
    expected[4:8, 2:10] = 1
    assert (scan(tmp_path).samples[0].read_mask().values == expected).all()


# Of a mask of 3x2 px whose first row and last pixel are drawn: label_studio_sdk 2.1.2 wrote it
BRUSH = [0, 0, 0, 24, 57, 27, 253, 191, 249, 192, 35, 255, 0]


@pytest.mark.parametrize("name", ["/data/upload/3/1a2b3c4d-a.jpg", "s3://bucket/photos/a.jpg"])
def test_images_are_found_by_the_names_of_uploads_and_buckets(tmp_path: Path, name: str) -> None:
    write(tmp_path, task(region("polygon", "leaf", points=SQUARE), image=name))
    assert scan(tmp_path).samples[0].image == tmp_path / "photos/a.jpg"


def test_the_ground_truth_of_several_annotations_is_taken_and_told(tmp_path: Path) -> None:
    wrong, right = region("polygon", "bug", points=SQUARE), region("polygon", "leaf", points=SQUARE)
    annotations = [
        {"result": [wrong], "was_cancelled": True},
        {"result": [right], "ground_truth": True},
        {"result": [wrong]},
    ]
    write(tmp_path, task(annotations=annotations))
    dataset = scan(tmp_path)
    assert dataset.class_names == ((0, "background"), (1, "leaf"))
    (warning,) = [each for each in dataset.findings if each.code == "several-annotations"]
    assert warning.message.startswith("1 image has annotations of several people, such as ")


def test_tasks_without_an_annotation_are_counted(tmp_path: Path) -> None:
    write(
        tmp_path,
        task(region("polygon", "leaf", points=SQUARE)),
        task(image="photos/b.jpg", annotations=[]),
        images=("photos/a.jpg", "photos/b.jpg"),
    )
    dataset = scan(tmp_path)
    assert len(dataset.samples) == 1
    assert "photos/b.jpg, and left out" in not_annotated(dataset)


def test_points_are_left_out_and_counted(tmp_path: Path) -> None:
    key = region("keypoint", "leaf", x=1, y=1, width=0.5)
    write(tmp_path, task(region("polygon", "leaf", points=SQUARE), key, key))
    (warning,) = [each for each in scan(tmp_path).findings if each.code == "shapes-without-area"]
    assert "2 shapes of Label Studio cover no area and are left out (2 keypoint)" in warning.message


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ([{"image": "a", "annotation_id": 1, "annotator": 1}], "JSON-MIN.*Export it as JSON"),
        ([task(image="photos/none.jpg")], "'photos/none.jpg', which is not there"),
        ([task({**region("polygon", "a", points=SQUARE), "image_rotation": 90})], "was turned"),
        (
            [
                task(
                    region("polygon", "a", points=SQUARE),
                    region("polygon", "b", points=SQUARE) | {"original_width": 9},
                )
            ],
            "several sizes",
        ),
        ([task({"type": "polygon", "value": {"points": SQUARE}})], "with 0 labels"),
        ([task(), task()], "is annotated twice, in "),
    ],
)
def test_what_cannot_be_read_is_refused(
    tmp_path: Path, content: list[object], complaint: str
) -> None:
    path = write(tmp_path, *content)
    with pytest.raises(LimnerError, match=complaint) as refused:
        scan(tmp_path)
    assert str(path) in str(refused.value)


def test_a_brush_is_exact(tmp_path: Path) -> None:
    brush = region("brush", "leaf", format="rle", rle=BRUSH)
    write(tmp_path, task(brush | {"original_width": 3, "original_height": 2}))
    save_image(tmp_path / "photos/a.jpg", np.zeros((2, 3, 3), np.uint8))
    mask = scan(tmp_path).samples[0].read_mask().values
    assert (mask == [[1, 1, 1], [0, 0, 1]]).all()


def test_a_brush_that_ends_too_soon_is_an_error_of_the_check(tmp_path: Path) -> None:
    brush = region("brush", "leaf", format="rle", rle=BRUSH[:-4])
    write(tmp_path, task(brush | {"original_width": 3, "original_height": 2}))
    (error,) = check(scan(tmp_path)).errors
    assert "the run lengths of a brush end too soon" in error.message


def test_a_brush_of_another_size_is_an_error_of_the_check(tmp_path: Path) -> None:
    write(tmp_path, task(region("brush", "leaf", format="rle", rle=BRUSH)))
    (error,) = check(scan(tmp_path)).errors
    assert "a brush of 6 pixels is not of its image's 20x16" in error.message
