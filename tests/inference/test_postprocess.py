from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from limner.inference.postprocess import count_components_and_holes, postprocess
from limner.labels import Labels
from limner.model.metadata import PostprocessSettings

BINARY = Labels.from_values(("background", "foreground"), (0, 255))
masks = arrays(np.uint8, (12, 15), elements=st.integers(0, 1))
ALL_SETTINGS = [PostprocessSettings(*steps) for steps in product((False, True), repeat=3)]


def mask_of(text: str) -> np.ndarray:
    return np.array([[int(cell) for cell in row] for row in text.split()], np.uint8)


@pytest.mark.parametrize("settings", ALL_SETTINGS)
@given(masks)
def test_postprocessing_twice_changes_nothing_more(
    settings: PostprocessSettings, mask: np.ndarray
) -> None:
    once = postprocess(mask, settings, BINARY)
    np.testing.assert_array_equal(postprocess(once, settings, BINARY), once)


@given(masks)
def test_without_a_step_nothing_changes(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(postprocess(mask, PostprocessSettings(), BINARY), mask)


@given(masks)
def test_the_mask_that_was_given_is_left_alone(mask: np.ndarray) -> None:
    before = mask.copy()
    postprocess(mask, PostprocessSettings(True, True, True), BINARY)
    np.testing.assert_array_equal(mask, before)


@given(masks)
def test_the_largest_component_without_holes_is_one_region(mask: np.ndarray) -> None:
    settings = PostprocessSettings(keep_largest=True, fill_holes=True)
    region = postprocess(mask, settings, BINARY) == 1
    assert count_components_and_holes(region) == (int(mask.any()), 0)


def test_each_step_does_what_its_name_says() -> None:
    mask = mask_of("0000000000 0111100010 0100100000 0111100000 0000000000")
    assert (
        postprocess(mask, PostprocessSettings(keep_largest=True), BINARY).tolist()
        == mask_of("0000000000 0111100000 0100100000 0111100000 0000000000").tolist()
    )
    assert (
        postprocess(mask, PostprocessSettings(fill_holes=True), BINARY).tolist()
        == mask_of("0000000000 0111100010 0111100000 0111100000 0000000000").tolist()
    )
    large = np.zeros((60, 60), np.uint8)
    large[10:40, 10:40] = large[50, 50] = large[5, 5] = 1
    kept = postprocess(large, PostprocessSettings(remove_small=True), BINARY)
    assert kept.sum() == 900 and not kept[50, 50]


def test_the_largest_stays_where_every_component_is_small() -> None:
    mask = np.zeros((100, 100), np.uint8)
    mask[5, 5] = mask[50, 50:53] = 1
    assert postprocess(mask, PostprocessSettings(remove_small=True), BINARY).sum() == 3


def test_a_hole_that_another_class_fills_is_left() -> None:
    labels = Labels.from_values(("background", "iris", "pupil"), (0, 1, 2))
    mask = mask_of("00000 01110 01210 01110 00000")
    filled = postprocess(mask, PostprocessSettings(fill_holes=True), labels)
    np.testing.assert_array_equal(filled, mask)


def test_components_and_holes_are_counted() -> None:
    assert count_components_and_holes(mask_of("11100 10101 11100") == 1) == (2, 1)
    # The hole touches the edge by its corner alone
    assert count_components_and_holes(mask_of("111 101 110") == 1) == (1, 1)
    assert count_components_and_holes(np.zeros((3, 3), bool)) == (0, 0)
    assert count_components_and_holes(np.ones((3, 3), bool)) == (1, 0)


def test_the_enabled_steps_are_named() -> None:
    assert PostprocessSettings().enabled == ()
    assert PostprocessSettings(True, False, True).enabled == ("keep_largest", "remove_small")
