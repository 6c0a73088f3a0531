from unittest import mock

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from limner.data import resize
from limner.data.resize import downsample_mask, resize_image, upsample_bands


@given(
    arrays(np.uint8, (13, 17), elements=st.sampled_from([0, 1, 2, 255])),
    st.integers(1, 20),
    st.integers(1, 20),
)
def test_a_downsampled_mask_has_no_new_values(mask: np.ndarray, h: int, w: int) -> None:
    small = downsample_mask(mask, (h, w), 3)
    assert small.shape == (h, w)
    assert set(np.unique(small)) <= set(np.unique(mask))


def test_the_class_that_covers_most_of_a_pixel_wins() -> None:
    mask = np.array([[1, 1, 0, 2], [1, 0, 2, 2]], np.uint8)
    assert downsample_mask(mask, (1, 2), 3).tolist() == [[1, 2]]


def test_upsampled_probabilities_stay_within_their_range() -> None:
    probabilities = np.random.default_rng(0).random((2, 6, 4)).astype(np.float32)
    (whole,) = upsample_bands(probabilities, (31, 17))
    assert whole.shape == (2, 31, 17)
    assert probabilities.min() - 1e-6 <= whole.min() <= whole.max() <= probabilities.max() + 1e-6


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(1, 50),
)
def test_bands_of_probabilities_are_those_of_the_whole(
    h: int, w: int, height: int, width: int, rows: int
) -> None:
    probabilities = np.random.default_rng(0).random((2, h, w)).astype(np.float32)
    (whole,) = upsample_bands(probabilities, (height, width))
    with mock.patch.object(resize, "BAND_PIXELS", rows * width):
        bands = list(upsample_bands(probabilities, (height, width)))
    assert len(bands) == -(-height // rows)
    np.testing.assert_allclose(np.concatenate(bands, axis=1), whole, atol=1e-5)


def test_many_channels_are_resized_alike() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (16, 24, 5)).astype(np.uint8)
    np.testing.assert_array_equal(
        resize_image(pixels, (8, 12))[..., :3], resize_image(pixels[..., :3].copy(), (8, 12))
    )
