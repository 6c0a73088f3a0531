from pathlib import Path

import numpy as np
import pytest
import roifile

from dataset_folders import ids_and_splits, save_image
from limner.data.check import check
from limner.data.scan import scan
from limner.errors import LimnerError

SQUARE = [[2, 4], [12, 4], [12, 12], [2, 12]]


def polygon(points: object, **keys: object) -> roifile.ImagejRoi:
    region = roifile.ImagejRoi.frompoints(np.array(points))
    for key, value in keys.items():
        setattr(region, key, value)
    return region


def box(kind: roifile.ROI_TYPE, left: int, top: int, right: int, bottom: int) -> roifile.ImagejRoi:
    region = roifile.ImagejRoi()
    region.roitype, region.version = kind, 228
    region.left, region.top, region.right, region.bottom = left, top, right, bottom
    return region


def write(
    root: Path, *regions: roifile.ImagejRoi, name: str = "a.zip", image: str = "a.tif"
) -> Path:
    noise = np.random.default_rng(len(image)).integers(0, 255, (16, 20, 3)).astype(np.uint8)
    save_image(root / image, noise)
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    roifile.roiwrite(path, list(regions) if path.suffix == ".zip" else regions[0])
    return path


@pytest.mark.parametrize(
    "name", ["a.zip", "a.roi", "RoiSet.zip", "a_RoiSet.zip", "rois/RoiSet_a.zip"]
)
def test_a_polygon_is_drawn_and_its_image_found(tmp_path: Path, name: str) -> None:
    write(tmp_path, polygon(SQUARE), name=name)
    dataset = scan(tmp_path)
    assert (dataset.layout, dataset.samples[0].id) == ("ImageJ", "a")
    assert dataset.class_names == ((0, "background"), (1, "object"))
    expected = np.zeros((16, 20), np.uint8)
    expected[4:12, 2:12] = 1
    assert (dataset.samples[0].read_mask().values == expected).all()
    assert not check(dataset).errors


def test_groups_are_classes_and_later_regions_lie_above(tmp_path: Path) -> None:
    write(
        tmp_path,
        polygon(SQUARE, group=2),
        box(roifile.ROI_TYPE.RECT, 4, 6, 7, 8),
        box(roifile.ROI_TYPE.OVAL, 13, 4, 19, 14),
    )
    dataset = scan(tmp_path)
    assert dataset.class_names == ((0, "background"), (1, "group 2"), (2, "object"))
    mask = dataset.samples[0].read_mask().values
    assert ((mask[:, :12] == 1).sum(), (mask[:, :12] == 2).sum()) == (80 - 6, 6)
    assert (mask[:, 12:] == 2).sum() == pytest.approx(np.pi * 15, abs=3)


def test_a_composite_has_holes(tmp_path: Path) -> None:
    region = polygon(SQUARE)
    path = []
    for points in (SQUARE, [[5, 6], [8, 6], [8, 9], [5, 9]]):
        for number, (x, y) in enumerate(points):
            path += [1 if number else 0, x, y]
        path.append(4)
    region.roitype, region.integer_coordinates, region.n_coordinates = (
        roifile.ROI_TYPE.RECT,
        None,
        0,
    )
    region.multi_coordinates, region.shape_roi_size = np.array(path, np.float32), len(path)
    write(tmp_path, region)
    assert scan(tmp_path).samples[0].read_mask().values.sum() == 80 - 9


def test_folders_tell_splits(tmp_path: Path) -> None:
    write(tmp_path, polygon(SQUARE), name="train/a.zip", image="train/a.tif")
    write(tmp_path, polygon(SQUARE), name="val/b.roi", image="val/b.tif")
    assert ids_and_splits(tmp_path) == [("train/a", "train"), ("val/b", "val")]


def test_lines_are_left_out_and_counted(tmp_path: Path) -> None:
    line = polygon(SQUARE)
    line.roitype = roifile.ROI_TYPE.POLYLINE
    write(tmp_path, polygon(SQUARE), line)
    (warning,) = [each for each in scan(tmp_path).findings if each.code == "shapes-without-area"]
    assert "(1 polyline)" in warning.message


def test_a_set_of_two_images_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, polygon(SQUARE), name="RoiSet.zip")
    save_image(tmp_path / "b.tif")
    with pytest.raises(LimnerError) as refused:
        scan(tmp_path)
    assert str(refused.value) == (
        f"{path} holds regions, and 2 images may be theirs. Give it the name of its image, such as "
        "x.zip for x.tif, and put it beside the image."
    )


def test_regions_of_several_slices_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, polygon(SQUARE, position=3))
    with pytest.raises(LimnerError, match=f"{path} holds regions of several slices"):
        scan(tmp_path)


def test_a_damaged_region_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, polygon(SQUARE), name="a.roi")
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(LimnerError, match=f"{path} cannot be read"):
        scan(tmp_path)
