import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from limner.labels import VOID
from limner.metrics import confusion, dice, jaccard, thresholded

masks = arrays(np.uint8, (7, 5), elements=st.integers(0, 1))


@given(masks, masks)
def test_dice_is_symmetric(a: np.ndarray, b: np.ndarray) -> None:
    assert (dice(confusion(a, b, 2)) == dice(confusion(b, a, 2))).all()


@given(masks)
def test_dice_is_one_on_itself(a: np.ndarray) -> None:
    assert (dice(confusion(a, a, 2)) == 1).all()


@given(masks, masks)
def test_jaccard_follows_from_dice(a: np.ndarray, b: np.ndarray) -> None:
    d = dice(confusion(a, b, 2))
    np.testing.assert_allclose(jaccard(confusion(a, b, 2)), d / (2 - d), atol=1e-12)


@given(masks, masks, arrays(np.bool_, (7, 5)))
def test_dice_ignores_void_pixels(a: np.ndarray, b: np.ndarray, void: np.ndarray) -> None:
    with_void = np.where(void, VOID, b).astype(np.uint8)
    expected = confusion(np.where(void, 0, a).astype(np.uint8), np.where(void, 0, b).astype(np.uint8), 2)[1]
    assert confusion(a, with_void, 2)[1].tolist() == expected.tolist()


def test_two_empty_masks_agree() -> None:
    empty = np.zeros((3, 3), np.uint8)
    assert dice(confusion(empty, empty, 2))[1] == 1
    assert np.isnan(dice(confusion(empty, empty, 2), float("nan"))[1])


def test_the_threshold_itself_counts() -> None:
    assert thresholded(np.array([0.65, 0.6499, 1.0])).tolist() == [0.65, 0.0, 1.0]
