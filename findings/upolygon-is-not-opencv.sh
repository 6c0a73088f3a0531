#!/usr/bin/env bash
# upolygon 0.2.3 (Darwin's rasteriser): its README calls it the equivalent of OpenCV, and a third of polygons differ.
#
# Behaviour: draw_polygon fills each row between rounded crossings. OpenCV also draws the edges as lines, from corner to
#   corner. So a sharp corner that ends between two rows is left out, and edges between half pixels round otherwise. The
#   README says "Equivalent of calling cv2.drawContours(..., cv2.FILLED)".
# What one would guess: the same polygons in whole pixels give the same mask by both, as the README says.
# What follows: a mask that Darwin exports is not the one that the same points give in OpenCV: draw Darwin's polygons
#   by upolygon, and expect pixels of the outline to differ where two tools meet.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet upolygon==0.2.3 opencv-python-headless==5.0.0.93 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import cv2
import numpy as np
from upolygon import draw_polygon


def both(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint8)
    draw_polygon(first, [points.ravel().tolist()], 1)
    cv2.drawContours(second, [points.astype(np.int32)], -1, 1, cv2.FILLED)
    return first, second


spike = np.array([[19, 14], [12, 10], [11, 18], [5, 16], [13, 0]])
first, second = both(spike)
print("pixels by upolygon", first.sum(), "by OpenCV", second.sum())
print("only OpenCV draws (row, column)", np.argwhere(second > first).tolist())
rng = np.random.default_rng(0)
polygons = [rng.integers(0, 20, (rng.integers(3, 7), 2)) for _ in range(1000)]
differ = sum((np.not_equal(*both(each))).any() for each in polygons)
print("of 1000 random polygons differ:", differ)
assert second[14, 19] == 1 and first[14, 19] == 0
assert differ > 200
PYTHON
# Output seen:
#   pixels by upolygon 123 by OpenCV 124
#   only OpenCV draws (row, column) [[14, 19]]
#   of 1000 random polygons differ: 361
