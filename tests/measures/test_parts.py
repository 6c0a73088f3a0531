"""Measures of parts: by hand, and by scikit-image on whole images."""

import math

import numpy as np
import pytest
from skimage.measure import label, regionprops_table

from limner.data.readers.pixel_size import PixelSize
from limner.data.views import Box
from limner.measures.large_parts import cut_part, find_parts
from limner.measures.parts import LENGTHS, Columns, label_parts, measure_parts


def blobs(height: int, width: int, seed: int, share: float = 0.35) -> np.ndarray:
    """Codes of two classes in smooth noise."""
    from scipy import ndimage

    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), 2)
    codes = np.zeros((height, width), np.uint8)
    codes[noise > np.quantile(noise, 1 - share)] = 1
    codes[noise < np.quantile(noise, share / 2)] = 2
    return codes


def measured(
    codes: np.ndarray, size: PixelSize | None = None, values: np.ndarray | None = None
) -> Columns:
    size_px = (codes.shape[0], codes.shape[1])
    return measure_parts(label_parts(codes), values, size, Box(0, 0, *size_px), size_px)


def test_a_square_has_the_measures_of_a_square() -> None:
    codes = np.zeros((20, 20), np.uint8)
    codes[4:14, 6:16] = 1
    codes[6:8, 8:10] = 0
    (row,) = zip(*measured(codes, PixelSize(0.5, 0.5, "µm")).values(), strict=True)
    table = dict(zip(measured(codes, PixelSize(0.5, 0.5, "µm")), row, strict=True))
    assert (table["area_px"], table["area_um2"], table["holes"]) == (96, 24.0, 1)
    assert (table["top_px"], table["left_px"], table["bottom_px"], table["right_px"]) == (
        4,
        6,
        14,
        16,
    )
    assert not table["touches_border"] and table["solidity"] == pytest.approx(0.96)
    assert table["equivalent_diameter_um"] == pytest.approx(0.5 * 2 * math.sqrt(96 / math.pi))


def test_many_parts_have_the_measures_of_scikit_image() -> None:
    codes = blobs(200, 260, 0)
    values = np.random.default_rng(1).integers(0, 4096, (*codes.shape, 2)).astype(np.uint16)
    table = measured(codes, values=values)
    keys = ("area", "perimeter", "eccentricity", "solidity", "centroid", "feret_diameter_max")
    with np.errstate(all="ignore"):
        expected = regionprops_table(
            label(codes, background=0),
            intensity_image=values,
            properties=(*keys, "intensity_mean", "intensity_max"),
        )
    assert len(table["area_px"]) > 250
    names = {"area_px": "area", "perimeter_px": "perimeter", "eccentricity": "eccentricity"}
    names |= {"solidity": "solidity", "y_px": "centroid-0", "x_px": "centroid-1"}
    names |= {"feret_diameter_px": "feret_diameter_max", "intensity_mean_2": "intensity_mean-1"}
    names |= {"intensity_max_1": "intensity_max-0"}
    for ours, theirs in names.items():
        assert np.array_equal(table[ours], expected[theirs]), ours


def test_parts_that_share_a_corner_are_one_and_classes_are_kept_apart() -> None:
    codes = np.array([[1, 0, 2], [0, 1, 2], [0, 0, 1]], np.uint8)
    assert sorted(measured(codes)["area_px"]) == [2, 3]


def test_pixels_that_are_not_square_have_lengths_but_no_perimeter() -> None:
    codes = np.zeros((20, 20), np.uint8)
    codes[5:15, 5:9] = 1
    table = measured(codes, PixelSize(2.0, 1.0, "mm"))
    assert table["area_mm2"] == 80 and np.isnan(table["perimeter_mm"]).all()
    assert table["axis_major_mm"][0] == pytest.approx(4 * math.sqrt(4 * (10**2 - 1) / 12), rel=0.01)
    assert table["feret_diameter_mm"][0] == pytest.approx(math.hypot(20, 4), rel=0.05)


def test_a_single_pixel_has_no_circularity() -> None:
    codes = np.zeros((5, 5), np.uint8)
    codes[0, 2] = 1
    table = measured(codes)
    assert np.isnan(table["circularity"]).all() and table["touches_border"].all()


def test_an_empty_mask_has_all_columns_and_no_row() -> None:
    size = PixelSize(1.0, 1.0, "µm")
    values = np.zeros((4, 4, 3), np.uint8)
    table = measured(np.zeros((4, 4), np.uint8), size, values)
    full = measured(np.ones((4, 4), np.uint8), size, values)
    assert table.keys() == full.keys()
    assert all(len(column) == 0 for column in table.values())
    assert {f"{name}_um" for name in LENGTHS.values()} < table.keys()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_parts_across_bands_are_those_of_the_whole_mask(seed: int, monkeypatch) -> None:
    monkeypatch.setattr("limner.measures.large_parts.BAND_ROWS", 7)
    codes = blobs(90, 60, seed, share=0.5)
    found = find_parts(lambda box: box.crop(codes), (90, 60))
    whole = label_parts(codes)
    assert len(found) == whole.max()
    for part in found:
        inside = np.zeros(codes.shape, bool)
        part.box.crop(inside)[...] = cut_part(part.box.crop(codes), part)
        number = whole[part.seed]
        assert np.array_equal(inside, whole == number)
        assert part.area_px == inside.sum() and part.code == codes[part.seed]
