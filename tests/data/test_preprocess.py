from itertools import pairwise
from unittest import mock

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from limner.data import resize
from limner.data.preprocess import Preprocessing, channel_statistics, mask_to_canvas, to_canvas
from limner.data.resize import downsample_mask, upsample_bands
from limner.data.views import views
from limner.labels import VOID


@given(
    arrays(np.uint8, (13, 17), elements=st.sampled_from([0, 1, 2, 255])),
    st.integers(1, 20),
    st.integers(1, 20),
)
def test_a_shrunk_mask_has_no_new_values(mask: np.ndarray, h: int, w: int) -> None:
    shrunk = downsample_mask(mask, (h, w), 3)
    assert shrunk.shape == (h, w)
    assert set(np.unique(shrunk)) <= set(np.unique(mask))


def test_the_class_that_covers_most_of_a_pixel_wins() -> None:
    mask = np.array([[1, 1, 0, 2], [1, 0, 2, 2]], np.uint8)
    assert downsample_mask(mask, (1, 2), 3).tolist() == [[1, 2]]


def test_standardised_training_images_have_mean_0_and_deviation_1() -> None:
    images = np.random.default_rng(0).integers(0, 200, (5, 8, 8, 3)).astype(np.uint8)
    mean, std = channel_statistics(images)
    preprocessing = Preprocessing((8, 8), mean, std)
    arrays_ = np.stack(
        [
            preprocessing.normalise(preprocessing.to_canvas(image, view))
            for image in images
            for view in preprocessing.views((8, 8))
        ]
    )
    np.testing.assert_allclose(arrays_.mean((0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(arrays_.std((0, 2, 3)), 1, atol=1e-3)


def test_grown_probabilities_stay_between_the_given_ones() -> None:
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


SIZES = st.tuples(st.integers(1, 60), st.integers(1, 60))
TILES = st.tuples(st.integers(4, 40), st.integers(4, 40))


@given(SIZES, TILES)
def test_tiles_count_each_pixel_of_a_mask_once(
    image_px: tuple[int, int], tile_px: tuple[int, int]
) -> None:
    mask = np.random.default_rng(0).integers(0, 3, image_px).astype(np.uint8)
    canvases = np.stack(
        [mask_to_canvas(mask, view, tile_px, 3) for view in views(image_px, tile_px, "tile")]
    )
    assert (canvases != VOID).sum() == mask.size
    assert (
        np.bincount(canvases[canvases != VOID], minlength=3).tolist()
        == np.bincount(mask.ravel(), minlength=3).tolist()
    )


@given(st.integers(20, 300), st.integers(8, 64))
def test_tiles_in_use_share_a_quarter_of_their_side(length: int, tile: int) -> None:
    tops = [
        view.source.top
        for view in views((length, 5), (tile, 5), "tile", overlap=True)
        if view.source
    ]
    assert all(later - earlier <= tile - tile // 4 for earlier, later in pairwise(tops))


@given(SIZES, TILES)
def test_a_letterbox_keeps_the_shape_and_its_border_is_void(
    image_px: tuple[int, int], size_px: tuple[int, int]
) -> None:
    (view,) = views(image_px, size_px, "letterbox")
    factor = min(size_px[0] / image_px[0], size_px[1] / image_px[1])
    assert (
        abs(view.target.height - image_px[0] * factor) <= 1
        and abs(view.target.width - image_px[1] * factor) <= 1
    )
    canvas = mask_to_canvas(np.zeros(image_px, np.uint8), view, size_px, 2)
    assert (canvas == VOID).sum() == canvas.size - view.target.height * view.target.width
    assert to_canvas(np.zeros((*image_px, 3), np.uint8), view, size_px).shape == (*size_px, 3)
