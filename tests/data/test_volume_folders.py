"""Folders of volumes and of microscope files, from the scan to a mask of each slice."""

from pathlib import Path

import nibabel
import numpy as np

from limner.data.check import check
from limner.data.image_file import has_image_suffix, without_suffix
from limner.data.scan import scan


def write_volume(path: Path, voxels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([0.5, 0.5, 2.0, 1.0])), path)


def test_a_volume_and_its_mask_are_a_sample_for_each_slice(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    masks = {name: (rng.random((20, 16, 4)) > 0.6).astype(np.uint8) for name in "ab"}
    for name, mask in masks.items():
        write_volume(tmp_path / f"images/{name}.nii.gz", rng.normal(size=mask.shape) + 5 * mask)
        write_volume(tmp_path / f"masks/{name}.nii.gz", mask)
    dataset = scan(tmp_path)
    assert [sample.id for sample in dataset.samples] == [
        f"{name}#{page}" for name in "ab" for page in range(1, 5)
    ]
    assert {sample.group for sample in dataset.samples} == {"a", "b"}
    report = check(dataset)
    assert not report.errors and report.labels is not None
    mask = dataset.samples[2].class_index(report.labels)
    # As radiologists see it: the front at the top, the right at the left
    assert np.array_equal(mask, masks["a"][::-1, ::-1, 2].T)


def test_the_suffix_of_a_packed_volume_is_one() -> None:
    assert has_image_suffix("x.NII.gz") and not has_image_suffix("x.csv.gz")
    assert without_suffix("a.b.nii.gz") == "a.b"
