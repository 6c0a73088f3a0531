"""Formats that keep where an image lies: maps, bodies, microscopes; read by their libraries."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
import rasterio
import tifffile
from PIL import Image
from rasterio.features import rasterize
from rasterio.transform import Affine

from dicom_files import dicom_dataset, save_dicom
from dicom_series import COUNT, HEIGHT, ORIENTATIONS, WIDTH, volume_affine, write_series
from limner.data.images import read_mask
from limner.errors import LimnerError
from limner.labels import VOID, Labels
from limner.review.formats.write import write_predicted
from limner.review.predictions import Entry, Predictions
from zarr_stores import write_store

LABELS = Labels.from_values(("background", "leaf", "small bug"), (0, 1, 2))
RNG = np.random.default_rng(0)


def mask_of(height: int = 30, width: int = 40, seed: int = 0) -> np.ndarray:
    """Two classes of blobs with holes, and single pixels."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), 2)
    mask = np.where(smooth > 0.1, 1, 0) + np.where(smooth < -0.12, 2, 0)
    mask[0, 0], mask[-1, -1] = 1, 2
    return mask.astype(np.uint8)


def predictions_of(folder: Path, images: dict[str, tuple[Path, int, np.ndarray]]) -> Predictions:
    """Predictions of a model of three classes: the image, the page and the mask of each."""
    entries = []
    for name, (image, page, mask) in images.items():
        path = folder / f"{name}.png"
        Image.fromarray(LABELS.to_pixels(mask)).save(path)
        entries.append(Entry(f"{name}.png", str(image), page, path, priority=0.0))
    return Predictions(folder, LABELS, tuple(entries), (), "x", from_limner=True)


def geotiff(path: Path, place: Affine, code: int = 32633, **options: object) -> Path:
    form = {"driver": "GTiff", "height": 30, "width": 40, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", **form, crs=f"EPSG:{code}", transform=place, **options) as file:
        file.write(RNG.integers(0, 255, (3, 30, 40)).astype(np.uint8))
    return path


PLACES = {
    "north up": Affine(0.5, 0, 400000, 0, -0.5, 5800000),
    "turned": Affine.translation(400000, 5800000) @ Affine.rotation(20) @ Affine.scale(0.5, -2),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_geotiff_lies_where_its_image_does(tmp_path: Path, place: Affine) -> None:
    mask = mask_of()
    image = geotiff(tmp_path / "a.tif", place)
    lost = write_predicted(
        predictions_of(tmp_path, {"a": (image, 0, mask)}), tmp_path / "out", "geotiff"
    )
    assert not lost
    with rasterio.open(tmp_path / "out" / "a.tif") as written, rasterio.open(image) as source:
        assert (written.read(1) == mask).all()
        assert written.crs == source.crs and written.transform == source.transform


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_polygons_in_map_coordinates_are_drawn_by_gdal_as_the_mask(
    tmp_path: Path, place: Affine
) -> None:
    mask = mask_of()
    images = {"a": (geotiff(tmp_path / "a.tif", place), 0, mask)}
    write_predicted(predictions_of(tmp_path, images), tmp_path / "out", "geojson")
    content = json.loads((tmp_path / "out" / "masks.geojson").read_text())
    assert content["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32633"
    drawn = rasterize(
        [
            (each["geometry"], LABELS.names.index(each["properties"]["class"]))
            for each in content["features"]
        ],
        out_shape=mask.shape,
        transform=place,
    )
    assert (drawn == mask).all()
    outer = np.array(content["features"][0]["geometry"]["coordinates"][0])
    area = (outer[:-1, 0] * outer[1:, 1] - outer[1:, 0] * outer[:-1, 1]).sum() / 2
    assert area > 0, "RFC 7946: an outer ring is counter-clockwise"


def test_images_without_a_place_and_of_two_systems_are_named(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    plain = predictions_of(tmp_path, {"b": (tmp_path / "a.png", 0, mask_of())})
    assert write_predicted(plain, tmp_path / "tif", "geotiff") == [
        "1 image has no georeference: the masks of these are in pixels"
    ]
    with pytest.raises(LimnerError, match=r"a\.png has no georeference.*--format qupath"):
        write_predicted(plain, tmp_path / "json", "geojson")
    place = PLACES["north up"]
    images = {
        str(code): (geotiff(tmp_path / f"{code}.tif", place, code), 0, mask_of())
        for code in (32633, 32632)
    }
    with pytest.raises(LimnerError, match=r"in 2 coordinate systems: EPSG:32632 .*gdalwarp"):
        write_predicted(predictions_of(tmp_path, images), tmp_path / "two", "geojson")
    assert not (tmp_path / "json").exists() and not (tmp_path / "two").exists()


def test_an_ome_tiff_has_the_pixel_size_of_its_image(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 999, (30, 40)).astype(np.uint16)
    metadata = {"axes": "YX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels, metadata=metadata)
    mask = mask_of()
    images = {"a": (tmp_path / "a.ome.tif", 0, mask)}
    write_predicted(predictions_of(tmp_path, images), tmp_path / "out", "ome-tiff")
    with tifffile.TiffFile(tmp_path / "out" / "a.ome.tif") as file:
        assert (file.asarray() == mask).all()
        assert 'PhysicalSizeY="0.5"' in str(file.ome_metadata)
        assert "1 = leaf, 2 = small bug" in str(file.ome_metadata)


@pytest.mark.parametrize("directions", ["RAS", "LPS", "PSR", "SLA"])
def test_masks_of_slices_go_back_into_the_volume(tmp_path: Path, directions: str) -> None:
    """As nibabel reads them, with the affine of the image."""
    shape = (12, 10, 4)
    volume = RNG.integers(0, 3, shape).astype(np.uint8)
    codes = nibabel.orientations.axcodes2ornt(tuple(directions))
    affine = nibabel.orientations.inv_ornt_aff(codes, shape) @ np.diag([2.0, 3.0, 4.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(volume, affine), tmp_path / "ct.nii.gz")
    images = {
        f"ct#{page + 1}": (
            tmp_path / "ct.nii.gz",
            page,
            read_mask(tmp_path / "ct.nii.gz", page=page).values.astype(np.uint8),
        )
        for page in range(4)
    }
    assert not write_predicted(predictions_of(tmp_path, images), tmp_path / "out", "nifti")
    written = nibabel.load(tmp_path / "out" / "ct.nii.gz")
    assert (np.asarray(written.dataobj) == volume).all()
    assert np.allclose(written.affine, affine)
    del images["ct#2"]
    lost = write_predicted(predictions_of(tmp_path, images), tmp_path / "less", "nifti")
    assert lost == ["1 slice has no mask and is background"]


def test_a_photograph_becomes_a_flat_volume(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    mask = mask_of()
    images = {"m": (tmp_path / "a.png", 0, mask)}
    write_predicted(predictions_of(tmp_path, images), tmp_path / "out", "nifti")
    assert (read_mask(tmp_path / "out" / "m.nii.gz").values == mask).all()


def test_the_mask_of_a_store_becomes_a_flat_volume_too(tmp_path: Path) -> None:
    write_store(tmp_path / "a.zarr", RNG.integers(0, 255, (2, 30, 40)).astype(np.uint8), "cyx")
    mask = mask_of()
    images = {"m": (tmp_path / "a.zarr", 0, mask)}
    write_predicted(predictions_of(tmp_path, images), tmp_path / "out", "nifti")
    assert (read_mask(tmp_path / "out" / "m.nii.gz").values == mask).all()


def ct_slice(path: Path, frames: int = 1) -> Path:
    from pydicom.uid import CTImageStorage, generate_uid

    pixels = RNG.integers(0, 999, (30, 40)).astype(np.int16)
    dataset = dicom_dataset(pixels, PixelSpacing=[0.5, 0.5], SliceThickness=1.0)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.FrameOfReferenceUID = generate_uid()
    dataset.PatientID, dataset.PatientName, dataset.Modality = "7", "A^B", "CT"
    dataset.PatientBirthDate = dataset.PatientSex = dataset.StudyDate = dataset.StudyTime = ""
    dataset.StudyID = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [0, 0, float(frames)]
    return save_dicom(path, dataset)


def test_dicom_seg_refers_to_its_image_and_highdicom_reads_it(tmp_path: Path) -> None:
    source, mask = ct_slice(tmp_path / "a.dcm"), mask_of()
    images = {"a": (source, 0, mask)}
    write_predicted(predictions_of(tmp_path, images), tmp_path / "out", "dicom-seg")
    written = highdicom.seg.segread(tmp_path / "out" / "a.dcm")
    uid = pydicom.dcmread(source).SOPInstanceUID
    pixels = written.get_pixels_by_source_instance([uid], combine_segments=True)
    assert (pixels[0] == mask).all()
    names = [written.get_segment_description(number).segment_label for number in (1, 2)]
    assert names == ["leaf", "small bug"] and written.PatientID == "7"
    Image.new("RGB", (40, 30)).save(tmp_path / "p.png")
    photo = predictions_of(tmp_path, {"b": (tmp_path / "p.png", 0, mask)})
    with pytest.raises(LimnerError, match=r"p\.png is no DICOM file"):
        write_predicted(photo, tmp_path / "other", "dicom-seg")


@pytest.mark.parametrize("plane", ORIENTATIONS)
def test_the_slices_of_a_series_become_one_volume(plane: str, tmp_path: Path) -> None:
    write_series(tmp_path / "ct", plane)
    images, drawn = {}, {}
    for number in range(COUNT):
        name = f"{(number * 3) % COUNT}"
        drawn[number] = mask_of(HEIGHT, WIDTH, number)
        images[f"case-{name}"] = (tmp_path / "ct" / f"{name}.dcm", 0, drawn[number])
    write_predicted(predictions_of(tmp_path, images), tmp_path / "out", "nifti")
    volume = nibabel.load(tmp_path / "out" / "series.nii.gz")
    expected = volume_affine(plane)
    # Along the axis that rows and columns turn round, which of sagittal slices is to the right
    numbers = list(range(COUNT))
    if plane == "sagittal":
        expected[:3, 3] += (COUNT - 1) * expected[:3, 2]
        expected[:3, 2] *= -1
        numbers.reverse()
    assert np.allclose(volume.affine, expected)
    for place, number in enumerate(numbers):
        assert np.array_equal(np.asarray(volume.dataobj)[:, :, place].T, drawn[number])


def test_slices_without_even_steps_have_a_volume_each(tmp_path: Path) -> None:
    write_series(tmp_path / "ct")
    mask = mask_of(HEIGHT, WIDTH)
    # The third of the five is left out
    images = {f"x{name}": (tmp_path / "ct" / f"{name}.dcm", 0, mask) for name in "0342"}
    lost = write_predicted(predictions_of(tmp_path, images), tmp_path / "out", "nifti")
    assert lost == ["4 slices of series without even steps have a volume each"]
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == 4


def test_a_zip_holds_what_the_folder_would(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    predictions = predictions_of(tmp_path, {"m": (tmp_path / "a.png", 0, mask_of())})
    write_predicted(predictions, tmp_path / "cvat", "cvat")
    write_predicted(predictions, tmp_path / "cvat.zip", "cvat")
    with zipfile.ZipFile(tmp_path / "cvat.zip") as archive:
        names = sorted(archive.namelist())
        assert "labelmap.txt" in names and "SegmentationClass/m.png" in names
        for name in names:
            assert archive.read(name) == (tmp_path / "cvat" / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_void_is_kept_as_no_data_in_a_geotiff(tmp_path: Path) -> None:
    labels = Labels.from_values(("background", "leaf"), (0, 1), (9,))
    mask = mask_of() % 2
    mask[3:6, 3:9] = VOID
    image = geotiff(tmp_path / "a.tif", PLACES["north up"])
    Image.fromarray(np.where(mask == VOID, 9, mask).astype(np.uint8)).save(tmp_path / "m.png")
    entry = Entry("m", str(image), 0, tmp_path / "m.png", priority=0.0)
    predictions = Predictions(tmp_path, labels, (entry,), (), "x", from_limner=False)
    write_predicted(predictions, tmp_path / "out", "geotiff")
    with rasterio.open(tmp_path / "out" / "m.tif") as written:
        assert written.nodata == 255 and (written.read(1) == mask).all()


def test_predictions_are_pre_annotations_of_label_studio(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg")
    predictions = predictions_of(tmp_path, {"deep": (tmp_path / "a.jpg", 0, mask_of())})
    entry = replace(predictions.entries[0], predicted_dice=0.75)
    predictions = replace(predictions, entries=(entry,), models=("runs/x/model.safetensors",))
    prefix = "/data/local-files/?d=photos/"
    write_predicted(predictions, tmp_path / "out", "label-studio", image_prefix=prefix)
    (task,) = json.loads((tmp_path / "out" / "tasks.json").read_text())
    assert task["data"]["image"] == "/data/local-files/?d=photos/deep.jpg"
    (prediction,) = task["predictions"]
    assert prediction["score"] == 0.75 and prediction["model_version"] == "model.safetensors"
    assert len(prediction["result"]) == 2 and "annotations" not in task


def test_nnunet_gets_the_depth_and_the_channels_of_the_images(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 60000, (2, 30, 40)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, metadata={"axes": "CYX"}, ome=True)
    labels = Labels.from_values(("leaf", "bug"), (3, 4))
    mask = mask_of() % 2
    Image.fromarray(labels.to_pixels(mask)).save(tmp_path / "a.png")
    entry = Entry("a.png", str(tmp_path / "a.tif"), 0, tmp_path / "a.png", priority=0.0)
    predictions = Predictions(tmp_path, labels, (entry,), (), "x", from_limner=True)
    write_predicted(predictions, tmp_path / "out", "nnunet")
    for channel in range(2):
        written = np.asarray(Image.open(tmp_path / "out" / f"imagesTr/a_{channel:04d}.png"))
        assert (written == pixels[channel]).all()
    description = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert description["labels"] == {"background": 0, "leaf": 1, "bug": 2}
    assert (np.asarray(Image.open(tmp_path / "out" / "labelsTr/a.png")) == mask + 1).all()
