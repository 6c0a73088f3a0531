import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset_folders import save_image
from limner.data.check import check
from limner.data.scan import scan
from limner.errors import LimnerError

SQUARE = {"name": "polygon", "all_points_x": [2, 10, 10, 2], "all_points_y": [4, 4, 12, 12]}
SMALL = {"name": "rect", "x": 4, "y": 6, "width": 3, "height": 2}


def region(shape: dict[str, Any], **attributes: object) -> dict[str, Any]:
    return {"shape_attributes": shape, "region_attributes": attributes}


def write(root: Path, regions: object, *, project: bool = True, name: str = "a.jpg") -> Path:
    """Write a photo of 16x20 px and its regions."""
    noise = np.random.default_rng(0).integers(0, 255, (16, 20, 3)).astype(np.uint8)
    save_image(root / name, noise)
    entries = {
        f"{name}123": {"filename": name, "size": 123, "regions": regions, "file_attributes": {}}
    }
    path = root / "via_project.json"
    path.write_text(json.dumps({"_via_img_metadata": entries} if project else entries))
    return path


@pytest.mark.parametrize("project", [True, False])
@pytest.mark.parametrize("numbered", [True, False])
def test_regions_are_drawn_later_ones_above(tmp_path: Path, project: bool, numbered: bool) -> None:
    regions: Any = [region(SQUARE, label="leaf"), region(SMALL, label="bug")]
    if numbered:
        regions = {str(number): each for number, each in enumerate(regions)}
    write(tmp_path, regions, project=project)
    dataset = scan(tmp_path)
    assert (dataset.layout, dataset.samples[0].id) == ("VIA", "a")
    assert dataset.class_names == ((0, "background"), (1, "bug"), (2, "leaf"))
    expected = np.zeros((16, 20), np.uint8)
    expected[4:12, 2:10] = 2
    expected[6:8, 4:7] = 1
    assert (dataset.samples[0].read_mask().values == expected).all()
    assert not check(dataset).errors


def test_circles_and_ellipses_are_drawn(tmp_path: Path) -> None:
    circle = {"name": "circle", "cx": 5, "cy": 8, "r": 4}
    ellipse = {"name": "ellipse", "cx": 15, "cy": 8, "rx": 6, "ry": 3, "theta": np.pi / 2}
    write(tmp_path, [region(circle), region(ellipse)])
    dataset = scan(tmp_path)
    assert dataset.class_names == ((0, "background"), (1, "object"))
    mask = dataset.samples[0].read_mask().values
    assert mask[:, :10].sum() == pytest.approx(np.pi * 16, abs=5)
    # Turned by a quarter: higher than wide
    assert (np.ptp(np.nonzero(mask[:, 11:])[0]) + 1, np.ptp(np.nonzero(mask[:, 11:])[1]) + 1) == (
        12,
        6,
    )


def test_a_ticked_box_is_the_class(tmp_path: Path) -> None:
    write(tmp_path, [region(SQUARE, type={"leaf": True, "bug": False}, quality="good")])
    assert scan(tmp_path).class_names == ((0, "background"), (1, "leaf"))


@pytest.mark.parametrize(
    ("regions", "complaint"),
    [
        ([region(SQUARE, colour="red", size="3")], "the attributes colour, size, and none is"),
        ([region(SQUARE, label="leaf"), region(SMALL)], "without one value of label"),
        ([region(SQUARE, label={"leaf": True, "bug": True})], "without one value of label"),
    ],
)
def test_regions_without_one_class_are_refused(
    tmp_path: Path, regions: object, complaint: str
) -> None:
    path = write(tmp_path, regions)
    with pytest.raises(LimnerError, match=complaint) as refused:
        scan(tmp_path)
    assert str(path) in str(refused.value)


def test_points_are_left_out_and_counted(tmp_path: Path) -> None:
    write(tmp_path, [region(SQUARE), region({"name": "point", "cx": 1, "cy": 1})])
    (warning,) = [each for each in scan(tmp_path).findings if each.code == "shapes-without-area"]
    assert "(1 point)" in warning.message


def test_an_image_that_is_not_there_is_an_error_of_the_check(tmp_path: Path) -> None:
    write(tmp_path, [region(SQUARE)])
    (tmp_path / "a.jpg").rename(tmp_path / "b.jpg")
    errors = check(scan(tmp_path)).errors
    assert any(f"{tmp_path}/a.jpg" in error.message for error in errors)
