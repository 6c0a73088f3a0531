import isic_challenge_scoring.metrics as official
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from isic_challenge_scoring.confusion import create_binary_confusion_matrix

from limner.labels import VOID
from limner.metrics.overlap import (
    OVERLAP_METRICS,
    confusion_counts,
    dice,
    jaccard,
    one_vs_rest,
    thresholded_jaccard,
)

masks = arrays(np.uint8, (7, 5), elements=st.integers(0, 1))
OFFICIAL = {
    "dice": official.binary_dice,
    "jaccard": official.binary_jaccard,
    "sensitivity": official.binary_sensitivity,
    "specificity": official.binary_specificity,
    "precision": official.binary_ppv,
    "accuracy": official.binary_accuracy,
}


@st.composite
def hostile_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Masks of 0 and 1 of one size from 1x1 on: random, empty, full, of one pixel, all but one, or
    equal.
    """
    shape = draw(st.tuples(st.integers(1, 24), st.integers(1, 24)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def mask(kind: str) -> np.ndarray:
        if kind == "random":
            return (rng.random(shape) < rng.random()).astype(np.uint8)
        pixels = np.full(shape, kind in {"full", "all but one"}, np.uint8)
        if kind in {"one pixel", "all but one"}:
            pixels.flat[rng.integers(pixels.size)] ^= 1
        return pixels

    kinds = st.sampled_from(["random", "empty", "full", "one pixel", "all but one"])
    first = mask(draw(kinds))
    return first, first.copy() if draw(st.integers(0, 9)) == 0 else mask(draw(kinds))


@settings(max_examples=1000)
@given(hostile_pairs())
def test_every_score_is_the_official_scorer_s(pair: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, truth = pair
    counts = confusion_counts(prediction, truth, 2)[1]
    matrix = create_binary_confusion_matrix(truth == 1, prediction == 1)
    for name, metric in OFFICIAL.items():
        assert OVERLAP_METRICS[name](counts) == pytest.approx(metric(matrix), abs=1e-9), name
    assert thresholded_jaccard(jaccard(counts)) == pytest.approx(
        official.binary_threshold_jaccard(matrix, threshold=0.65), abs=1e-9
    )


def test_every_score_is_compared_with_the_official_one() -> None:
    assert OFFICIAL.keys() == OVERLAP_METRICS.keys()


@given(masks, masks)
def test_dice_is_symmetric(a: np.ndarray, b: np.ndarray) -> None:
    assert (dice(confusion_counts(a, b, 2)) == dice(confusion_counts(b, a, 2))).all()


@given(masks)
def test_dice_is_one_on_itself(a: np.ndarray) -> None:
    assert (dice(confusion_counts(a, a, 2)) == 1).all()


@given(masks, masks)
def test_jaccard_follows_from_dice(a: np.ndarray, b: np.ndarray) -> None:
    d = dice(confusion_counts(a, b, 2))
    np.testing.assert_allclose(jaccard(confusion_counts(a, b, 2)), d / (2 - d), atol=1e-12)


@given(masks, masks, arrays(np.bool_, (7, 5)))
def test_void_pixels_are_not_counted(a: np.ndarray, b: np.ndarray, void: np.ndarray) -> None:
    counts = confusion_counts(a, np.where(void, VOID, b).astype(np.uint8), 2)
    assert (counts.sum(1) == (~void).sum()).all()
    assert counts[1, 0] == (a & b & ~void).sum()


@given(
    arrays(np.uint8, (6, 6), elements=st.integers(0, 3)),
    arrays(np.uint8, (6, 6), elements=st.integers(0, 3)),
)
def test_each_class_is_counted_against_the_rest(a: np.ndarray, b: np.ndarray) -> None:
    counts = confusion_counts(a, b, 4)
    for index in range(4):
        binary = ((mask == index).astype(np.uint8) for mask in (a, b))
        assert counts[index].tolist() == confusion_counts(*binary, 2)[1].tolist()


def test_two_empty_masks_agree() -> None:
    empty = np.zeros((3, 3), np.uint8)
    assert dice(confusion_counts(empty, empty, 2))[1] == 1
    assert np.isnan(dice(confusion_counts(empty, empty, 2), float("nan"))[1])


def test_a_table_of_several_images_is_counted_at_once() -> None:
    tables = np.arange(18).reshape(2, 3, 3)
    assert (one_vs_rest(tables)[1] == one_vs_rest(tables[1])).all()


def test_the_threshold_itself_counts() -> None:
    assert thresholded_jaccard(np.array([0.65, 0.6499, 1.0])).tolist() == [0.65, 0.0, 1.0]


@given(masks)
def test_an_image_that_is_void_everywhere_has_no_score(a: np.ndarray) -> None:
    counts = confusion_counts(a, np.full_like(a, VOID), 2)
    for name, metric in OVERLAP_METRICS.items():
        assert np.isnan(metric(counts, 1.0)).all(), name
