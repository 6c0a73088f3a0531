"""Segmentations that highdicom writes, read as masks."""

from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from highdicom.sr.coding import CodedConcept
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RLELossless, generate_uid

from dicom_files import dicom_dataset, save_dicom
from limner.data.images import page_count, read_image, read_mask
from limner.errors import LimnerError

STUDY, SERIES, FRAME = generate_uid(), generate_uid(), generate_uid()
TISSUE = CodedConcept("85756007", "SCT", "Tissue")


def slices(count: int) -> list[Any]:
    """Images of a CT series."""
    images = []
    for index in range(count):
        image = dicom_dataset(np.full((9, 11), 100 * index, np.int16))
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = CTImageStorage
        image.PatientName, image.PatientID, image.StudyID = "Doe^Jo", "1", "1"
        image.PatientBirthDate = image.PatientSex = image.AccessionNumber = ""
        image.StudyDate, image.StudyTime, image.ReferringPhysicianName = "20200101", "101010", ""
        image.StudyInstanceUID, image.SeriesInstanceUID = STUDY, SERIES
        image.FrameOfReferenceUID, image.Modality = FRAME, "CT"
        image.PositionReferenceIndicator = ""
        image.SeriesNumber, image.InstanceNumber = 1, index + 1
        image.ImagePositionPatient = [0, 0, 5 * index]
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        image.PixelSpacing, image.SliceThickness = [1, 1], 5
        images.append(image)
    return images


def write_segmentation(
    path: Path, masks: np.ndarray, kind: str = "BINARY", syntax: str = ExplicitVRLittleEndian
) -> Path:
    segments = masks.shape[-1] if masks.ndim == 4 else int(masks.max())
    descriptions = [
        highdicom.seg.SegmentDescription(
            number,
            f"part {number}",
            TISSUE,
            TISSUE,
            highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number in range(1, segments + 1)
    ]
    segmentation = highdicom.seg.Segmentation(
        slices(len(masks)),
        masks,
        kind,
        descriptions,
        generate_uid(),
        2,
        generate_uid(),
        1,
        "maker",
        "model",
        "1",
        "0",
        transfer_syntax_uid=syntax,
    )
    return save_dicom(path, segmentation)


def two_segments(count: int = 1) -> np.ndarray:
    masks = np.zeros((count, 9, 11), np.uint8)
    masks[:, 1:4, 2:9], masks[:, 5:8, 1:5] = 1, 2
    return masks


@pytest.mark.parametrize(
    ("kind", "syntax"),
    [
        ("BINARY", ExplicitVRLittleEndian),
        ("LABELMAP", ExplicitVRLittleEndian),
        ("LABELMAP", RLELossless),
    ],
)
def test_a_segmentation_of_one_image_is_a_mask(tmp_path: Path, kind: str, syntax: str) -> None:
    path = write_segmentation(tmp_path / "x", two_segments(), kind, syntax)
    assert page_count(path) == 1
    assert (read_mask(path).values == two_segments()[0]).all()


def test_a_segmentation_of_several_images_is_named(tmp_path: Path) -> None:
    path = write_segmentation(tmp_path / "x", two_segments(3))
    with pytest.raises(LimnerError, match=r"\(SEG\) of 3 images, and its frames are not in their"):
        read_mask(path)


def test_parts_of_different_images_are_no_mask_of_one(tmp_path: Path) -> None:
    """Empty frames are left out: each segment has one frame, and these are of two images."""
    masks = two_segments(2)
    masks[0][masks[0] == 2] = 0
    masks[1][masks[1] == 1] = 0
    with pytest.raises(LimnerError, match=r"\(SEG\) of 2 images"):
        read_mask(write_segmentation(tmp_path / "x", masks))


def test_segments_that_overlap_are_named(tmp_path: Path) -> None:
    masks = np.zeros((1, 9, 11, 2), np.uint8)
    masks[0, 1:4, 2:9, 0] = masks[0, 3:6, 2:9, 1] = 1
    path = write_segmentation(tmp_path / "x", masks)
    with pytest.raises(LimnerError, match=r"whose segments 1 and 2 overlap\. A pixel of a mask"):
        read_mask(path)


def test_shares_are_named(tmp_path: Path) -> None:
    path = write_segmentation(tmp_path / "x", two_segments() == 1, "FRACTIONAL")
    with pytest.raises(LimnerError, match="of the kind FRACTIONAL, whose pixels are shares"):
        read_mask(path)


def test_a_segmentation_is_no_image(tmp_path: Path) -> None:
    path = write_segmentation(tmp_path / "x", two_segments())
    with pytest.raises(LimnerError, match=r"is a DICOM segmentation \(SEG\), which is a mask"):
        read_image(path)
