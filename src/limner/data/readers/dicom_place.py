"""Where the slices of a DICOM series lie in the body."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from limner.data.readers import dicom
from limner.data.readers.dicom_file import read_tags

TAGS = ("SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
LPS = np.array([-1.0, -1.0, 1.0])
"""DICOM counts to the left and the back, and NIfTI to the right and the front."""
EVEN = 0.05
"""Of the distance between slices, by which each may lie elsewhere than even steps have it."""


@dataclass(frozen=True, slots=True)
class SlicePlace:
    """Where a slice lies, in mm as DICOM counts."""

    series: str
    corner: Float[ndarray, "3"]
    """The middle of the first pixel."""
    along_row: Float[ndarray, "3"]
    """From a pixel to the next of its row."""
    along_column: Float[ndarray, "3"]
    """From a pixel to the next of its column."""

    @property
    def spacing(self) -> float:
        """The shorter side of a pixel."""
        return float(min(map(np.linalg.norm, (self.along_row, self.along_column))))


def may_be_dicom(path: Path) -> bool:
    """Whether a file's suffix is one that DICOM has: its own, a number, or none."""
    suffix = path.suffix.lower()
    return suffix in dicom.SUFFIXES or not suffix or suffix[1:].isdigit()


def read_place(path: Path) -> SlicePlace | None:
    """Read where a file's image lies; None for another format, and where the file does not say."""
    head = read_tags(path, TAGS)
    if head is None or not all(head.get(tag) for tag in TAGS):
        return None
    directions = np.array([float(value) for value in head["ImageOrientationPatient"]])
    down, across = (float(value) for value in head["PixelSpacing"])
    return SlicePlace(
        str(head["SeriesInstanceUID"]),
        np.array([float(value) for value in head["ImagePositionPatient"]]),
        directions[:3] * across,
        directions[3:] * down,
    )


def order_slices(places: Sequence[SlicePlace]) -> list[int]:
    """The order of slices along the axis that stands on them, from the feet to the head and so on.

    Returns positions in `places`.
    """
    normal = np.cross(places[0].along_row, places[0].along_column)
    return np.argsort([float(place.corner @ normal) for place in places], kind="stable").tolist()


def series_affine(places: Sequence[SlicePlace]) -> Float[ndarray, "4 4"] | None:
    """The affine of slices in their order: from column, row and slice to millimetres (RAS+).

    None where they do not lie in even steps, or in several directions.
    """
    first, last = places[0], places[-1]
    step = (last.corner - first.corner) / max(len(places) - 1, 1)
    length = float(np.linalg.norm(step))
    if len(places) > 1 and length == 0:
        return None
    for index, place in enumerate(places):
        away = np.linalg.norm(place.corner - first.corner - index * step)
        same = np.allclose(place.along_row, first.along_row, atol=1e-3)
        if away > EVEN * length or not (
            same and np.allclose(place.along_column, first.along_column, atol=1e-3)
        ):
            return None
    affine = np.eye(4)
    columns = (first.along_row, first.along_column, step, first.corner)
    for index, column in enumerate(columns):
        affine[:3, index] = column * LPS
    return affine
