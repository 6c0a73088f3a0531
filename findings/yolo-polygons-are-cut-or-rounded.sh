#!/usr/bin/env bash
# ultralytics 8.4.190 and supervision 0.31.2: the same YOLO label file gives two masks, since one cuts the fraction of a
# pixel off and the other rounds it.
#
# Behaviour: both multiply the shares of a label line by the image's size and fill with cv2.fillPoly. Ultralytics casts to
#   integers (4.9 becomes 4), supervision rounds first (4.9 becomes 5). Polygons of 6 decimals move by up to a pixel.
# What one would guess: a label file means one mask, whichever of the two reads it.
# What follows: compare masks of YOLO files by one of them alone. Whoever writes label files with whole pixels adds a
#   quarter of a pixel: cut or rounded, it stays where it was. A half, the middle of a pixel, does not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet supervision==0.31.2 opencv-python-headless==5.0.0.93 numpy==2.4.6 torch==2.13.0 \
  py-cpuinfo psutil requests pyyaml matplotlib polars
"$folder/venv/bin/pip" install --quiet --no-deps ultralytics==8.4.190 ultralytics-thop==2.2.2 torchvision==0.29.1
cd "$folder"
YOLO_CONFIG_DIR="$folder" YOLO_OFFLINE=true "$folder/venv/bin/python" - <<'PYTHON' 2>&1 | grep -v "Ultralytics Settings\|Update Settings"
import cv2
import numpy as np
import supervision
from pathlib import Path
from ultralytics.data.utils import polygons2masks_overlap

WIDTH, HEIGHT = 40, 30


def both(shares: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """How many pixels differ, and the two masks of one polygon."""
    for name in ("images", "labels"):
        Path(name).mkdir(exist_ok=True)
    cv2.imwrite("images/a.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    Path("labels/a.txt").write_text("0 " + " ".join(f"{value:.6f}" for value in shares.ravel()) + "\n")
    Path("data.yaml").write_text("train: images\nval: images\nnames: [leaf]\n")
    found = supervision.DetectionDataset.from_yolo("images", "labels", "data.yaml", force_masks=True)
    rounded = next(iter(found))[2].mask[0]
    points = np.array(Path("labels/a.txt").read_text().split()[1:], float).reshape(-1, 2) * (WIDTH, HEIGHT)
    cut = polygons2masks_overlap((HEIGHT, WIDTH), [points])[0] > 0
    return int((rounded != cut).sum()), rounded, cut


corners = np.array([[5, 4], [20, 4], [20, 18], [5, 18]])
for added in (0.9, 0.5, 0.25):
    differ, rounded, cut = both((corners + added) / (WIDTH, HEIGHT))
    print(f"corners + {added}: columns by supervision {np.flatnonzero(rounded.any(0))[[0, -1]].tolist()}, "
          f"by ultralytics {np.flatnonzero(cut.any(0))[[0, -1]].tolist()}, {differ} pixels differ")
    assert (differ == 0) == (added == 0.25), differ
rng = np.random.default_rng(0)
differ = sum(both(rng.uniform(0.05, 0.95, (5, 2)))[0] > 0 for _ in range(200))
print("of 200 random polygons differ:", differ)
assert differ > 150
PYTHON
# Output seen:
#   corners + 0.9: columns by supervision [6, 21], by ultralytics [5, 20], 60 pixels differ
#   corners + 0.5: columns by supervision [6, 20], by ultralytics [5, 20], 30 pixels differ
#   corners + 0.25: columns by supervision [5, 20], by ultralytics [5, 20], 0 pixels differ
#   of 200 random polygons differ: 200
