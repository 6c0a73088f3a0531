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
    root = pairs({name: mask + np.roll(mask * 2, 16, 0) for name, mask in discs(1).items()})
    # Mask 3 is in the range of rock, but nothing has it
    (root / "labels.toml").write_text(
        '[classes]\nbackground = 0\nnerve = 1\nvessel = 2\nrock = "5-9"\n'
    )
    with pytest.raises(LimnerError) as error:
        align(THREE, scan(root))
    assert "have the classes nerve (1), vessel (2), which the model does not know" in str(
        error.value
    )
    assert "rock" not in str(error.value) and "guessed by the order" in str(error.value)
    assert f"Change {root / 'labels.toml'}" in str(error.value)
    labels = paste(root, error.value)
    assert labels.describe() == "0 = background, 1 = cell, 2 = debris"


def test_a_class_that_no_mask_has_need_not_be_known(pairs: Pairs) -> None:
    root = pairs(discs(1))
    (root / "labels.toml").write_text('[classes]\nbackground = 0\ncell = 1\nrock = "5-9"\n')
    assert align(THREE, scan(root)).labels.class_of(1) == 1


def paste(root: Path, error: LimnerError, model: Labels = THREE) -> Labels:
    """Write the lines of an error as people do; return how the masks are then read."""
    (root / "labels.toml").write_text(str(error).split("such as:\n")[1])
    dataset = scan(root)
    labels = align(model, dataset).labels
    for sample in dataset.samples:
        sample.class_index(labels)
    return labels


def test_values_that_tell_nothing_are_refused_with_lines_that_can_be_pasted(pairs: Pairs) -> None:
    masks = {name: np.where(mask, 40 + int(name) % 2, 0) for name, mask in discs(1).items()}
    root = pairs({name: mask.astype(np.uint8) for name, mask in masks.items()})
    with pytest.raises(LimnerError, match=r"the values 40, 41, which the model does not") as error:
        align(THREE, scan(root))
    assert paste(root, error.value).describe() == "0 = background, 40 = cell, 41 = debris"


def test_values_that_are_no_coding_are_void_in_the_lines(pairs: Pairs) -> None:
    masks = {
        name: mask + np.roll(mask, 16, 0) * (90 + int(name)) for name, mask in discs(1).items()
    }
    root = pairs({name: mask.astype(np.uint8) for name, mask in masks.items()})
    with pytest.raises(LimnerError, match="do not tell by themselves what they mean") as error:
        align(THREE, scan(root))
    assert "What is void is left out of the scores" in str(error.value)
    assert paste(root, error.value).describe() == (
        "0 = background, 1 = cell, 90 = debris, 91-93 = void"
    )


def test_the_lines_for_coloured_masks_are_colours(pairs: Pairs) -> None:
    root = pairs(discs(1))
    for number, path in enumerate(sorted((root / "masks").iterdir())):
        with Image.open(path) as mask:
            grey = np.asarray(mask)
        colour = np.array([[255, 0, 16], [0, 200, 0]], np.uint8)[number % 2]
        Image.fromarray(grey[..., None] * colour).save(path)
    with pytest.raises(LimnerError) as error:
        align(THREE, scan(root))
    assert 'cell = "#00c800"' in str(error.value)
    assert paste(root, error.value).format_class(2) == "#ff0010"


def test_the_lines_name_two_classes_where_masks_hold_one_value(pairs: Pairs) -> None:
    root = pairs({name: np.full((32, 32), 7, np.uint8) for name in "ab"})
    with pytest.raises(LimnerError, match="the value 7, which") as error:
        align(THREE, scan(root))
    assert paste(root, error.value).format_class(1) == "7"


def test_a_labels_toml_that_lacks_most_masks_values_is_told_once(pairs: Pairs) -> None:
    root = pairs(discs(2))
    (root / "labels.toml").write_text("[classes]\nbackground = 0\ncell = 1\n")
    with pytest.raises(
        LimnerError, match=r"most masks of .* hold values without a class, such as 2"
    ) as error:
        align(THREE, scan(root))
    assert paste(root, error.value).class_of(2) == 1


def test_a_part_of_the_classes_is_coded_as_the_model_s(pairs: Pairs) -> None:
    assert align(THREE, scan(pairs(discs(2)))) == AlignedLabels(THREE)


def test_a_mask_that_cannot_be_read_is_left_to_the_scoring(pairs: Pairs) -> None:
    root = pairs(discs(1))
    (root / "masks" / "0.png").write_bytes(b"broken")
    assert align(BINARY, scan(root)).labels.class_of(1) == 1
    for path in (root / "masks").iterdir():
        path.write_bytes(b"broken")
    assert align(BINARY, scan(root)) == AlignedLabels(BINARY)
