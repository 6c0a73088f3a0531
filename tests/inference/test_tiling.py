from itertools import pairwise
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.data.large_images import ArrayImage
from limner.data.preprocess import Preprocessing
from limner.data.views import Box
from limner.inference import tiling
from limner.inference.engines import ReceptiveField
from limner.inference.tiling import merge_tiles, predict_tiles, split_rows
from limner.inference.tta import TTA_TRANSFORMS, TtaTransform
from limner.model.presets import PRESETS
from limner.model.receptive_field import measure_halo
from limner.model.unet import UNet
from limner.recipe import parse_recipe

PLAIN = [TtaTransform()]
SIZES = st.tuples(st.integers(1, 60), st.integers(1, 60))


def tiles_of(size_px: tuple[int, int]) -> Preprocessing:
    return Preprocessing(size_px, (0.5,) * 3, (0.5,) * 3, "tile")


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)


def brightness(images: np.ndarray) -> np.ndarray:
    return images.mean(1, keepdims=True)


def whole(found: object) -> np.ndarray:
    return np.concatenate(list(found), axis=1)  # type: ignore[call-overload]


def tiny(preset: str, seed: int = 0) -> UNet:
    torch.manual_seed(seed)
    return UNet.from_settings(
        parse_recipe({"model": {"preset": preset, "widths": [4, 6, 8]}}).model, 3, 1
    ).eval()


@pytest.mark.parametrize("preset", PRESETS)
@settings(max_examples=12)
@given(
    image_px=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    core=st.integers(4, 60),
    tta=st.sampled_from(["none", "flips", "turns"]),
)
def test_tiles_equal_the_whole(preset: str, image_px: tuple[int, int], core: int, tta: str) -> None:
    network = tiny(preset)
    preprocessing, image = tiles_of((16, 24)), noise(*image_px)

    def engine(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(images)).numpy()

    def drawn(core_px: int, margin: int) -> np.ndarray:
        with mock.patch.object(tiling, "CORE_PX", core_px):
            return whole(
                merge_tiles(
                    predict_tiles(
                        ArrayImage(image),
                        engine,
                        preprocessing,
                        ReceptiveField(network.stride, margin),
                        TTA_TRANSFORMS[tta],
                    ),
                    image_px,
                )
            )

    margin = measure_halo(network, 3)
    assert margin is not None
    once = drawn(100_000, margin)
    np.testing.assert_allclose(drawn(core, margin), once, atol=1e-4)


@given(SIZES, st.tuples(st.integers(4, 40), st.integers(4, 40)))
def test_tiles_that_fade_show_each_pixel_where_it_is(
    image_px: tuple[int, int], tile_px: tuple[int, int]
) -> None:
    """Of a network that sees the whole image."""
    found = merge_tiles(
        predict_tiles(
            ArrayImage(noise(*image_px)),
            brightness,
            tiles_of(tile_px),
            ReceptiveField(4, None),
            PLAIN,
        ),
        image_px,
    )
    expected = 1 / (1 + np.exp(-(noise(*image_px).mean(2) / 255 - 0.5) / 0.5))
    np.testing.assert_allclose(whole(found)[0], expected, atol=1e-5)


def test_a_large_image_is_drawn_in_bands_without_reading_all_of_it() -> None:
    image, boxes = noise(900, 70), []

    class Watched(ArrayImage):
        def read(self, box: Box) -> np.ndarray:
            boxes.append(box)
            return super().read(box)

    with mock.patch.object(tiling, "CORE_PX", 64):
        bands = list(
            merge_tiles(
                predict_tiles(
                    Watched(image), brightness, tiles_of((32, 32)), ReceptiveField(8, 10), PLAIN
                ),
                (900, 70),
            )
        )
    assert max(box.height for box in boxes) <= 64 + 2 * 16
    assert len(bands) > 10 and whole(bands).shape == (1, 900, 70)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9), st.integers(1, 12))
def test_bands_are_cut_to_so_many_rows(heights: list[int], rows: int) -> None:
    planes = np.random.default_rng(0).random((2, sum(heights), 3)).astype(np.float32)
    ends = np.cumsum([0, *heights])
    cut = list(split_rows((planes[:, first:last] for first, last in pairwise(ends)), rows))
    assert all(part.shape[1] == rows for part in cut[:-1])
    assert not planes.size or np.array_equal(np.concatenate(cut, axis=1), planes)
