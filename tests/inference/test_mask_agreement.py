from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from limner.inference.calibration import BINS
from limner.inference.mask_agreement import cohen_kappa, mask_warnings
from limner.inference.scores import ImageScore, Scores
from limner.labels import Labels, load_labels
from limner.metrics.overlap import confusion_table, one_vs_rest
from shapes import disc

BINARY = Labels.from_values(("background", "lesion"), (0, 255), (9,))
THREE = Labels.from_values(
    ("background", "cell", "debris"), (0x000000, 0x800000, 0xFF), coloured=True
)


def score(prediction: np.ndarray, truth: np.ndarray, labels: Labels = BINARY) -> Scores:
    """The scores of one image, as the evaluation makes them."""
    table = confusion_table(prediction, truth, len(labels.names))
    cells = np.column_stack([*np.nonzero(table), table[table > 0]])
    surface, bins = np.zeros((len(labels.scored), 3)), np.zeros((2, BINS, 3))
    image = ImageScore("a", one_vs_rest(table), surface, None, None, 0.1, 0.5, bins, cells)
    return Scores.from_images([image], labels)


def predicted() -> np.ndarray:
    return disc(64, 1, 12)


def drawn() -> np.ndarray:
    """The same disc as people drew it."""
    return np.roll(disc(64, 1, 12), 2, axis=1)


def regions() -> np.ndarray:
    """A disc of class 1, and a smaller one of class 2 beside it."""
    return np.where(np.roll(disc(64, 1, 7), 22, axis=1), 2, predicted()).astype(np.uint8)


def test_masks_that_agree_with_the_model_are_not_doubted(tmp_path: Path) -> None:
    assert mask_warnings(score(predicted(), drawn()), BINARY, tmp_path, (0.5, 0.5)) == []
    assert mask_warnings(score(regions(), regions(), THREE), THREE, tmp_path) == []


def test_inverted_masks_are_named_with_lines_that_mend_them(tmp_path: Path) -> None:
    inverted = 1 - drawn()
    (warning,) = mask_warnings(score(predicted(), inverted), BINARY, tmp_path)
    assert "the masks look inverted. The pooled Dice is 0.0" in warning
    assert "0.89 if inverted" in warning and f"write {tmp_path / 'labels.toml'} to:" in warning
    (tmp_path / "labels.toml").write_text(warning.split(" to:\n")[1])
    mended = load_labels(tmp_path / "labels.toml")
    assert mended == replace(BINARY, names=mended.names, values=BINARY.values[::-1])
    values = np.where(inverted, 255, 0).astype(np.uint8)
    assert mask_warnings(score(predicted(), mended.to_class_index(values)), mended, tmp_path) == []


@pytest.mark.parametrize("order", [(0, 2, 1), (1, 2, 0), (2, 0, 1)])
def test_classes_that_changed_places_are_named_with_lines_that_mend_them(
    order: tuple[int, int, int], tmp_path: Path
) -> None:
    truth = np.array(order, np.uint8)[regions()]
    (warning,) = mask_warnings(score(regions(), truth, THREE), THREE, tmp_path)
    assert "classes of the masks seem to have changed places: " in warning
    assert "1.00 if exchanged" in warning and "#800000" in warning
    (tmp_path / "labels.toml").write_text(warning.split(" to:\n")[1])
    mended = load_labels(tmp_path / "labels.toml")
    colours = np.array([0, 0x800000, 0xFF], np.uint32)[truth]
    np.testing.assert_array_equal(mended.to_class_index(colours), regions())


def test_a_labels_toml_that_is_there_is_to_be_changed(tmp_path: Path) -> None:
    (tmp_path / "labels.toml").write_text("[classes]\nbackground = 0\nlesion = 255\n")
    (warning,) = mask_warnings(score(predicted(), 1 - drawn()), BINARY, tmp_path)
    assert f"change {tmp_path / 'labels.toml'} to:" in warning


def test_a_class_without_a_value_is_not_in_the_lines(tmp_path: Path) -> None:
    labels = Labels(("background", "cell", "debris"), (((0, 0),), ((1, 1),), ()))
    (warning,) = mask_warnings(score(predicted(), 1 - drawn(), labels), labels, tmp_path)
    (tmp_path / "labels.toml").write_text(warning.split(" to:\n")[1])
    assert load_labels(tmp_path / "labels.toml").names == ("background", "cell")


@pytest.mark.parametrize("everywhere", [0, 1])
def test_a_model_that_predicts_one_class_says_nothing_of_the_masks(
    everywhere: int, tmp_path: Path
) -> None:
    constant = np.full((64, 64), everywhere, np.uint8)
    for truth in (drawn(), 1 - drawn()):
        assert mask_warnings(score(constant, truth), BINARY, tmp_path) == []


def test_masks_with_much_more_foreground_than_the_training_s_are_doubted(tmp_path: Path) -> None:
    nothing = np.zeros((64, 64), np.uint8)
    (warning,) = mask_warnings(score(nothing, 1 - drawn()), BINARY, tmp_path, (0.9, 0.1))
    assert "the foreground covers 89% of the pixels of the masks, and 10% of those" in warning
    assert mask_warnings(score(nothing, drawn()), BINARY, tmp_path, (0.9, 0.1)) == []
    # The model agrees with large objects: they are rightly so
    assert mask_warnings(score(1 - predicted(), 1 - drawn()), BINARY, tmp_path, (0.9, 0.1)) == []


def test_masks_that_are_void_everywhere_are_not_doubted(tmp_path: Path) -> None:
    void = np.full((64, 64), 255, np.uint8)
    assert mask_warnings(score(predicted(), void), BINARY, tmp_path) == []


def test_kappa_is_1_for_equal_masks_and_0_for_chance() -> None:
    assert cohen_kappa(np.diag([50, 50])) == 1 and cohen_kappa(np.array([[25, 25], [25, 25]])) == 0
    assert cohen_kappa(np.array([[0, 0], [50, 50]])) == 0
    assert cohen_kappa(np.array([[100, 0], [0, 0]])) == 0
