#!/usr/bin/env bash
# SimpleITK 2.5.7: STAPLE of masks that all raters drew alike can be NaN, and ties become a class that nobody drew.
#
# Behaviour: where every rater marks every pixel, or none, STAPLE gives NaN in the whole image. The usual threshold of 0.5
#   makes an empty mask of it: three raters who agree that all is foreground have a consensus of nothing. MultiLabelSTAPLE of
#   the same masks is right. Where two raters differ, MultiLabelSTAPLE and LabelVoting give a class one above the highest.
# What one would guess: raters who agree are believed; and a consensus of 0 and 1 holds 0 and 1 alone.
# What follows: crops within an object, and empty slices, must be left out before STAPLE. Undecided pixels need a label of
#   one's own (labelForUndecidedPixels), or they are counted as a class more.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet SimpleITK==2.5.7 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import numpy as np
import SimpleITK as sitk


def image(values):
    return sitk.GetImageFromArray(np.asarray(values, np.uint8))


def values(result):
    return np.unique(sitk.GetArrayFromImage(result))


for name, mask in (("nothing", np.zeros((4, 4))), ("everything", np.ones((4, 4)))):
    raters = [image(mask)] * 3
    staple, several = values(sitk.STAPLE(raters, 1.0)), values(sitk.MultiLabelSTAPLE(raters))
    thresholded = values(sitk.STAPLE(raters, 1.0) > 0.5)
    print(f"all mark {name}: STAPLE {staple}, above 0.5 {thresholded}, MultiLabelSTAPLE {several}")
    assert np.isnan(staple).all() and (thresholded == 0).all() and (several == mask[0, 0]).all()
pair = [image([[0, 1, 1]]), image([[0, 0, 1]])]
voted, several = (values(method(pair)) for method in (sitk.LabelVoting, sitk.MultiLabelSTAPLE))
print(f"two raters of 0 and 1 who differ in one pixel: LabelVoting {voted}, MultiLabelSTAPLE {several}")
assert voted.tolist() == several.tolist() == [0, 1, 2]
PYTHON
# Output seen:
#   all mark nothing: STAPLE [nan], above 0.5 [0], MultiLabelSTAPLE [0]
#   all mark everything: STAPLE [nan], above 0.5 [0], MultiLabelSTAPLE [1]
#   two raters of 0 and 1 who differ in one pixel: LabelVoting [0 1 2], MultiLabelSTAPLE [0 1 2]
