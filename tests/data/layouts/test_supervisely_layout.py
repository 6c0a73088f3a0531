import base64
import io
import json
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from dataset_folders import ids_and_splits, save_image
from limner.data.check import check
from limner.data.scan import scan
from limner.errors import LimnerError

SQUARE = [[2, 4], [12, 4], [12, 13], [2, 13]]
HOLE = [[5, 7], [8, 7], [8, 9], [5, 9]]


def polygon(name: str, exterior: object, *holes: object) -> dict[str, Any]:
    points = {"exterior": exterior, "interior": list(holes)}
    return {"classTitle": name, "geometryType": "polygon", "points": points}


def bitmap(name: str, pixels: np.ndarray, origin: list[int], *, packed: bool = True) -> dict:
    file = io.BytesIO()
    image = Image.fromarray(pixels.astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(file, "PNG", transparency=0)
    data = zlib.compress(file.getvalue()) if packed else file.getvalue()
    value = {"data": base64.b64encode(data).decode(), "origin": origin}
    return {"classTitle": name, "geometryType": "bitmap", "bitmap": value}


def write(root: Path, *objects: object, dataset: str = "ds0", name: str = "a.jpg") -> Path:
    """Write a photo of 16x20 px and its annotation."""
    noise = np.random.default_rng(0).integers(0, 255, (16, 20, 3)).astype(np.uint8)
    save_image(root / dataset / "img" / name, noise)
    path = root / dataset / "ann" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    size = {"height": 16, "width": 20}
    path.write_text(json.dumps({"description": "", "size": size, "objects": objects}))
    classes = [{"title": "leaf", "shape": "any"}, {"title": "bug", "shape": "any"}]
    (root / "meta.json").write_text(json.dumps({"classes": classes, "tags": []}))
    return path


@pytest.mark.parametrize("packed", [True, False])
def test_polygons_have_holes_and_bitmaps_an_origin(tmp_path: Path, packed: bool) -> None:
    pixels = np.array([[1, 0, 1], [0, 1, 1]])
    write(tmp_path, polygon("leaf", SQUARE, HOLE), bitmap("bug", pixels, [15, 3], packed=packed))
    dataset = scan(tmp_path)
    assert dataset.layout == "Supervisely"
    assert dataset.class_names == ((0, "background"), (1, "leaf"), (2, "bug"))
    expected = np.zeros((16, 20), np.uint8)
    cv2.fillPoly(expected, [np.array(SQUARE, np.int32)], 1)
    cv2.fillPoly(expected, [np.array(HOLE, np.int32)], 0)
    expected[3:5, 15:18] = 2 * pixels
    assert (dataset.samples[0].read_mask().values == expected).all()
    assert not check(dataset).errors


def test_datasets_of_a_project_may_be_splits(tmp_path: Path) -> None:
    write(tmp_path, polygon("leaf", SQUARE), dataset="train")
    write(tmp_path, polygon("leaf", SQUARE), dataset="val", name="b.png")
    assert ids_and_splits(tmp_path) == [("train/img/a", "train"), ("val/img/b", "val")]


def test_lines_are_left_out_and_counted(tmp_path: Path) -> None:
    write(tmp_path, polygon("leaf", SQUARE), {"classTitle": "leaf", "geometryType": "line"})
    (warning,) = [each for each in scan(tmp_path).findings if each.code == "shapes-without-area"]
    assert "(1 line)" in warning.message


@pytest.mark.parametrize(
    ("item", "complaint"),
    [
        (polygon("worm", SQUARE), "class 'worm', which meta.json does not list"),
        ({"geometryType": "polygon", "points": {"exterior": SQUARE}}, "without a class"),
    ],
)
def test_an_object_without_a_class_of_the_project_is_refused(
    tmp_path: Path, item: object, complaint: str
) -> None:
    path = write(tmp_path, item)
    with pytest.raises(LimnerError, match=complaint) as refused:
        scan(tmp_path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("item", "complaint"),
    [
        (bitmap("leaf", np.ones((3, 3)), [18, 2]), "a mask lies outside of its image"),
        (polygon("leaf", SQUARE[:2]), "a polygon has 2 points, and needs 3"),
        ({**bitmap("leaf", np.ones((3, 3)), [1, 2]), "bitmap": {"data": "eJz"}}, "cannot be drawn"),
    ],
)
def test_a_malformed_object_is_an_error_of_the_check(
    tmp_path: Path, item: object, complaint: str
) -> None:
    write(tmp_path, item)
    (error,) = check(scan(tmp_path)).errors
    assert complaint in error.message
