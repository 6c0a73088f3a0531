"""DICOM SEG, by highdicom: a segmentation of each DICOM image, with a segment for each class."""

from collections.abc import Iterator
from importlib.metadata import version
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from limner.data.storage import Storage
from limner.errors import LimnerError, requires_extra
from limner.labels import VOID
from limner.review.formats.parts import void_lost
from limner.review.kept_masks import KeptMask
from limner.review.predictions import Predictions

EXTRA = "dicom"
SERIES_NUMBER = 9000
"""Of what is made from other series, so that it comes after them."""


def write(out: Storage, masks: Iterator[KeptMask], predictions: Predictions) -> list[str]:
    """Write `x.dcm` for each DICOM file x, which it refers to.

    Returns what the format cannot hold: void.

    Raises LimnerError for an image that is no DICOM.
    """
    void = 0
    for _, group in groupby(masks, key=lambda kept: kept.entry.image):
        pages = {kept.entry.page: kept for kept in group}
        first = next(iter(pages.values()))
        with predictions.image_file(first.entry) as path:
            source = _read_source(path, first)
        content = BytesIO()
        segmentation = _segmentation(source, pages, predictions)
        if segmentation is None:
            # A SEG without a pixel is not allowed
            continue
        segmentation.save_as(content)
        name = first.name.rpartition("#")[0] if first.entry.page or len(pages) > 1 else first.name
        out.write_bytes(f"{name or first.name}.dcm", content.getvalue())
        void += sum(bool((kept.mask == VOID).any()) for kept in pages.values())
    return void_lost(void, "DICOM SEG")


def _read_source(path: Path, kept: KeptMask) -> Any:
    with requires_extra("--format dicom-seg", EXTRA):
        import pydicom
    try:
        return pydicom.dcmread(path)
    except Exception as error:
        raise LimnerError(
            f"{kept.entry.image} is no DICOM file, and a DICOM SEG refers to one. Write --format "
            "nifti or png instead."
        ) from error


def _segmentation(source: Any, pages: dict[int, KeptMask], predictions: Predictions) -> Any:
    """A segmentation of an image, or of the frames of one; None where nothing is segmented."""
    with requires_extra("--format dicom-seg", EXTRA):
        import highdicom
        from pydicom.sr.codedict import codes
    labels = predictions.labels
    numbers = {index: number for number, index in enumerate(labels.scored, start=1)}
    frames = int(source.get("NumberOfFrames", 1) or 1)
    example = next(iter(pages.values())).mask
    pixels = np.zeros((frames, *example.shape), np.uint8)
    for page, kept in pages.items():
        for index, number in numbers.items():
            pixels[page][kept.mask == index] = number
    if not pixels.any():
        return None
    model = highdicom.AlgorithmIdentificationSequence(
        name="limner", version=version("limner"), family=codes.DCM.ArtificialIntelligence
    )
    reviewed = any(kept.is_reviewed for kept in pages.values())
    kinds = highdicom.seg.SegmentAlgorithmTypeValues
    kind = kinds.SEMIAUTOMATIC if reviewed else kinds.AUTOMATIC
    segments = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=labels.names[index],
            # What a class is, limner does not know; its name is in the label
            segmented_property_category=codes.SCT.Tissue,
            segmented_property_type=codes.SCT.Tissue,
            algorithm_type=kind,
            algorithm_identification=model,
        )
        for index, number in numbers.items()
    ]
    return highdicom.seg.Segmentation(
        source_images=[source],
        pixel_array=pixels,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=highdicom.UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="limner",
        manufacturer_model_name="limner",
        software_versions=version("limner"),
        device_serial_number="0",
    )
