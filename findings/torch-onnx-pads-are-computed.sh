#!/usr/bin/env bash
# torch 2.13.0 and onnx 1.23.2: F.pad by plain numbers becomes, in torch's exporter without torch.export, a Pad whose
# amounts are no constant but the end of a dozen operations.
#
# Behaviour: F.pad(x, (0, 1, 0, 1)) is exported as ConstantOfShape, Concat, Reshape, Slice, Transpose, Reshape and Cast,
#   which turn torch's order of the amounts into ONNX's when the graph runs, though every number is known. The padding
#   that a convolution has itself is an attribute. onnx.shape_inference leaves the sizes behind such a Pad unknown.
# What one would guess: `pads` is an initializer or a Constant, as the padding of Conv is an attribute.
# What follows: who reads a graph, for its receptive field or to cut it, evaluates what depends on no input first
#   (onnx.reference does), or pads in the convolution where both sides are equal.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 onnx==1.23.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON' 2>/dev/null
import warnings
from collections import Counter

import onnx
import torch
import torch.nn.functional as F
from torch import nn

warnings.simplefilter("ignore")


class Padded(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2)

    def forward(self, images):
        return self.conv(F.pad(images, (0, 1, 0, 1)))


axes = {0: "batch", 2: "height", 3: "width"}
torch.onnx.export(
    Padded().eval(), (torch.zeros(1, 3, 16, 16),), "a.onnx", dynamo=False, opset_version=17,
    input_names=["images"], output_names=["out"], dynamic_axes={"images": axes, "out": axes},
)
model = onnx.load("a.onnx")
kinds = Counter(node.op_type for node in model.graph.node if node.op_type != "Constant")
print("operations:", dict(sorted(kinds.items())))
(pad,) = [node for node in model.graph.node if node.op_type == "Pad"]
maker = {name: node.op_type for node in model.graph.node for name in node.output}
constants = {tensor.name for tensor in model.graph.initializer}
print("the amounts of Pad come from:", maker.get(pad.input[1], "an initializer"))
assert pad.input[1] not in constants and maker[pad.input[1]] != "Constant"
assert sum(kinds.values()) > 5, kinds
PYTHON
# Output seen:
#   operations: {'Cast': 1, 'Concat': 1, 'ConstantOfShape': 1, 'Conv': 1, 'Pad': 1, 'Reshape': 2, 'Slice': 1, 'Transpose': 1}
#   the amounts of Pad come from: Cast
