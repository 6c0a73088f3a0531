"""A DICOM series in each plane of the body, and where its voxels lie."""

from pathlib import Path

import numpy as np
from pydicom.uid import CTImageStorage, generate_uid

from dicom_files import dicom_dataset, save_dicom

RNG = np.random.default_rng(0)
COUNT, HEIGHT, WIDTH = 5, 20, 24
ORIENTATIONS = {
    "axial": ([1, 0, 0, 0, 1, 0], [0, 0, 1]),
    "coronal": ([1, 0, 0, 0, 0, -1], [0, 1, 0]),
    "sagittal": ([0, 1, 0, 0, 0, -1], [1, 0, 0]),
}
"""Directions of columns and rows as DICOM has them, and from slice to slice."""


def write_series(folder: Path, plane: str = "axial", start: float = -30.0) -> None:
    """Write slices whose names are in another order than their places."""
    directions, step = ORIENTATIONS[plane]
    series = generate_uid()
    folder.mkdir(parents=True)
    for number in range(COUNT):
        pixels = RNG.integers(0, 999, (HEIGHT, WIDTH)).astype(np.int16)
        dataset = dicom_dataset(pixels, PixelSpacing=[0.5, 0.75], SliceThickness=2.0)
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
        dataset.SeriesInstanceUID = series
        dataset.ImageOrientationPatient = directions
        dataset.ImagePositionPatient = [start + 2.0 * number * value for value in step]
        save_dicom(folder / f"{(number * 3) % COUNT}.dcm", dataset)


def volume_affine(plane: str = "axial", start: float = -30.0) -> np.ndarray:
    """From voxels (column, row, slice) to mm as NIfTI counts."""
    directions, step = ORIENTATIONS[plane]
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1] = 0.75 * np.array(directions[:3]), 0.5 * np.array(directions[3:])
    lps[:3, 2], lps[:3, 3] = 2.0 * np.array(step), start
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps
