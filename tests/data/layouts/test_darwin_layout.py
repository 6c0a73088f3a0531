import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from upolygon import draw_polygon

from dataset_folders import save_image
from limner.data.check import check
from limner.data.scan import scan
from limner.errors import LimnerError


def points(*corners: tuple[float, float]) -> list[dict[str, float]]:
    return [{"x": x, "y": y} for x, y in corners]


SQUARE = points((2.4, 3.6), (14.2, 4), (13, 12), (2, 13))
HOLE = points((5, 6), (9, 6), (9, 9), (5, 9))


def write(root: Path, *annotations: dict[str, Any], name: str = "a.jpg", **item: Any) -> Path:
    """Write a photo of 16x20 px and its annotations, as darwin dataset pull lays them out."""
    noise = np.random.default_rng(0).integers(0, 255, (16, 20, 3)).astype(np.uint8)
    save_image(root / "images" / name, noise)
    path = root / "releases/latest/annotations" / f"{Path(name).stem}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    slot = {"slot_name": "0", "type": "image", "width": 20, "height": 16}
    content = {"version": "2.0", "item": {"name": name, "path": "/", "slots": [slot], **item}}
    path.write_text(json.dumps(content | {"annotations": list(annotations)}))
    return path


def polygon(name: str, *paths: object) -> dict[str, Any]:
    return {"id": "1", "name": name, "polygon": {"paths": paths}, "bounding_box": {"x": 1}}


def test_polygons_are_drawn_by_their_own_rasteriser(tmp_path: Path) -> None:
    write(tmp_path, polygon("leaf", SQUARE, HOLE), polygon("bug", points((0, 0), (30, 0), (0, 6))))
    dataset = scan(tmp_path)
    assert (dataset.layout, dataset.samples[0].id) == ("Darwin", "images/a")
    assert dataset.class_names == ((0, "background"), (1, "bug"), (2, "leaf"))
    expected = np.zeros((16, 20), np.uint8)
    draw_polygon(expected, [[2, 4, 14, 4, 13, 12, 2, 13], [5, 6, 9, 6, 9, 9, 5, 9]], 2)
    draw_polygon(expected, [[0, 0, 19, 0, 0, 6]], 1)
    assert (dataset.samples[0].read_mask().values == expected).all()
    assert not check(dataset).errors


def test_masks_lie_in_a_raster_layer(tmp_path: Path) -> None:
    drawn = np.random.default_rng(1).integers(0, 3, (16, 20))
    flat = drawn.ravel()
    edges = np.flatnonzero(np.diff(flat, prepend=-1))
    counts = np.diff(np.append(edges, flat.size))
    runs = np.stack([flat[edges], counts], 1).ravel().tolist()
    layer = {"dense_rle": runs, "mask_annotation_ids_mapping": {"u": 1, "v": 2}}
    write(
        tmp_path,
        {"id": "u", "name": "leaf", "mask": {}},
        {"id": "v", "name": "bug", "mask": {}},
        {"id": "r", "name": "__raster_layer__", "raster_layer": {**layer, "total_pixels": 320}},
    )
    mask = scan(tmp_path).samples[0].read_mask().values
    assert (mask == np.array([0, 2, 1])[drawn]).all()


def test_shapes_without_an_area_and_films_are_named(tmp_path: Path) -> None:
    write(tmp_path, polygon("leaf", SQUARE), {"name": "tip", "keypoint": {"x": 1, "y": 2}})
    (finding,) = (each for each in scan(tmp_path).findings if each.code == "shapes-without-area")
    assert "1 keypoint" in finding.message
    write(tmp_path, polygon("leaf", SQUARE), name="b.jpg", slots=[{"type": "video"}])
    with pytest.raises(LimnerError, match="1 slot of the type 'video'"):
        scan(tmp_path)


def test_a_mask_without_its_layer_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"id": "u", "name": "leaf", "mask": {}})
    with pytest.raises(LimnerError, match="class 'leaf' that its raster layer does not"):
        scan(tmp_path)
