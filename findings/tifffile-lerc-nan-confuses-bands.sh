#!/usr/bin/env bash
# tifffile 2026.3.3: a LERC GeoTIFF of several bands whose NaN differ between bands is read with its pixels out of place.
#
# Behaviour: GDAL keeps NaN in LERC as a hole. Where all bands of a pixel-interleaved file have the same holes, a
#   segment is one blob of (rows, columns, bands), and tifffile gives the pixels that rasterio gives, with 0 for NaN.
#   Where one pixel of one band alone is NaN, the segment is a blob of (bands, rows, columns). tifffile takes its numbers
#   for (rows, columns, bands): shape and type are right, nothing is raised or warned, and nearly every pixel of
#   the segment is another.
# What one would guess: a compression without loss gives each pixel back, and a single NaN changes a single pixel.
# What follows: decode the blobs by imagecodecs with masks=True, which also tells the holes, and bring the bands to the
#   last axis where the header says that a pixel has one number; or read such files with rasterio.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tifffile==2026.3.3 imagecodecs==2026.3.6 rasterio==1.4.4 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import imagecodecs
import numpy as np
import rasterio
import tifffile

bands = np.random.default_rng(0).normal(size=(2, 40, 50)).astype(np.float32)


def compare(compress: str, holes: list[tuple[int, ...]]) -> tuple[float, tuple[int, ...]]:
    """The share of equal numbers, and the shape of the first blob; NaN counts as 0."""
    pixels = bands.copy()
    for hole in holes:
        pixels[hole] = np.nan
    options = {"driver": "GTiff", "height": 40, "width": 50, "count": 2, "dtype": "float32"}
    with rasterio.open("x.tif", "w", **options, interleave="pixel", compress=compress) as file:
        file.write(pixels)
    with rasterio.open("x.tif") as file:
        expected = np.nan_to_num(np.moveaxis(file.read(), 0, -1))
    with tifffile.TiffFile("x.tif") as file:
        page = file.pages.first
        file.filehandle.seek(page.dataoffsets[0])
        segment = file.filehandle.read(page.databytecounts[0])
        shape = imagecodecs.lerc_decode(segment).shape if compress == "LERC" else ()
        return float((np.nan_to_num(page.asarray()) == expected).mean()), shape


print("tifffile", tifffile.__version__, "rasterio", rasterio.__version__)
none, both, one = [], [(slice(None), 3, 4)], [(0, 3, 4)]
for name, holes in {"no NaN": none, "a pixel of both bands": both, "a pixel of one band": one}.items():
    for compress in ("LERC", "DEFLATE"):
        print(name, compress, *compare(compress, holes))
assert compare("LERC", none)[0] == compare("LERC", both)[0] == 1
assert compare("DEFLATE", one)[0] == 1
share, shape = compare("LERC", one)
# The other strip of 20 rows holds no NaN
assert share < 0.51 and shape == (2, 20, 50)
PYTHON
# Output seen:
#   no NaN LERC 1.0 (20, 50, 2)
#   no NaN DEFLATE 1.0 ()
#   a pixel of both bands LERC 1.0 (20, 50, 2)
#   a pixel of both bands DEFLATE 1.0 ()
#   a pixel of one band LERC 0.5005 (2, 20, 50)
#   a pixel of one band DEFLATE 1.0 ()
