from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.data.dataset import Dataset
from limner.data.scan import scan
from limner.errors import LimnerError
from limner.inference.label_alignment import AlignedLabels, align_labels
from limner.labels import Labels
from shapes import disc

BINARY = Labels.from_values(("background", "lesion"), (0, 255))
THREE = Labels.from_values(("background", "cell", "debris"), (0, 1, 2))
Pairs = Callable[..., Path]


def discs(value: int) -> dict[str, np.ndarray]:
    return {f"{i}": np.roll(disc(32, value, 6), i, axis=1) for i in range(4)}


def align(model: Labels, dataset: Dataset) -> AlignedLabels:
    return align_labels(model, dataset, dataset.samples)


def areas(dataset: Dataset, labels: Labels) -> list[int]:
    """The pixels of class 1 in each mask."""
    return [int((sample.class_index(labels) == 1).sum()) for sample in dataset.samples]


def test_masks_that_are_coded_as_the_model_s_need_no_note(pairs: Pairs) -> None:
    assert align(BINARY, scan(pairs(discs(255)))) == AlignedLabels(BINARY)


@pytest.mark.parametrize("value", [1, 7, 128])
def test_two_classes_are_the_same_whatever_their_values(value: int, pairs: Pairs) -> None:
    dataset = scan(pairs(discs(value)))
    aligned = align(BINARY, dataset)
    assert aligned.labels.names == BINARY.names and f"{value}" in aligned.note
    assert areas(dataset, aligned.labels) == areas(scan(pairs(discs(255), "same")), BINARY)


def test_ones_are_no_background_for_a_model_of_smeared_masks(pairs: Pairs) -> None:
    smeared = Labels(("background", "lesion"), (((0, 127),), ((128, 255),)))
    dataset = scan(pairs(discs(1)))
    assert min(areas(dataset, align(smeared, dataset).labels)) > 50


def test_colours_are_matched_where_there_are_two_classes(pairs: Pairs) -> None:
    root = pairs(discs(255))
    for path in (root / "masks").iterdir():
        with Image.open(path) as mask:
            grey = np.asarray(mask)
        Image.fromarray(grey[..., None] * np.array([1, 0, 0], np.uint8)).save(path)
    dataset = scan(root)
    assert min(areas(dataset, align(BINARY, dataset).labels)) > 50


def test_the_folder_s_own_labels_toml_is_heard(pairs: Pairs) -> None:
    root = pairs({name: mask * 2 for name, mask in discs(1).items()})
    (root / "labels.toml").write_text("void = [9]\n[classes]\ncell = 2\nbackground = 0\n")
    dataset = scan(root)
    aligned = align(THREE, dataset)
    # The folder has two of the model's classes, under other values
    assert aligned.labels.class_of(2) == 1 and aligned.labels.class_of(9) == 255
    assert "matched by class" in aligned.note


def test_a_class_that_the_model_does_not_know_is_named(pairs: Pairs) -> None:
    root = pairs(discs(1))
    (root / "labels.toml").write_text("[classes]\nbackground = 0\nnerve = 1\nvessel = 2\n")
    with pytest.raises(LimnerError, match=r"classes nerve, vessel, which the model does not know"):
        align(THREE, scan(root))


def test_values_that_tell_nothing_are_refused_with_lines_that_can_be_pasted(pairs: Pairs) -> None:
    masks = {name: np.where(mask, 40 + int(name) % 2, 0) for name, mask in discs(1).items()}
    root = pairs({name: mask.astype(np.uint8) for name, mask in masks.items()})
    with pytest.raises(LimnerError) as error:
        align(THREE, scan(root))
    lines = str(error.value).split("such as:\n")[1]
    lines = lines.replace("cell = 1", "cell = 40").replace("debris = 2", "debris = 41")
    (root / "labels.toml").write_text(lines)
    assert align(THREE, scan(root)).labels.class_of(41) == 2


def test_a_part_of_the_classes_is_coded_as_the_model_s(pairs: Pairs) -> None:
    assert align(THREE, scan(pairs(discs(2)))) == AlignedLabels(THREE)


def test_a_mask_that_cannot_be_read_is_left_to_the_scoring(pairs: Pairs) -> None:
    root = pairs(discs(1))
    (root / "masks" / "0.png").write_bytes(b"broken")
    assert align(BINARY, scan(root)).labels.class_of(1) == 1
    for path in (root / "masks").iterdir():
        path.write_bytes(b"broken")
    assert align(BINARY, scan(root)) == AlignedLabels(BINARY)
