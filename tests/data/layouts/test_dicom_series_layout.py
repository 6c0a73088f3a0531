"""DICOM series whose masks are volumes, as other programs save them."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from dicom_series import COUNT, HEIGHT, ORIENTATIONS, WIDTH, volume_affine, write_series
from limner.data.check import check
from limner.data.scan import scan
from limner.errors import LimnerError

RNG = np.random.default_rng(0)


def write_mask(path: Path, drawn: np.ndarray, affine: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(drawn.transpose(2, 1, 0), affine), path)


@pytest.mark.parametrize("plane", ORIENTATIONS)
@pytest.mark.parametrize("reverse", [False, True])
def test_slices_are_paired_by_their_place(plane: str, reverse: bool, tmp_path: Path) -> None:
    masks = {name: RNG.integers(0, 2, (COUNT, HEIGHT, WIDTH)).astype(np.uint8) for name in "ab"}
    for name, drawn in masks.items():
        write_series(tmp_path / "scans" / name, plane)
        image = nibabel.Nifti1Image(drawn.transpose(2, 1, 0), volume_affine(plane))
        if reverse:
            # The same places, stored from the last slice on and from right to left
            image = image.as_reoriented([[0, -1], [1, 1], [2, -1]])
        (tmp_path / "masks").mkdir(exist_ok=True)
        nibabel.save(image, tmp_path / "masks" / f"{name}.nii.gz")
    dataset = scan(tmp_path)
    assert dataset.layout == "DICOM series" and len(dataset.samples) == 2 * COUNT
    assert {sample.group for sample in dataset.samples} == {"scans/a", "scans/b"}
    report = check(dataset)
    assert not report.errors and not dataset.unused and report.labels is not None
    for sample in dataset.samples:
        stored = int(sample.image.stem)
        number = next(at for at in range(COUNT) if (at * 3) % COUNT == stored)
        expected = masks[sample.image.parent.name][number]
        assert np.array_equal(sample.class_index(report.labels), expected)


def test_a_mask_beside_its_series_is_its_own(tmp_path: Path) -> None:
    for name in "ab":
        write_series(tmp_path / name / "dicom")
        drawn = RNG.integers(0, 2, (COUNT, HEIGHT, WIDTH)).astype(np.uint8)
        write_mask(tmp_path / name / "seg.nii.gz", drawn, volume_affine())
    write_series(tmp_path / "c" / "dicom")
    dataset = scan(tmp_path)
    assert dataset.layout == "DICOM series" and len(dataset.samples) == 2 * COUNT
    assert len(dataset.images_without_mask) == COUNT


def test_the_mask_of_another_series_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "a")
    drawn = RNG.integers(0, 2, (COUNT, HEIGHT, WIDTH)).astype(np.uint8)
    write_mask(tmp_path / "a.nii.gz", drawn, volume_affine(start=-10.0))
    with pytest.raises(LimnerError, match=r"has no slice of its own: the nearest begins .* away"):
        scan(tmp_path)
