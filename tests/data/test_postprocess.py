from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from limner.data.postprocess import Postprocessing, count_components_and_holes
from limner.labels import Labels

BINARY = Labels.from_values(("background", "foreground"), (0, 255))
masks = arrays(np.uint8, (12, 15), elements=st.integers(0, 1))
WAYS = [Postprocessing(*on) for on in product((False, True), repeat=3)]


def picture(text: str) -> np.ndarray:
    return np.array([[int(cell) for cell in row] for row in text.split()], np.uint8)


@pytest.mark.parametrize("way", WAYS)
@given(masks)
def test_a_mended_mask_needs_no_more_mending(way: Postprocessing, mask: np.ndarray) -> None:
    once = way(mask, BINARY)
    np.testing.assert_array_equal(way(once, BINARY), once)


@given(masks)
def test_nothing_chosen_changes_nothing(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(Postprocessing()(mask, BINARY), mask)


@given(masks)
def test_the_largest_part_without_holes_is_one_region(mask: np.ndarray) -> None:
    mended = Postprocessing(keep_largest=True, fill_holes=True)(mask, BINARY)
    assert count_components_and_holes(mended == 1) == (int(mask.any()), 0)


def test_each_of_the_three_does_what_its_name_says() -> None:
    mask = picture("0000000000 0111100010 0100100000 0111100000 0000000000")
    assert (
        Postprocessing(keep_largest=True)(mask, BINARY).tolist()
        == picture("0000000000 0111100000 0100100000 0111100000 0000000000").tolist()
    )
    assert (
        Postprocessing(fill_holes=True)(mask, BINARY).tolist()
        == picture("0000000000 0111100010 0111100000 0111100000 0000000000").tolist()
    )
    big = np.zeros((60, 60), np.uint8)
    big[10:40, 10:40] = big[50, 50] = big[5, 5] = 1
    kept = Postprocessing(remove_small=True)(big, BINARY)
    assert kept.sum() == 900 and not kept[50, 50]


def test_of_specks_alone_the_largest_stays() -> None:
    mask = np.zeros((100, 100), np.uint8)
    mask[5, 5] = mask[50, 50:53] = 1
    assert Postprocessing(remove_small=True)(mask, BINARY).sum() == 3


def test_a_hole_that_another_class_fills_is_left() -> None:
    labels = Labels.from_values(("background", "iris", "pupil"), (0, 1, 2))
    mask = picture("00000 01110 01210 01110 00000")
    np.testing.assert_array_equal(Postprocessing(fill_holes=True)(mask, labels), mask)


def test_parts_and_holes_are_counted() -> None:
    assert count_components_and_holes(picture("11100 10101 11100") == 1) == (2, 1)
    assert count_components_and_holes(picture("111 101 110") == 1) == (
        1,
        1,
        # The hole touches the edge by its corner alone
    )
    assert count_components_and_holes(np.zeros((3, 3), bool)) == (0, 0)
    assert count_components_and_holes(np.ones((3, 3), bool)) == (1, 0)
