#!/usr/bin/env bash
# timm 1.0.31: the features of some convolutional models have their channels last, and feature_info does not say so.
#
# Behaviour: create_model(name, features_only=True) gives tensors (b, c, h, w) for most models. For others, MambaOut (a
#   network of gated convolutions) and Swin among them, they are (b, h, w, c). feature_info.channels() and reduction()
#   look the same for both kinds. Only the attribute output_fmt of the model tells; models without it are NCHW.
# What one would guess: feature_info describes the tensors, so that a decoder may take channels()[i] at dimension 1.
# What follows: read output_fmt and permute. A decoder that does not may still run where a side equals the channels.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 timm==1.0.31
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import timm
import torch

print("timm", timm.__version__)
seen = {}
for name in ("convnext_atto", "mambaout_femto"):
    model = timm.create_model(name, features_only=True).eval()
    channels, reductions = model.feature_info.channels(), model.feature_info.reduction()
    with torch.no_grad():
        shapes = [tuple(features.shape) for features in model(torch.zeros(1, 3, 224, 160))]
    first = [(1, c, 224 // r, 160 // r) for c, r in zip(channels, reductions)]
    last = [(1, 224 // r, 160 // r, c) for c, r in zip(channels, reductions)]
    seen[name] = "first" if shapes == first else "last" if shapes == last else "elsewhere"
    keys = sorted(model.feature_info.get_dicts()[0])
    print(f"{name:15s} channels {channels}, the first features {shapes[0]}: channels {seen[name]};")
    print(f"{'':15s} feature_info says {keys}; output_fmt {getattr(model, 'output_fmt', None)}")
    assert not any("fmt" in key or "format" in key for key in keys), "feature_info says it now"
assert seen == {"convnext_atto": "first", "mambaout_femto": "last"}, seen
PYTHON
# Output seen: convnext_atto (1, 40, 56, 40): channels first; mambaout_femto (1, 56, 40, 48): channels last; feature_info
#   of both has index, module, num_chs and reduction alone.
