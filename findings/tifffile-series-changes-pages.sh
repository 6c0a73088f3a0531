#!/usr/bin/env bash
# tifffile 2026.3.3: of an OME-TIFF, reading `.series` first changes what `.pages` gives afterwards.
#
# Behaviour: TiffFile.pages of an OME-TIFF of four planes yields four TiffPage objects, each with its tags. Where
#   `.series` was read before, the same expression yields one TiffPage and three TiffFrame objects, which have no
#   `tags`, no `subfiletype` and no `description`. ImageJ files and plain ones do not change.
# What one would guess: `.series` is a view of the file, and reading it changes nothing; code that loops over pages
#   to look at a tag (a reduced image, an orientation) works whatever was read before.
# What follows: read what is needed of the pages before `.series`, or set `pages.useframes = False` afterwards and
#   clear what it has cached.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tifffile==2026.3.3 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import io

import numpy as np
import tifffile

stack = np.zeros((4, 32, 32), np.uint8)


def kinds(series_first: bool, **options: object) -> tuple[list[str], bool]:
    content = io.BytesIO()
    tifffile.imwrite(content, stack, photometric="minisblack", **options)
    content.seek(0)
    with tifffile.TiffFile(content) as file:
        if series_first:
            assert file.series[0].shape == stack.shape
        pages = list(file.pages)
        return [type(page).__name__ for page in pages], all(hasattr(page, "tags") for page in pages)


print("tifffile", tifffile.__version__)
for name, options in {"OME": {"ome": True, "metadata": {"axes": "ZYX"}}, "ImageJ": {"imagej": True}}.items():
    for series_first in (False, True):
        print(name, "series read first" if series_first else "pages read first", *kinds(series_first, **options))
assert kinds(False, ome=True, metadata={"axes": "ZYX"}) == (["TiffPage"] * 4, True)
assert kinds(True, ome=True, metadata={"axes": "ZYX"}) == (["TiffPage"] + ["TiffFrame"] * 3, False)
assert kinds(True, imagej=True) == (["TiffPage"] * 4, True)
PYTHON
# Output seen:
#   OME pages read first ['TiffPage', 'TiffPage', 'TiffPage', 'TiffPage'] True
#   OME series read first ['TiffPage', 'TiffFrame', 'TiffFrame', 'TiffFrame'] False
#   ImageJ pages read first ['TiffPage', 'TiffPage', 'TiffPage', 'TiffPage'] True
#   ImageJ series read first ['TiffPage', 'TiffPage', 'TiffPage', 'TiffPage'] True
