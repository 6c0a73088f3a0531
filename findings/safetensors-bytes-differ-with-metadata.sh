#!/usr/bin/env bash
# safetensors 0.8.0: the same tensors with the same metadata give other bytes from call to call.
#
# Behaviour: with two or more metadata keys, save() writes the keys of "__metadata__" in an order that changes with
#   every call, even within one process. With one key, or none, the bytes are always the same.
# What one would guess: the format promises reproducible files for equal input (tensors are sorted), so a SHA-256 of
#   the file would name its content, and a cache or a receipt could compare files.
# What follows: put all metadata into one key (as JSON text), or hash the tensors and the metadata, not the file.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet safetensors==0.8.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import json

import numpy as np
import safetensors
from safetensors.numpy import save

tensors = {"weight": np.arange(4, dtype=np.float32)}
metadata = {"author": "a", "classes": "b", "licence": "c", "recipe": "d", "scores": "e", "split": "f"}
several = {save(tensors, metadata) for _ in range(100)}
single = {save(tensors, {"all": json.dumps(metadata, sort_keys=True)}) for _ in range(100)}
none = {save(tensors) for _ in range(100)}
print("safetensors", safetensors.__version__)
print("different files of 100 saves, six metadata keys:", len(several))
print("different files of 100 saves, one key          :", len(single))
print("different files of 100 saves, no metadata      :", len(none))
assert len(several) > 10, "the order of the keys is settled now"
assert len(single) == len(none) == 1
PYTHON
# Output seen: 100 saves gave 93 different files with six keys, 1 with one key, 1 without metadata.
