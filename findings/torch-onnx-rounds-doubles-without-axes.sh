#!/usr/bin/env bash
# torch 2.13.0, onnx 1.23.2 and onnxruntime 1.27.0: in the exporter without torch.export a double without axes is
# rounded to single precision on its way, though everything around it is double.
#
# Behaviour: arange(5).double() * (length / 7), where length is one side of the image as a double without axes, is
#   exported with a Cast to float behind the division and one back to double before the product. The result is of type
#   double and wrong from the eighth digit on. With an axis of length one (length.reshape(1)) it is exact.
# What one would guess: a graph of doubles alone computes in doubles, as torch does.
# What follows: weights for resizing that are made in a graph differ by some 1e-7, which turns into other pixels where
#   they are rounded to whole numbers. Give every number in a graph an axis, and compare to the last digit.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 onnx==1.23.2 onnxruntime==1.27.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON' 2>/dev/null
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

warnings.simplefilter("ignore")


class Positions(nn.Module):
    def __init__(self, axes):
        super().__init__()
        self.axes = axes

    def forward(self, image):
        length = torch._shape_as_tensor(image)[0].double().reshape([1] * self.axes)
        return torch.arange(5).double() * (length / 7)


for axes in (0, 1):
    torch.onnx.export(
        Positions(axes).eval(), (torch.zeros(10),), "a.onnx", dynamo=False, opset_version=17,
        input_names=["image"], output_names=["out"], dynamic_axes={"image": {0: "n"}},
    )
    casts = [node.attribute[0].i for node in onnx.load("a.onnx").graph.node if node.op_type == "Cast"]
    session = onnxruntime.InferenceSession("a.onnx")
    (result,) = session.run(None, {"image": np.zeros(10, np.float32)})
    expected = Positions(axes)(torch.zeros(10)).numpy()
    error = np.abs(result - expected).max()
    names = [onnx.TensorProto.DataType.Name(kind) for kind in casts]
    print(f"{axes} axes: {result.dtype}, casts to {', '.join(names)}, error {error:.0e}")
    assert result.dtype == expected.dtype == np.float64
    assert bool(error > 1e-8) == (axes == 0), error
PYTHON
# Output seen:
#   0 axes: float64, casts to DOUBLE, FLOAT, DOUBLE, error 1e-07
#   1 axes: float64, casts to DOUBLE, error 0e+00
