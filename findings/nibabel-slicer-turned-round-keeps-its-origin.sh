#!/usr/bin/env bash
# nibabel 5.4.2: image.slicer[::-1] turns an axis round and leaves the origin of the affine where it was.
#
# Behaviour: the step of the axis changes its sign in the affine, and the translation stays that of the old first voxel.
#   So the volume lies displaced by its length less one voxel. as_reoriented with the same turn gives the right affine.
# What one would guess: the slicer, which exists so that the affine fits what is cut, leaves each voxel at its place. For
#   starts and steps above 0 it does.
# What follows: masks that are turned round so for comparison or augmentation, and saved, lie elsewhere in the body. Use
#   as_reoriented, or give the start: slicer[n - 1 :: -1] moves the origin as it should.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet nibabel==5.4.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import nibabel
import numpy as np

image = nibabel.Nifti1Image(np.arange(24.0).reshape(4, 3, 2), np.diag([2.0, 1.0, 1.0, 1.0]))
turns = {
    "slicer[::-1]": image.slicer[::-1],
    "slicer[3::-1]": image.slicer[3::-1],
    "as_reoriented": image.as_reoriented([[0, -1], [1, 1], [2, 1]]),
    "slicer[1::2]": image.slicer[1::2],
}
places = {}
for name, turned in turns.items():
    value = turned.get_fdata()[0, 0, 0]
    where = np.argwhere(image.get_fdata() == value)[0]
    here, before = (each.affine @ [*at, 1] for each, at in ((turned, (0, 0, 0)), (image, where)))
    places[name] = here[0] == before[0]
    print(f"{name}: the voxel of value {value:g} is at x {here[0]:g} mm, and was at {before[0]:g}")
assert list(places.values()) == [False, True, True, True]
PYTHON
# Output seen:
#   slicer[::-1]: the voxel of value 18 is at x 0 mm, and was at 6
#   slicer[3::-1]: the voxel of value 18 is at x 6 mm, and was at 6
#   as_reoriented: the voxel of value 18 is at x 6 mm, and was at 6
#   slicer[1::2]: the voxel of value 6 is at x 2 mm, and was at 2
