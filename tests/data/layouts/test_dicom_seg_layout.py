"""DICOM segmentations that highdicom writes, paired by reference or by the plane's position."""

from pathlib import Path

import highdicom
import numpy as np
import pytest
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, generate_uid

from dicom_files import dicom_dataset, save_dicom
from limner.data.check import check
from limner.data.scan import scan
from limner.errors import LimnerError

RNG = np.random.default_rng(0)
STUDY, SERIES, PLACE = generate_uid(), generate_uid(), generate_uid()


def slices(count: int = 4) -> list:
    """A series of CT slices, from the feet to the head."""
    found = []
    for number in range(count):
        pixels = RNG.integers(0, 999, (20, 24)).astype(np.int16)
        dataset = dicom_dataset(pixels, PixelSpacing=[0.5, 0.5], SliceThickness=1.0)
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, SERIES
        dataset.FrameOfReferenceUID, dataset.Modality = PLACE, "CT"
        dataset.PatientID, dataset.PatientName = "7", "A^B"
        dataset.PatientBirthDate = dataset.PatientSex = dataset.StudyDate = ""
        dataset.StudyTime = dataset.StudyID = dataset.AccessionNumber = ""
        dataset.ReferringPhysicianName = ""
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.ImagePositionPatient = [0, 0, float(number)]
        found.append(dataset)
    return found


def masks(count: int = 4) -> np.ndarray:
    """Two classes; the third slice is empty, and such frames are left out."""
    drawn = RNG.integers(0, 3, (count, 20, 24)).astype(np.uint8)
    drawn[2] = 0
    return drawn


def segmentation(
    images: list, drawn: np.ndarray, kind: str = "BINARY"
) -> highdicom.seg.Segmentation:
    segments = [
        highdicom.seg.SegmentDescription(
            number,
            name,
            codes.SCT.Tissue,
            codes.SCT.Kidney,
            highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, name in ((1, "tumour"), (2, "cyst"))
    ]
    return highdicom.seg.Segmentation(
        images, drawn, kind, segments, generate_uid(), 9, generate_uid(), 1, "m", "n", "1", "0"
    )


def write(root: Path, images: list, found: highdicom.seg.Segmentation) -> None:
    (root / "ct").mkdir(parents=True)
    for number, image in enumerate(images):
        # Not in the order of their places
        save_dicom(root / "ct" / f"{(number * 7) % 5}.dcm", image)
    (root / "seg").mkdir()
    found.save_as(root / "seg" / "s.dcm")


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
def test_frames_are_paired_with_the_images_that_they_refer_to(tmp_path: Path, kind: str) -> None:
    images, drawn = slices(), masks()
    found = segmentation(images, drawn, kind)
    write(tmp_path, images, found)
    dataset = scan(tmp_path)
    assert dataset.layout == "DICOM SEG" and len(dataset.samples) == 4
    assert dataset.class_names == ((0, "background"), (1, "cyst"), (2, "tumour"))
    expected = np.array([0, 2, 1], np.uint8)[drawn]
    for sample in dataset.samples:
        number = [(index * 7) % 5 for index in range(4)].index(int(sample.image.stem))
        assert (sample.read_mask().values == expected[number]).all()
    assert not check(dataset).errors and not dataset.unused


def test_frames_without_a_reference_are_paired_by_their_plane(tmp_path: Path) -> None:
    images, drawn = slices(), masks()
    found = segmentation(images, drawn)
    for frame in found.PerFrameFunctionalGroupsSequence:
        del frame.DerivationImageSequence
    write(tmp_path, images, found)
    masks_found = {int(each.image.stem): each.read_mask().values for each in scan(tmp_path).samples}
    assert (masks_found[0] == np.array([0, 2, 1], np.uint8)[drawn[0]]).all()


def test_a_frame_of_an_image_that_is_not_there_is_named(tmp_path: Path) -> None:
    images, drawn = slices(), masks()
    write(tmp_path, images[:3], segmentation(images, drawn))
    with pytest.raises(LimnerError, match=r"s\.dcm, frame \d+, is about an image that is not"):
        scan(tmp_path)
