#!/usr/bin/env bash
# czifile 2019.7.2.3, the newest that pip finds for Python 3.11, fails with a KeyError on CZI files in Zstandard, which
# Zeiss's own library writes.
#
# Behaviour: its table of codecs knows JPEG, LZW and JPEG XR. Tiles of the codes 5 and 6 (Zstd0, Zstd1) raise KeyError: 6
#   when they are decoded, though header, directory and metadata of the file are read. `asarray` decodes in threads
#   and drops the error: the array comes back, filled with whatever it was made of.
# What one would guess: pip installs a reader of the format, and a file that it cannot decode raises an error.
# What follows: decode tiles yourself (`data_segment().data(raw=True)`, then imagecodecs.zstd_decode behind the header of
#   Zstd1), or ask for Python 3.12 and a newer czifile. Never trust `asarray` of this one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet czifile==2019.7.2.3 pylibCZIrw==6.1.0 imagecodecs==2026.3.6 tifffile==2026.3.3 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import warnings

import numpy as np
from czifile import CziFile
from pylibCZIrw import czi as zeiss

warnings.simplefilter("ignore")
plane = np.random.default_rng(0).integers(1, 60000, (64, 80, 1)).astype(np.uint16)
with zeiss.create_czi("a.czi", compression_options="zstd1:ExplicitLevel=2") as file:
    file.write(plane, plane={"Z": 0})
with zeiss.open_czi("a.czi") as file:
    print("by Zeiss's library the same:", bool((file.read(plane={"Z": 0}) == plane).all()))
with CziFile("a.czi") as file:
    print("czifile reads the header:", file.axes, file.shape)
    entry = file.filtered_subblock_directory[0]
    try:
        entry.data_segment().data()
        raise AssertionError("it decodes Zstandard now")
    except KeyError as error:
        print("decoding a tile: KeyError:", error)
    whole = file.asarray(max_workers=2)
    equal = bool((whole.ravel() == plane.ravel()).all())
    print("asarray returns an array without an error; it equals the image:", equal)
    assert not equal
PYTHON
# Output seen:
#   by Zeiss's library the same: True
#   czifile reads the header: STCZYX0 (1, 1, 1, 1, 64, 80, 1)
#   decoding a tile: KeyError: 6
#   asarray returns an array without an error; it equals the image: False
