#!/usr/bin/env bash
# segmentation-models-pytorch 0.6.0: whatever is drawn on an image without an object costs nothing by Dice, Jaccard or Tversky.
#
# Behaviour: DiceLoss, JaccardLoss and TverskyLoss sum over the batch and set the loss of a class to 0 where the batch has no
#   pixel of it. On an empty mask a prediction of everything has the loss 0 and no gradient, as a prediction of nothing has.
#   One object anywhere in the batch changes that: the same prediction then costs 0.89. LovaszLoss, and MONAI's DiceLoss on
#   the same arrays, count what is drawn on an empty mask.
# What one would guess: an object that is not there has an overlap of 0, so drawing it everywhere costs 1. How much it costs
#   does not hang on the other images of the batch.
# What follows: with batches of one or two, or a class that is rare, false positives are never learnt from. Add a loss per
#   pixel, or mix empty images with others.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet torch==2.14.1 torchvision==0.29.1 timm==1.0.31 segmentation-models-pytorch==0.6.0 monai==1.6.1
venv/bin/python -W ignore - <<'PYTHON'
import segmentation_models_pytorch as smp
import torch
from monai.losses import DiceLoss

LOSSES = {
    "SMP's DiceLoss": smp.losses.DiceLoss("binary"),
    "SMP's JaccardLoss": smp.losses.JaccardLoss("binary"),
    "SMP's TverskyLoss": smp.losses.TverskyLoss("binary"),
    "SMP's LovaszLoss": smp.losses.LovaszLoss("binary"),
    "MONAI's DiceLoss": DiceLoss(sigmoid=True),
}
empty, disc = torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
disc[..., 8:16, 8:16] = 1
seen = {}
for name, loss in LOSSES.items():
    everything = torch.full((1, 1, 32, 32), 4.0, requires_grad=True)
    alone = loss(everything, empty)
    alone.backward()
    moved = float(everything.grad.abs().sum())
    found = torch.where(disc > 0, 4.0, -4.0)
    beside = loss(torch.cat([found, everything.detach()]), torch.cat([disc, empty]))
    seen[name] = (round(float(alone.detach()), 2), moved > 0, round(float(beside), 2))
    print(f"{name}: everything on an empty mask {seen[name][0]}, a gradient {seen[name][1]};", end=" ")
    print(f"beside an image that is right {seen[name][2]}")
for name in ("Dice", "Jaccard", "Tversky"):
    assert seen[f"SMP's {name}Loss"][:2] == (0.0, False) and seen[f"SMP's {name}Loss"][2] > 0.8, seen
assert seen["SMP's LovaszLoss"][1] and seen["MONAI's DiceLoss"][0] > 0.9, seen
PYTHON
# Output seen:
#   SMP's DiceLoss: everything on an empty mask 0.0, a gradient False; beside an image that is right 0.89
#   SMP's JaccardLoss: everything on an empty mask 0.0, a gradient False; beside an image that is right 0.94
#   SMP's TverskyLoss: everything on an empty mask 0.0, a gradient False; beside an image that is right 0.89
#   SMP's LovaszLoss: everything on an empty mask 5.0, a gradient True; beside an image that is right 4.71
#   MONAI's DiceLoss: everything on an empty mask 1.0, a gradient True; beside an image that is right 0.56
