"""How large a pixel is, in files that the other side's own libraries write."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image
from rasterio.transform import Affine

from dicom_files import dicom_dataset, save_dicom
from limner.data.images import pixel_size
from limner.data.readers.pixel_size import PixelSize, to_pixel_size

PIXELS = np.arange(48, dtype=np.uint8).reshape(6, 8)


def tiff(folder: Path, **options: Any) -> Path:
    path = folder / "x.tif"
    tifffile.imwrite(path, PIXELS, photometric="minisblack", **options)
    return path


def test_ome_states_height_and_width(tmp_path: Path) -> None:
    path = tmp_path / "x.ome.tif"
    metadata = {
        "axes": "YX",
        "PhysicalSizeX": 0.25,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 0.5,
        "PhysicalSizeYUnit": "µm",
    }
    tifffile.imwrite(path, PIXELS, metadata=metadata)
    assert pixel_size(path) == PixelSize(0.5, 0.25, "µm")


@pytest.mark.parametrize("unit", ["micron", "um", "\\u00B5m"])
def test_imagej_names_its_unit_in_many_ways(tmp_path: Path, unit: str) -> None:
    path = tiff(tmp_path, imagej=True, resolution=(4, 2), metadata={"unit": unit})
    assert pixel_size(path) == PixelSize(0.5, 0.25, "µm")


def test_imagej_without_a_unit_states_none(tmp_path: Path) -> None:
    assert pixel_size(tiff(tmp_path, imagej=True, resolution=(4, 2))) is None


@pytest.mark.parametrize(("dots", "expected"), [(300, None), (20000, PixelSize(1.27, 1.27, "µm"))])
def test_a_resolution_for_printing_is_no_pixel_size(
    tmp_path: Path, dots: int, expected: PixelSize | None
) -> None:
    size = pixel_size(tiff(tmp_path, resolution=(dots, dots), resolutionunit="INCH"))
    assert size == expected


def test_an_aperio_slide_states_micrometres_per_pixel(tmp_path: Path) -> None:
    text = "Aperio Image Library v11.2.1\r\n8x6 [0,0 8x6] (240x240) |AppMag = 20|MPP = 0.4990"
    path = tiff(tmp_path, description=text, metadata=None, tile=(16, 16))
    assert pixel_size(path) == PixelSize(0.499, 0.499, "µm")


def test_a_map_in_metres_feet_and_degrees(tmp_path: Path) -> None:
    sizes = {32633: (0.5, "m"), 2263: (0.5 * 1200 / 3937, "m"), 4326: (0.5, "°")}
    for code, (side, unit) in sizes.items():
        path = tmp_path / f"{code}.tif"
        form = {"driver": "GTiff", "height": 6, "width": 8, "count": 1, "dtype": "uint8"}
        place = Affine(0.5, 0, 10, 0, -0.5, 50)
        with rasterio.open(path, "w", **form, crs=f"EPSG:{code}", transform=place) as file:
            file.write(PIXELS, 1)
        size = pixel_size(path)
        assert size is not None and size.unit == unit
        assert (size.height, size.width) == pytest.approx((side, side))


def test_a_map_that_is_turned_has_the_lengths_of_its_steps(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    form = {"driver": "GTiff", "height": 6, "width": 8, "count": 1, "dtype": "uint8"}
    place = Affine.translation(100, 200) @ Affine.rotation(30) @ Affine.scale(2, -3)
    with rasterio.open(path, "w", **form, crs="EPSG:32633", transform=place) as file:
        file.write(PIXELS, 1)
    size = pixel_size(path)
    assert size is not None and (size.height, size.width) == pytest.approx((3, 2))


def test_dicom_states_rows_first(tmp_path: Path) -> None:
    spacing = {"PixelSpacing": [0.5, 0.25]}
    path = save_dicom(tmp_path / "x.dcm", dicom_dataset(PIXELS, **spacing))
    assert pixel_size(path) == PixelSize(0.5, 0.25, "mm")


def test_enhanced_dicom_states_it_in_its_groups(tmp_path: Path) -> None:
    from pydicom.dataset import Dataset

    measures, group = Dataset(), Dataset()
    measures.PixelSpacing = [0.5, 0.25]
    group.PixelMeasuresSequence = [measures]
    dataset = dicom_dataset(PIXELS, SharedFunctionalGroupsSequence=[group])
    assert pixel_size(save_dicom(tmp_path / "x.dcm", dataset)) == PixelSize(0.5, 0.25, "mm")


def test_a_turned_image_has_its_sides_swapped(tmp_path: Path) -> None:
    extra = [(274, "H", 1, 6, True)]
    path = tiff(tmp_path, extratags=extra, resolution=(40000, 20000), resolutionunit="CENTIMETER")
    assert pixel_size(path) == PixelSize(0.25, 0.5, "µm")


def test_a_photograph_states_none(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "x.png", dpi=(300, 300))
    assert pixel_size(tmp_path / "x.png") is None


def test_what_is_no_size_is_none() -> None:
    assert to_pixel_size("0", "1", "µm") is None
    assert to_pixel_size("nan", "1", "µm") is None
    assert to_pixel_size(None, 1, "µm") is None
    assert to_pixel_size(1, 1, "furlong") is None


def test_sizes_are_given_in_other_units() -> None:
    assert PixelSize(2.0, 1.0, "µm").in_unit("nm") == PixelSize(2000.0, 1000.0, "nm")
    assert PixelSize(2.0, 1.0, "°").in_unit("µm") is None
