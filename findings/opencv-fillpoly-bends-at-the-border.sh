#!/usr/bin/env bash
# opencv-python-headless 5.0.0.93: a polygon that reaches one pixel beyond the image is drawn otherwise within it.
#
# Behaviour: fillPoly cuts each edge at the border in whole pixels before it draws it, and takes the slope of what is
#   left for the filling. The triangle (12,1) (12,0) (11,6) covers four pixels of column 11 in an image of 13 columns. In an
#   image of 12 columns it covers seven. Corners at the very width are usual: a polygon of YOLO that touches the right
#   border has x = 1.0, which becomes the width when it is multiplied.
# What one would guess: pixels outside of the image are left out, and those within stay as they are, as cropping does.
# What follows: a mask of YOLO's polygons is not what another program draws and crops, and to equal OpenCV the same cut
#   must be made; or keep corners at most at width - 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet opencv-python-headless==5.0.0.93 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import cv2
import numpy as np


def draw(points: list[list[int]], width: int) -> np.ndarray:
    mask = np.zeros((12, width), np.uint8)
    cv2.fillPoly(mask, [np.array(points, np.int32)], 1)
    return mask[:, :12]


print("opencv", cv2.__version__)
triangle = [[12, 1], [12, 0], [11, 6]]
within, cropped = draw(triangle, 12), draw(triangle, 13)
print("rows of column 11, in 12 columns:", np.flatnonzero(within[:, 11]).tolist())
print("rows of column 11, in 13 columns:", np.flatnonzero(cropped[:, 11]).tolist())
rng = np.random.default_rng(0)
polygons = [rng.integers(0, 13, (4, 2)).tolist() for _ in range(1000)]
differ = sum((draw(each, 12) != draw(each, 13)).any() for each in polygons)
inside = [(np.array(each) % 12).tolist() for each in polygons]
print("of 1000 polygons with corners from 0 to 12 differ:", differ)
print("of 1000 polygons with corners from 0 to 11 differ:",
      sum((draw(each, 12) != draw(each, 13)).any() for each in inside))
assert within[:, 11].sum() == 7 and 0 < cropped[:, 11].sum() < 7
assert differ > 100
PYTHON
# Output seen:
#   opencv 5.0.0
#   rows of column 11, in 12 columns: [0, 1, 2, 3, 4, 5, 6]
#   rows of column 11, in 13 columns: [3, 4, 5, 6]
#   of 1000 polygons with corners from 0 to 12 differ: 234
#   of 1000 polygons with corners from 0 to 11 differ: 0
