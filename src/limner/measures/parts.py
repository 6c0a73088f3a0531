"""Measures of the connected parts of a mask, by the definitions of scikit-image.

Pixels of a class are connected where they share a side or a corner, so parts that touch are one.
"""

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Integer, Shaped, UInt8
from numpy import ndarray

from limner.data.readers.pixel_size import PixelSize
from limner.data.views import Box
from limner.errors import requires_extra

EXTRA = "measure"
AREA = "area"
LENGTHS = {
    "perimeter": "perimeter",
    "equivalent_diameter_area": "equivalent_diameter",
    "axis_major_length": "axis_major",
    "axis_minor_length": "axis_minor",
    "feret_diameter_max": "feret_diameter",
}
"""Properties of `skimage.measure.regionprops` that are lengths, and how they are called here."""
RATIOS = ("eccentricity", "solidity", "orientation")
CENTRE = {"centroid-0": "y", "centroid-1": "x"}
EDGES = {"bbox-0": "top", "bbox-1": "left", "bbox-2": "bottom", "bbox-3": "right"}
INTENSITIES = ("intensity_mean", "intensity_std", "intensity_min", "intensity_max")
"""Of each channel."""
MEASURED = (AREA, *LENGTHS, *RATIOS, "centroid", "bbox", "euler_number")
ISOTROPIC = 1e-6
"""Sides of a pixel that differ by a smaller share are equal."""

Columns = dict[str, Shaped[ndarray, " _"]]
"""A number for each part, by the name of the measure."""


def label_parts(codes: UInt8[ndarray, "h w"]) -> Integer[ndarray, "h w"]:
    """Number the connected parts of all classes from 1 on; code 0 is in no part."""
    with requires_extra("limner measure", EXTRA):
        from skimage.measure import label
    parts: Integer[ndarray, "h w"] = label(codes, background=0, connectivity=2)
    return parts


def measure_parts(
    parts: Integer[ndarray, "h w"],
    values: Shaped[ndarray, "h w c"] | None,
    size: PixelSize | None,
    box: Box,
    size_px: tuple[int, int],
) -> Columns:
    """Measure the parts of a mask, or of a part of it.

    Args:
        parts: Their numbers; 0 is in no part.
        values: Of the image's channels, for the intensities.
        size: Of a pixel; without it there are measures in pixels alone.
        box: What of the image `parts` shows.
        size_px: Height and width of the whole image.

    Returns:
        Columns in the order of the numbers. Lengths and areas in pixels end in `_px`, and those in
        the unit of `size` in its name, such as `_um` and `_um2`. Positions are those in the whole
        image, of the middle of a pixel at the upper left as (0, 0).
    """
    table = _regionprops(parts, MEASURED)
    columns: Columns = {"area_px": table[AREA].astype(int)}
    columns |= {f"{name}_px": table[key] for key, name in LENGTHS.items()}
    columns |= _shape_numbers(table)
    columns |= _positions(table, box, size_px)
    if size is not None:
        columns |= _in_unit(columns, parts, size)
    return columns | _intensities(parts, values)


def _regionprops(
    parts: Integer[ndarray, "h w"], properties: tuple[str, ...], **options: Any
) -> Mapping[str, Shaped[ndarray, " _"]]:
    from skimage.measure import regionprops_table

    with warnings.catch_warnings():
        # Of a part on one line: it is its own convex hull
        warnings.simplefilter("ignore")
        table: Mapping[str, Shaped[ndarray, " _"]] = regionprops_table(
            parts, properties=properties, **options
        )
    return table


def _shape_numbers(table: Mapping[str, Shaped[ndarray, " _"]]) -> Columns:
    """Numbers without a unit."""
    perimeter = table["perimeter"]
    has_perimeter = perimeter > 0
    circularity = np.full(len(perimeter), np.nan)
    area = table[AREA][has_perimeter]
    circularity[has_perimeter] = 4 * math.pi * area / perimeter[has_perimeter] ** 2
    return {
        "circularity": circularity,
        "eccentricity": table["eccentricity"],
        "solidity": table["solidity"],
        "orientation_degrees": np.degrees(table["orientation"]),
        "holes": 1 - table["euler_number"].astype(int),
    }


def _positions(
    table: Mapping[str, Shaped[ndarray, " _"]], box: Box, size_px: tuple[int, int]
) -> Columns:
    origin = {"y": box.top, "x": box.left}
    origin |= {"top": box.top, "left": box.left, "bottom": box.top, "right": box.left}
    columns: Columns = {
        f"{name}_px": table[key] + origin[name] for key, name in (CENTRE | EDGES).items()
    }
    columns["touches_border"] = (
        (columns["top_px"] == 0)
        | (columns["left_px"] == 0)
        | (columns["bottom_px"] == size_px[0])
        | (columns["right_px"] == size_px[1])
    )
    return columns


def _in_unit(columns: Columns, parts: Integer[ndarray, "h w"], size: PixelSize) -> Columns:
    """Give areas, lengths and centres in the unit of a pixel's size."""
    suffix = unit_suffix(size.unit)
    scaled: Columns = {
        f"area_{suffix}2": columns["area_px"] * size.height * size.width,
        f"y_{suffix}": columns["y_px"] * size.height,
        f"x_{suffix}": columns["x_px"] * size.width,
    }
    if math.isclose(size.height, size.width, rel_tol=ISOTROPIC):
        lengths = {name: columns[f"{name}_px"] * size.height for name in LENGTHS.values()}
    else:
        keys = tuple(key for key in LENGTHS if key != "perimeter")
        table = _regionprops(parts, keys, spacing=(size.height, size.width))
        # scikit-image defines no perimeter for pixels that are not square
        unknown = np.full(len(columns["area_px"]), np.nan)
        lengths = {name: table.get(key, unknown) for key, name in LENGTHS.items()}
    return scaled | {f"{name}_{suffix}": values for name, values in lengths.items()}


def unit_suffix(unit: str) -> str:
    """Spell a unit as the names of columns do: um for µm."""
    return unit.replace("µ", "u")


def _intensities(
    parts: Integer[ndarray, "h w"], values: Shaped[ndarray, "h w c"] | None
) -> Columns:
    if values is None:
        return {}
    table = _regionprops(parts, INTENSITIES, intensity_image=values)
    return {
        f"{key}_{channel + 1}": table[f"{key}-{channel}"]
        for channel in range(values.shape[2])
        for key in INTENSITIES
    }
