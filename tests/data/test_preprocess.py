import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from limner.data.preprocess import Preprocessing, channel_statistics, mask_to_canvas, to_canvas
from limner.data.views import views
from limner.labels import VOID


def test_standardised_training_images_have_mean_0_and_deviation_1() -> None:
    images = np.random.default_rng(0).integers(0, 200, (5, 8, 8, 3)).astype(np.uint8)
    mean, std = channel_statistics(images)
    preprocessing = Preprocessing((8, 8), mean, std)
    inputs = np.stack(
        [
            preprocessing.normalise(preprocessing.to_canvas(image, view))
            for image in images
            for view in preprocessing.views((8, 8))
        ]
    )
    np.testing.assert_allclose(inputs.mean((0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(inputs.std((0, 2, 3)), 1, atol=1e-3)


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
