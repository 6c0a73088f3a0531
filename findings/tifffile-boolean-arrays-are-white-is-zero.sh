#!/usr/bin/env bash
# tifffile 2026.3.3: an array of True and False is written as white-is-zero, and not turned.
#
# Behaviour: `imwrite(path, mask)` of a boolean array sets PhotometricInterpretation to 0 (MINISWHITE) and stores True
#   as 1. So every viewer shows True black: Pillow reads False where the array is True. `imread` gives the array back.
# What one would guess: a boolean array is written as `mask.astype(np.uint8)` is, as MINISBLACK, and True is white.
# What follows: pass photometric="minisblack" with a boolean array. And a reader that turns MINISWHITE as TIFF 6.0 asks
#   inverts the masks of everybody who did not; what tells them apart is the description that tifffile adds.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tifffile==2026.3.3 numpy==2.4.6 pillow==12.2.0
"$folder/venv/bin/python" - <<'PYTHON'
import io

import numpy as np
import tifffile
from PIL import Image

mask = np.zeros((8, 8), np.bool_)
mask[2:6, 2:6] = True


def describe(array: np.ndarray, **options: object) -> tuple[str, int, int]:
    """The photometric interpretation, and what tifffile and Pillow read where the mask is True."""
    content = io.BytesIO()
    tifffile.imwrite(content, array, **options)
    content.seek(0)
    photometric = tifffile.TiffFile(content).pages.first.photometric.name
    content.seek(0)
    stored = tifffile.imread(content)
    content.seek(0)
    return photometric, int(stored[3, 3]), int(np.asarray(Image.open(content))[3, 3])


print("tifffile", tifffile.__version__)
default, explicit = describe(mask), describe(mask, photometric="minisblack")
as_bytes = describe(mask.astype(np.uint8))
print("bool", *default)
print("bool, minisblack", *explicit)
print("uint8", *as_bytes)
assert default == ("MINISWHITE", 1, 0)
assert explicit == ("MINISBLACK", 1, 1)
assert as_bytes == ("MINISBLACK", 1, 1)
PYTHON
# Output seen:
#   bool MINISWHITE 1 0
#   bool, minisblack MINISBLACK 1 1
#   uint8 MINISBLACK 1 1
