import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from limner.data.preprocess import Preprocessing, grow_probabilities, measure, shrink_mask


@given(arrays(np.uint8, (13, 17), elements=st.sampled_from([0, 1, 2, 255])), st.integers(1, 20), st.integers(1, 20))
def test_a_shrunk_mask_has_no_new_values(mask: np.ndarray, h: int, w: int) -> None:
    shrunk = shrink_mask(mask, (h, w), 3)
    assert shrunk.shape == (h, w)
    assert set(np.unique(shrunk)) <= set(np.unique(mask))


def test_the_class_that_covers_most_of_a_pixel_wins() -> None:
    mask = np.array([[1, 1, 0, 2], [1, 0, 2, 2]], np.uint8)
    assert shrink_mask(mask, (1, 2), 3).tolist() == [[1, 2]]


def test_standardised_training_images_have_mean_0_and_deviation_1() -> None:
    images = np.random.default_rng(0).integers(0, 200, (5, 8, 8, 3)).astype(np.uint8)
    mean, std = measure(images)
    arrays_ = np.stack([Preprocessing((8, 8), mean, std).array(image) for image in images])
    np.testing.assert_allclose(arrays_.mean((0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(arrays_.std((0, 2, 3)), 1, atol=1e-3)


def test_grown_probabilities_stay_between_the_given_ones() -> None:
    probabilities = np.random.default_rng(0).random((2, 6, 4)).astype(np.float32)
    grown = grow_probabilities(probabilities, (31, 17))
    assert grown.shape == (2, 31, 17)
    assert probabilities.min() - 1e-6 <= grown.min() <= grown.max() <= probabilities.max() + 1e-6
