from pathlib import Path

import numpy as np
import pytest

from limner.data.check import check
from limner.data.scan import scan
from limner.errors import LimnerError
from limner.inference.image_selection import ImageSelection
from zarr_stores import write_labels, write_store


def write_set(root: Path, *names: str) -> dict[str, np.ndarray]:
    masks = {}
    for seed, name in enumerate(names):
        rng = np.random.default_rng(seed)
        mask = (rng.random((2, 24, 30)) > 0.5).astype(np.uint8)
        pixels = (1000 * mask.astype(int) + rng.integers(0, 300, mask.shape)).astype(np.uint16)
        group = write_store(root / f"{name}.ome.zarr", pixels, "zyx")
        write_labels(group, {"cells": mask}, "zyx")
        masks[name] = mask
    return masks


def test_the_labels_of_a_store_are_its_masks(tmp_path: Path) -> None:
    masks = write_set(tmp_path, "train/a", "train/b", "val/c")
    write_store(tmp_path / "train" / "bare.zarr", np.zeros((4, 4), np.uint8), "yx")
    dataset = scan(tmp_path)
    assert dataset.layout == "OME-Zarr"
    assert [(sample.id, sample.split) for sample in dataset.samples] == [
        ("train/a#1", "train"),
        ("train/a#2", "train"),
        ("train/b#1", "train"),
        ("train/b#2", "train"),
        ("val/c#1", "val"),
        ("val/c#2", "val"),
    ]
    report = check(dataset)
    assert not report.errors and report.labels is not None
    assert np.array_equal(dataset.samples[1].class_index(report.labels), masks["train/a"][1])
    (note,) = (finding for finding in dataset.findings if finding.code == "not-annotated")
    assert "bare.zarr" in note.message


def test_stores_are_paired_with_masks_in_a_folder_too(tmp_path: Path) -> None:
    for name in "ab":
        for folder, pixels in (("images", 90), ("masks", 1)):
            values = np.full((20, 30), pixels, np.uint8)
            values[:, :9] = 0
            write_store(tmp_path / folder / f"{name}.zarr", values, "yx")
    dataset = scan(tmp_path)
    assert [sample.id for sample in dataset.samples] == ["a", "b"]
    assert not check(dataset).errors


def test_several_labels_are_asked_about(tmp_path: Path) -> None:
    group = write_store(tmp_path / "x.zarr", np.zeros((20, 30), np.uint8), "yx")
    values = np.zeros((20, 30), np.uint8)
    write_labels(group, {"cells": values, "nuclei": values}, "yx")
    with pytest.raises(LimnerError, match="holds the labels cells, nuclei"):
        scan(tmp_path)


def test_a_store_is_selected_as_one_image(tmp_path: Path) -> None:
    write_set(tmp_path, "a", "b")
    alone = ImageSelection.from_paths([str(tmp_path / "a.ome.zarr")])
    assert alone.names == ("a.ome.zarr",)
    assert ImageSelection.from_paths([str(tmp_path)]).names == ("a.ome.zarr", "b.ome.zarr")
