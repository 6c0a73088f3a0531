"""Segments of DICOM segmentations: a frame, and of a label map the number in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limner.data.readers.dicom_file import DicomFile, open_dicom
from limner.data.readers.dicom_frame import read_frame, read_layout
from limner.data.shapes.part import ShapePart, part_in_box


def draw_dicom_segment(shape: Mapping[str, Any], size_px: tuple[int, int]) -> ShapePart:
    """Read the pixels of a segment in one image.

    Args:
        shape: The `file`, its `frame` counted from 0, and of a label map the `segment`.
        size_px: Height and width of the image.

    Raises ValueError for a frame of another size. A fractional segment holds what has at least half
    of the largest value.
    """
    with Path(shape["file"]).open("rb") as file:
        dicom = open_dicom(file)
        frame = read_frame(dicom, read_layout(dicom), int(shape["frame"])).pixels
        if frame.shape != size_px:
            raise ValueError(
                f"a segment has {frame.shape[1]}x{frame.shape[0]} pixels, and its image "
                f"{size_px[1]}x{size_px[0]}"
            )
        if "segment" in shape:
            return part_in_box(0, 0, frame == shape["segment"], size_px)
        return part_in_box(0, 0, frame >= _least(dicom), size_px)


def _least(dicom: DicomFile) -> float:
    """The least value that is inside."""
    if dicom.attributes.get("SegmentationType") != "FRACTIONAL":
        return 1.0
    return float(dicom.attributes.MaximumFractionalValue) / 2
