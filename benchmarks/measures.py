"""Measures of many parts against scikit-image's own, with time and memory.

    python benchmarks/measures.py [PARTS]

It draws a mask of about as many parts (10,000 by default), measures it in memory and part by part,
compares every column with `regionprops_table` of the whole mask, and prints parts a second and the
most memory.
"""

import resource
import sys
import time

import numpy as np
from scipy import ndimage
from skimage.measure import label, regionprops_table

from limner.data.views import Box
from limner.measures.large_parts import cut_part, find_parts
from limner.measures.parts import label_parts, measure_parts

PIXELS_PER_PART = 160
THEIRS = {
    "area_px": "area",
    "perimeter_px": "perimeter",
    "equivalent_diameter_px": "equivalent_diameter_area",
    "axis_major_px": "axis_major_length",
    "axis_minor_px": "axis_minor_length",
    "feret_diameter_px": "feret_diameter_max",
    "eccentricity": "eccentricity",
    "solidity": "solidity",
    "y_px": "centroid-0",
    "x_px": "centroid-1",
    "top_px": "bbox-0",
    "left_px": "bbox-1",
    "bottom_px": "bbox-2",
    "right_px": "bbox-3",
    "intensity_mean_1": "intensity_mean-0",
    "intensity_std_1": "intensity_std-0",
    "intensity_min_1": "intensity_min-0",
    "intensity_max_1": "intensity_max-0",
}


def draw(parts: int) -> tuple[np.ndarray, np.ndarray]:
    """A mask of two classes in smooth noise, and an image of 16 bits."""
    rng = np.random.default_rng(0)
    side = round((parts * PIXELS_PER_PART) ** 0.5)
    noise = ndimage.gaussian_filter(rng.normal(size=(side, side)), 2)
    codes = np.zeros((side, side), np.uint8)
    codes[noise > np.quantile(noise, 0.65)] = 1
    codes[noise < np.quantile(noise, 0.18)] = 2
    return codes, rng.integers(0, 4096, (side, side, 1)).astype(np.uint16)


def main() -> None:
    codes, values = draw(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
    size_px = codes.shape[0], codes.shape[1]
    start = time.perf_counter()
    keys = {name.rpartition("-")[0] or name for name in THEIRS.values()}
    expected = regionprops_table(
        label(codes, background=0), intensity_image=values, properties=tuple(keys)
    )
    theirs = time.perf_counter() - start
    start = time.perf_counter()
    table = measure_parts(label_parts(codes), values, None, Box(0, 0, *size_px), size_px)
    ours = time.perf_counter() - start
    start = time.perf_counter()
    found = find_parts(lambda box: box.crop(codes), size_px)
    rows = [
        measure_parts(
            cut_part(part.box.crop(codes), part).astype(np.uint8),
            part.box.crop(values),
            None,
            part.box,
            size_px,
        )
        for part in found
    ]
    by_part = time.perf_counter() - start
    count = len(expected["area"])
    order = np.lexsort([expected["bbox-1"], expected["bbox-0"]])
    for name, key in THEIRS.items():
        whole = np.abs(table[name] - expected[key]).max()
        single = np.abs(np.concatenate([row[name] for row in rows]) - expected[key][order]).max()
        print(f"{name:24} differs by at most {whole:.1e}, part by part {single:.1e}")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{count:,} parts of {size_px[1]}x{size_px[0]} pixels")
    print(f"regionprops_table {count / theirs:,.0f} parts/s, limner {count / ours:,.0f}, ", end="")
    print(f"part by part {count / by_part:,.0f}; most memory {memory:,.0f} MB")


if __name__ == "__main__":
    main()
