"""DICOM segmentations (SEG) of one image, as a mask of segment numbers (PS3.3 A.51, C.8.20)."""

from typing import Any

import numpy as np
from jaxtyping import UInt16
from numpy import ndarray

from limner.data.readers.decoded import UnsupportedImageError
from limner.data.readers.dicom_codecs import FrameLayout
from limner.data.readers.dicom_file import DicomFile
from limner.data.readers.dicom_frame import frame_count, read_frame

SEGMENTATION_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Segments in frames of their own, and label maps."""


def is_segmentation(attributes: Any) -> bool:
    """Tell a segmentation by what it says of itself."""
    return attributes.get("SOPClassUID") in SEGMENTATION_CLASSES


def require_one_image(attributes: Any) -> None:
    """Raise UnsupportedImageError for a segmentation that is not a mask of one image.

    Its frames are in an order of their own, and empty ones are left out. So a frame's number does
    not tell which image of a series it belongs to.
    """
    kind = attributes.get("SegmentationType", "BINARY")
    if kind == "FRACTIONAL":
        raise UnsupportedImageError(
            "is a DICOM segmentation (SEG) of the kind FRACTIONAL, whose pixels are shares. "
            "BINARY and LABELMAP are read: export it as one of them, or as PNG."
        )
    images = _count_images(attributes)
    if images > 1:
        raise UnsupportedImageError(
            f"is a DICOM segmentation (SEG) of {images} images, and its frames are not in their "
            "order. One of a single image is read: export one mask for each image, such as a PNG, "
            "with highdicom (get_pixels_by_source_instance) or 3D Slicer."
        )


def read_segments(dicom: DicomFile, layout: FrameLayout) -> UInt16[ndarray, "h w"]:
    """Read which segment each pixel is in, by its number; 0 is none.

    Raises:
        UnsupportedImageError: Segments overlap.
    """
    start = dicom.content.tell()
    mask = np.zeros((layout.height, layout.width), np.uint16)
    if dicom.attributes.get("SegmentationType") == "LABELMAP":
        return read_frame(dicom, layout, 0).pixels.astype(np.uint16)
    for index in range(frame_count(dicom.attributes)):
        dicom.content.seek(start)
        inside = read_frame(dicom, layout, index).pixels > 0
        number = segment_number(dicom.attributes, index)
        if (mask[inside] > 0).any():
            other = int(mask[inside].max())
            raise UnsupportedImageError(
                f"is a DICOM segmentation (SEG) whose segments {other} and {number} overlap. A "
                "pixel of a mask has one class: export segments that do not."
            )
        mask[inside] = number
    return mask


def _count_images(attributes: Any) -> int:
    """Count the images that the frames are about, by what they refer to and where they lie."""
    frames = attributes.get("PerFrameFunctionalGroupsSequence") or []
    places = {(source_image(frame), _position(frame)) for frame in frames}
    numbers = [segment_number(attributes, index) for index in range(len(frames))]
    # Where a file says neither, a segment that comes twice comes from two images
    return max(len(places), *(numbers.count(number) for number in set(numbers)), 1)


def segment_number(attributes: Any, index: int) -> int:
    """Tell which segment a frame shows."""
    shared = (attributes.get("SharedFunctionalGroupsSequence") or [])[:1]
    frames = (attributes.get("PerFrameFunctionalGroupsSequence") or [])[index : index + 1]
    for group in (*frames, *shared):
        for item in group.get("SegmentIdentificationSequence") or []:
            return int(item.ReferencedSegmentNumber)
    return 1


def source_image(frame: Any) -> tuple[str, str] | None:
    """Tell which image a frame is about: its SOP instance, and the frame of it, if it says so."""
    for derivation in frame.get("DerivationImageSequence") or []:
        for source in derivation.get("SourceImageSequence") or []:
            number = source.get("ReferencedFrameNumber", "")
            return str(source.get("ReferencedSOPInstanceUID", "")), str(number)
    return None


def _position(frame: Any) -> str:
    keywords = ("PlanePositionSequence", "PlanePositionSlideSequence")
    items = [item for keyword in keywords for item in frame.get(keyword) or []]
    return str(items[0]) if items else ""
