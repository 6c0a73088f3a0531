"""Masks of several people as one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.metrics.consensus import CONSENSUS_METHODS, majority, staple
from shapes import disc

METHODS = list(CONSENSUS_METHODS.values())
TRUTH = disc(size=40, value=1, radius=12)


def draw_badly(seed: int, wrong: float) -> np.ndarray:
    """The truth, with a share of the pixels turned over."""
    turned = np.random.default_rng(seed).random(TRUTH.shape) < wrong
    return np.where(turned, 1 - TRUTH, TRUTH).astype(np.uint8)


@pytest.mark.parametrize("method", METHODS)
def test_people_who_agree_are_believed(method: object) -> None:
    for mask in (TRUTH, np.zeros_like(TRUTH), np.ones_like(TRUTH)):
        assert (method([mask] * 3) == mask).all()  # type: ignore[operator]


@pytest.mark.parametrize("method", METHODS)
def test_errors_of_one_are_outvoted(method: object) -> None:
    masks = [TRUTH, draw_badly(0, 0.2), TRUTH]
    assert (method(masks) == TRUTH).all()  # type: ignore[operator]


def test_of_two_who_differ_the_majority_is_the_first() -> None:
    other = draw_badly(0, 0.3)
    assert (majority([TRUTH, other]) == TRUTH).all()
    assert (majority([other, TRUTH]) == other).all()


def test_staple_believes_one_who_is_reliable_more_than_two_who_are_not() -> None:
    masks = [draw_badly(0, 0.01), *[draw_badly(seed, 0.3) for seed in (1, 2)]]
    wrong = [float((method(masks) != TRUTH).mean()) for method in (majority, staple)]
    assert wrong[1] < wrong[0] / 2


def test_staple_is_that_of_two_classes_as_its_paper_states_it() -> None:
    """Against sensitivities and specificities that are estimated pixel by pixel."""
    masks = [draw_badly(seed, wrong) for seed, wrong in ((0, 0.05), (1, 0.15), (2, 0.1))]
    drawn = np.stack([mask.ravel() for mask in masks]).astype(bool)
    sensitivity = specificity = np.full((3, 1), 0.99)
    prior = drawn.mean()
    for _ in range(200):
        inside = np.where(drawn, sensitivity, 1 - sensitivity).prod(0) * prior
        outside = np.where(drawn, 1 - specificity, specificity).prod(0) * (1 - prior)
        weight = inside / (inside + outside)
        sensitivity = ((weight * drawn).sum(1) / weight.sum())[:, None]
        specificity = (((1 - weight) * ~drawn).sum(1) / (1 - weight).sum())[:, None]
    assert (staple(masks).ravel() == (weight > 0.5)).all()


@given(st.lists(st.integers(0, 255), min_size=8, max_size=8), st.integers(0, 2**32 - 1))
def test_a_consensus_has_only_classes_that_somebody_drew(values: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    masks = [random.choice(values, (4, 5)).astype(np.uint8) for _ in range(3)]
    for method in METHODS:
        agreed = method(masks)
        assert agreed.dtype == np.uint8 and np.isin(agreed, masks).all()
    assert np.any([majority(masks) == mask for mask in masks], axis=0).all()
