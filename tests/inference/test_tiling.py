from collections.abc import Iterable
from functools import cache
from itertools import pairwise, product
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.data.large_images import ArrayImage
from limner.data.preprocess import Preprocessing
from limner.data.views import Box
from limner.inference import tile_grid
from limner.inference.engines import ReceptiveField
from limner.inference.tile_grid import GridPart, Strip, plan_tiles
from limner.inference.tiling import TiledNetwork, merge_tiles, predict_tiles, split_rows
from limner.inference.tta import TTA_TRANSFORMS, TtaTransform
from limner.model.presets import PRESETS
from limner.model.receptive_field import measure_halo
from limner.model.unet import UNet
from limner.recipe import parse_recipe

NO_AUGMENTATION = [TtaTransform()]
SIZES = st.tuples(st.integers(1, 60), st.integers(1, 60))


def tile_preprocessing(size_px: tuple[int, int]) -> Preprocessing:
    return Preprocessing(size_px, (0.5,) * 3, (0.5,) * 3, "tile")


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)


def brightness(images: np.ndarray) -> np.ndarray:
    return images.mean(1, keepdims=True)


def joined(bands: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate(list(bands), axis=1)


@cache
def tiny_network(preset: str) -> tuple[UNet, ReceptiveField]:
    torch.manual_seed(0)
    network = UNet.from_settings(
        parse_recipe({"model": {"preset": preset, "widths": [4, 6, 8]}}).model, 3, 1
    ).eval()
    halo_px = measure_halo(network, 3)
    assert halo_px is not None
    return network, ReceptiveField(network.stride, halo_px)


@pytest.mark.parametrize("preset", PRESETS)
@settings(max_examples=12)
@given(
    image_px=st.tuples(st.integers(1, 120), st.integers(1, 120)),
    core_px=st.integers(4, 60),
    tta=st.sampled_from(["none", "flips", "turns"]),
)
def test_tiles_equal_the_whole(
    preset: str, image_px: tuple[int, int], core_px: int, tta: str
) -> None:
    """Of small images; benchmarks/tiles.py takes true depths, 200 times, and larger images."""
    network, receptive_field = tiny_network(preset)
    picture, transforms = ArrayImage(noise(*image_px)), TTA_TRANSFORMS[tta]

    def engine(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(images)).numpy()

    def probabilities(core_px: int) -> np.ndarray:
        with mock.patch.multiple(tile_grid, CORE_PX=core_px, WHOLE_PIXELS=0):
            preprocessing = tile_preprocessing((16, 24))
            cut = TiledNetwork(engine, receptive_field)
            tiles = predict_tiles(picture, cut, preprocessing, transforms)
            return joined(merge_tiles(tiles, image_px))

    np.testing.assert_allclose(probabilities(core_px), probabilities(100_000), atol=1e-4)


@given(SIZES, st.tuples(st.integers(4, 40), st.integers(4, 40)))
def test_blended_tiles_show_each_pixel_where_it_is(
    image_px: tuple[int, int], tile_px: tuple[int, int]
) -> None:
    tiles = predict_tiles(
        ArrayImage(noise(*image_px)),
        TiledNetwork(brightness, ReceptiveField(4, halo_px=None)),
        tile_preprocessing(tile_px),
        NO_AUGMENTATION,
    )
    expected = 1 / (1 + np.exp(-(noise(*image_px).mean(2) / 255 - 0.5) / 0.5))
    np.testing.assert_allclose(joined(merge_tiles(tiles, image_px))[0], expected, atol=1e-5)


def test_a_large_image_is_predicted_in_bands_without_reading_all_of_it() -> None:
    image, boxes = noise(900, 70), []

    class RecordingImage(ArrayImage):
        def read(self, box: Box) -> np.ndarray:
            boxes.append(box)
            return super().read(box)

    with mock.patch.multiple(tile_grid, CORE_PX=64, WHOLE_PIXELS=0):
        tiles = predict_tiles(
            RecordingImage(image),
            TiledNetwork(brightness, ReceptiveField(8, 10)),
            tile_preprocessing((32, 32)),
            NO_AUGMENTATION,
        )
        bands = list(merge_tiles(tiles, (900, 70)))
    assert max(box.height for box in boxes) <= 64 + 2 * 16
    assert len(bands) > 10 and joined(bands).shape == (1, 900, 70)


@given(SIZES, st.integers(4, 30))
def test_every_tile_shows_a_part_of_the_image(image_px: tuple[int, int], core_px: int) -> None:
    with mock.patch.multiple(tile_grid, CORE_PX=core_px, WHOLE_PIXELS=0):
        cells = list(plan_tiles(image_px, (64, 64), ReceptiveField(4, 3)).cells())
    assert all(cell.box.height > 0 and cell.box.width > 0 for cell in cells)
    assert sum(cell.box.height * cell.box.width for cell in cells) == image_px[0] * image_px[1]


@given(SIZES, st.integers(4, 30), st.integers(1, 9), st.integers(1, 9))
def test_parts_have_each_tile_once(
    image_px: tuple[int, int], core_px: int, most_rows: int, most_columns: int
) -> None:
    with mock.patch.multiple(tile_grid, CORE_PX=core_px, WHOLE_PIXELS=0):
        grid = plan_tiles(image_px, (24, 24), ReceptiveField(4, 3))
    rows, columns = (
        [Strip(index, count) for index in range(count)]
        for count in (
            min(most_rows, len(grid.core_rows)),
            min(most_columns, len(grid.core_columns)),
        )
    )
    parts = [grid.part(GridPart(*strips)) for strips in product(rows, columns)]
    assert sorted(cell for part in parts for cell in part.cells()) == sorted(grid.cells())
    for part in parts:
        top, left, bottom, right = part.source.edges
        for cell in part.cells():
            assert top <= cell.outer.top and left <= cell.outer.left
            assert cell.outer.edges[2] <= bottom and cell.outer.edges[3] <= right
        area = sum(cell.box.height * cell.box.width for cell in part.cells())
        assert area == part.box.height * part.box.width


@given(st.integers(1, 200_000), st.integers(1, 30_000), st.integers(0, 1500))
def test_strips_of_columns_are_hardly_halo(width_px: int, most_px: int, halo_px: int) -> None:
    grid = plan_tiles((1000, width_px), (64, 64), ReceptiveField(32, halo_px))
    count = grid.count_columns(most_px)
    assert 1 <= count <= -(-width_px // most_px)
    for index in range(count):
        part = grid.part(GridPart(columns=Strip(index, count)))
        assert part.source.width <= part.box.width + 2 * (grid.halo_px + 64)
        assert count == 1 or part.box.width > 4 * grid.halo_px


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9), st.integers(1, 12))
def test_bands_are_cut_to_so_many_rows(heights: list[int], rows: int) -> None:
    planes = np.random.default_rng(0).random((2, sum(heights), 3)).astype(np.float32)
    edges = np.cumsum([0, *heights])
    bands = (planes[:, top:bottom] for top, bottom in pairwise(edges))
    cut = list(split_rows(bands, rows))
    assert all(part.shape[1] == rows for part in cut[:-1])
    assert not planes.size or np.array_equal(np.concatenate(cut, axis=1), planes)
