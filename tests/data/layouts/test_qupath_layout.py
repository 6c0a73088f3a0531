import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_folders import ids_and_splits, save_image
from limner.data.check import check
from limner.data.scan import scan
from limner.errors import LimnerError

SQUARE = [[2, 4], [12, 4], [12, 12], [2, 12], [2, 4]]
HOLE = [[5, 6], [8, 6], [8, 9], [5, 9], [5, 6]]


def feature(kind: str, coordinates: object, name: str | None = "Tumor") -> dict[str, Any]:
    classification = {"classification": {"name": name, "color": [200, 0, 0]}} if name else {}
    return {
        "type": "Feature",
        "id": "1",
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": {"objectType": "annotation", **classification},
    }


def write(root: Path, *features: object, name: str = "a", form: str = "FeatureCollection") -> Path:
    """Write a photo of 16x20 px and its annotations."""
    noise = np.random.default_rng(0).integers(0, 255, (16, 20, 3)).astype(np.uint8)
    save_image(root / f"{name}.tif", noise)
    content: Any = list(features)
    if form == "FeatureCollection":
        content = {"type": form, "features": content}
    elif form == "Feature":
        (content,) = features
    path = root / f"{name}.geojson"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("form", ["FeatureCollection", "list", "Feature"])
def test_polygons_have_holes(tmp_path: Path, form: str) -> None:
    write(tmp_path, feature("Polygon", [SQUARE, HOLE]), form=form)
    dataset = scan(tmp_path)
    assert (dataset.layout, dataset.samples[0].id) == ("QuPath", "a")
    assert dataset.class_names == ((0, "background"), (1, "Tumor"))
    expected = np.zeros((16, 20), np.uint8)
    expected[4:12, 2:12] = 1
    expected[6:9, 5:8] = 0
    assert (dataset.samples[0].read_mask().values == expected).all()
    assert not check(dataset).errors


def test_several_polygons_of_one_object_are_drawn_and_later_objects_lie_above(
    tmp_path: Path,
) -> None:
    dot = [[3, 5], [4, 5], [4, 6], [3, 6], [3, 5]]
    far = [[15, 1], [18, 1], [18, 3], [15, 3], [15, 1]]
    write(tmp_path, feature("MultiPolygon", [[SQUARE], [far]]), feature("Polygon", [dot], "Stroma"))
    mask = scan(tmp_path).samples[0].read_mask().values
    assert ((mask == 2).sum(), (mask == 1).sum()) == (80 + 6 - 1, 1)


def test_folders_tell_splits(tmp_path: Path) -> None:
    write(tmp_path, feature("Polygon", [SQUARE]), name="train/a")
    write(tmp_path, feature("Polygon", [SQUARE]), name="test/b")
    assert ids_and_splits(tmp_path) == [("test/b", "test"), ("train/a", "train")]


def test_annotations_may_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    path = write(tmp_path, feature("Polygon", [SQUARE], None))
    (tmp_path / "annotations").mkdir()
    path.rename(tmp_path / "annotations/a.geojson")
    dataset = scan(tmp_path)
    assert dataset.samples[0].image == tmp_path / "a.tif"
    assert dataset.class_names == ((0, "background"), (1, "object"))


def test_points_are_left_out_and_counted(tmp_path: Path) -> None:
    write(tmp_path, feature("Polygon", [SQUARE]), feature("Point", [1, 1]))
    (warning,) = [each for each in scan(tmp_path).findings if each.code == "shapes-without-area"]
    assert "(1 Point)" in warning.message


def test_an_annotation_without_a_class_among_others_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, feature("Polygon", [SQUARE]), feature("Polygon", [HOLE], None))
    with pytest.raises(LimnerError, match="has an annotation without a class") as refused:
        scan(tmp_path)
    assert str(path) in str(refused.value)


def test_annotations_of_no_image_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, feature("Polygon", [SQUARE]))
    (tmp_path / "a.tif").rename(tmp_path / "b.tif")
    with pytest.raises(LimnerError) as refused:
        scan(tmp_path)
    assert str(refused.value) == (
        f"{path} holds annotations of an image of its name, and no image bears it. Name the file "
        "as its image, such as a.geojson for a.tif, and put it beside the image."
    )


def test_a_malformed_polygon_is_an_error_of_the_check(tmp_path: Path) -> None:
    write(tmp_path, feature("Polygon", [[["x", 1], [2, 2], [3, 3]]]))
    (error,) = check(scan(tmp_path)).errors
    assert "could not convert string to float" in error.message
