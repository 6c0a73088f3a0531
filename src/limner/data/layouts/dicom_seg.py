"""DICOM images with DICOM segmentations (SEG), which are paired by what they refer to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.data.annotated_images import AnnotatedImage, AnnotatedSet, sample_id
from limner.data.annotation_tools import DICOM_SEG, require_one_tool
from limner.data.folder_listing import FolderListing
from limner.data.layout_match import LayoutMatch
from limner.data.readers import dicom
from limner.data.readers.dicom_file import read_tags
from limner.data.readers.dicom_segmentation import (
    SEGMENTATION_CLASSES,
    segment_number,
    source_image,
)
from limner.data.split_names import splits_of
from limner.errors import LimnerError

HEAD_TAGS = ("SOPClassUID", "SOPInstanceUID", "ImagePositionPatient", "NumberOfFrames")
SUFFIXES = dicom.SUFFIXES | {""}
DIGITS = 3
"""Of a position in mm, by which a plane is known."""

Position = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Series:
    """The images of a folder, by their identity and by where they lie in the body."""

    by_uid: Mapping[str, Path]
    by_position: Mapping[Position, Path]


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """DICOM SEG: DICOM images and segmentations of them, in any folders, paired by reference"""
    candidates = [path for path in listing.images() if path.suffix.lower() in SUFFIXES]
    heads = {path: head for path in candidates if (head := read_tags(path, HEAD_TAGS)) is not None}
    segmentations = [path for path, head in heads.items() if _is_segmentation(head)]
    if not segmentations or len(segmentations) == len(heads):
        return None
    require_one_tool(listing, DICOM_SEG, segmentations)
    images = {path: head for path, head in heads.items() if not _is_segmentation(head)}
    series = _Series(
        {str(head.get("SOPInstanceUID")): path for path, head in images.items()},
        {
            position: path
            for path, head in images.items()
            if (position := _rounded(head.get("ImagePositionPatient")))
        },
    )
    splits = splits_of({path: path.relative_to(listing.root).parts[:-1] for path in images})
    objects: dict[Path, list[tuple[str, dict[str, Any]]]] = {}
    files: dict[Path, Path] = {}
    for file in segmentations:
        for image, found in _objects_of(file, series).items():
            objects.setdefault(image, []).extend(found)
            files.setdefault(image, file)
    annotated = [
        AnnotatedImage(
            sample_id(image, listing.root), image, files[image], None, found, splits[image]
        )
        for image, found in objects.items()
    ]
    return AnnotatedSet(tool=DICOM_SEG, files=segmentations, images=annotated).to_match(listing)


def _is_segmentation(head: Any) -> bool:
    return str(head.get("SOPClassUID", "")) in SEGMENTATION_CLASSES


def _rounded(position: Any) -> Position:
    return tuple(round(float(value), DIGITS) for value in position or ())


def _objects_of(file: Path, series: _Series) -> dict[Path, list[tuple[str, dict[str, Any]]]]:
    """The segments of each image that a segmentation is about; empty for one without any.

    Raises LimnerError where a frame belongs to an image that is not in the folder.
    """
    import pydicom

    content = pydicom.dcmread(file, stop_before_pixels=True)
    names = _segment_names(content)
    found: dict[Path, list[tuple[str, dict[str, Any]]]] = {
        series.by_uid[uid]: [] for uid in _referenced(content) if uid in series.by_uid
    }
    is_map = content.get("SegmentationType") == "LABELMAP"
    for index, frame in enumerate(content.get("PerFrameFunctionalGroupsSequence") or []):
        image = _image_of(file, index, frame, series)
        place = {"file": str(file), "frame": index}
        if is_map:
            pairs = [(name, place | {"segment": number}) for number, name in names.items()]
        else:
            pairs = [(names[segment_number(content, index)], place)]
        found.setdefault(image, []).extend(pairs)
    return found


def _segment_names(content: Any) -> dict[int, str]:
    return {
        int(segment.SegmentNumber): str(segment.SegmentLabel)
        for segment in content.SegmentSequence
        if int(segment.SegmentNumber) > 0
    }


def _referenced(content: Any) -> Iterator[str]:
    """The images that a segmentation lists, also those of which it has no frame: empty ones."""
    for sequence in content.get("ReferencedSeriesSequence") or []:
        for instance in sequence.get("ReferencedInstanceSequence") or []:
            yield str(instance.ReferencedSOPInstanceUID)


def _image_of(file: Path, index: int, frame: Any, series: _Series) -> Path:
    """The image of a frame: by reference, else by where its plane lies."""
    uid, number = source_image(frame) or ("", "")
    if number not in {"", "1"}:
        raise LimnerError(
            f"{file}, frame {index + 1}, refers to frame {number} of a DICOM of several frames. "
            "Segmentations of single images are paired: export the series as a file for each image."
        )
    if uid in series.by_uid:
        return series.by_uid[uid]
    for plane in frame.get("PlanePositionSequence") or []:
        position = _rounded(plane.get("ImagePositionPatient"))
        if position in series.by_position:
            return series.by_position[position]
    raise LimnerError(
        f"{file}, frame {index + 1}, is about an image that is not there (SOP instance "
        f"{uid or 'unknown'}). Put the series beside it."
    )
