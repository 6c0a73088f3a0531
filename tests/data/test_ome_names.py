"""Names of OME-TIFFs: the suffix of x.ome.tif is .ome.tif."""

from pathlib import Path

import pytest

from dataset_folders import ids_and_splits, save_image
from limner.data.groups import ids_by_name
from limner.data.image_file import without_suffix
from limner.data.scan import scan
from limner.inference.prediction_job import mask_names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x.ome.tif", "x"),
        ("a/x.y.OME.TIFF", "a/x.y"),
        ("x.tif", "x"),
        ("x.ome.png", "x.ome"),
        ("home.tif", "home"),
        ("x.ome", "x"),
        ("a.b/x", "a.b/x"),
    ],
)
def test_the_suffix_of_an_ome_tiff_has_two_parts(name: str, expected: str) -> None:
    assert without_suffix(name) == expected


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("images/{}.ome.tif", "masks/{}.tif"),
        ("images/{}.ome.tiff", "masks/{}.png"),
        ("images/{}.png", "masks/{}_mask.ome.tif"),
        ("images/{}.ome.tif", "masks/{}.ome.tif"),
        ("{}.ome.tif", "{}_mask.tif"),
        ("{}.OME.TIF", "{}_mask.ome.tif"),
        ("{}.ome.tif", "{}-seg.png"),
    ],
)
def test_an_ome_tiff_is_paired_by_its_name_without_both_parts(
    tmp_path: Path, images: str, masks: str
) -> None:
    for name in ("x", "y"):
        (tmp_path / images.format(name)).parent.mkdir(exist_ok=True)
        save_image(tmp_path / "image.tif")
        (tmp_path / "image.tif").rename(tmp_path / images.format(name))
        save_image(tmp_path / "mask.tif")
        (tmp_path / masks.format(name)).parent.mkdir(exist_ok=True)
        (tmp_path / "mask.tif").rename(tmp_path / masks.format(name))
    assert [sample_id for sample_id, _ in ids_and_splits(tmp_path)] == ["x", "y"]
    dataset = scan(tmp_path)
    assert not dataset.unused
    assert "x" in ids_by_name(tmp_path, dataset.samples)


def test_an_ome_tiff_in_a_table_is_named_without_both_parts(tmp_path: Path) -> None:
    save_image(tmp_path / "pictures" / "x.tif")
    (tmp_path / "pictures" / "x.tif").rename(tmp_path / "pictures" / "x.ome.tif")
    save_image(tmp_path / "drawn.png")
    (tmp_path / "all.csv").write_text("image,mask\npictures/x.ome.tif,drawn.png\n")
    assert ids_and_splits(tmp_path) == [("pictures/x", None)]


def test_the_mask_of_an_ome_tiff_is_named_as_the_image() -> None:
    assert mask_names(["a/x.ome.tif", "y.tif"]) == {"a/x.ome.tif": "a/x.png", "y.tif": "y.png"}
