import numpy as np
import pytest

from limner.errors import LimnerError
from limner.labels import VOID, Labels, detect_labels


@pytest.mark.parametrize("value", [1, 254, 255, 128])
def test_zero_and_one_other_value_are_background_and_foreground(value: int) -> None:
    labels = detect_labels({0, value})
    assert labels.binary
    assert labels.logits == 1
    assert labels.to_class_index(np.array([[0, value]], np.uint8)).tolist() == [[0, 1]]


def test_255_is_void_among_class_indices() -> None:
    labels = detect_labels({0, 1, 2, 255})
    assert labels.logits == 3
    assert labels.to_class_index(np.array([[2, 255]], np.uint8)).tolist() == [[2, VOID]]


def test_a_class_file_names_the_void_value() -> None:
    labels = detect_labels({0, 1, 11}, [(0, "Sky"), (1, "Road"), (11, "Unlabelled")])
    assert labels.names == ("Sky", "Road")
    assert labels.void_values == (11,)
    assert labels.scored == (0, 1)


def test_masks_saved_as_jpeg_are_refused_with_the_cure() -> None:
    with pytest.raises(LimnerError, match="JPEG"):
        detect_labels(set(range(0, 255, 3)))


def test_values_that_are_no_coding_ask_for_a_class_file() -> None:
    with pytest.raises(LimnerError, match=r"classes\.txt"):
        detect_labels({0, 100, 200})


def test_a_value_that_the_class_file_does_not_name_is_an_error() -> None:
    with pytest.raises(LimnerError, match="does not name"):
        detect_labels({0, 1, 7}, [(0, "Sky"), (1, "Road")])


def test_a_pixel_without_a_class_is_an_error() -> None:
    with pytest.raises(LimnerError, match="belong to no class"):
        detect_labels({0, 255}).to_class_index(np.array([[7]], np.uint8))


def test_written_binary_masks_hold_0_and_255() -> None:
    assert Labels(("background", "foreground"), (0, 1)).to_pixels(np.array([[0, 1]], np.uint8)).tolist() == [[0, 255]]
