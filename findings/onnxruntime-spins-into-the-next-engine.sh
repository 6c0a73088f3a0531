#!/usr/bin/env bash
# onnxruntime 1.32.0, openvino 2026.4.1: called right after ONNX Runtime, OpenVINO takes two thirds longer.
#
# Behaviour: both have all cores and take turns in one process, one image each. Threads of ONNX Runtime that have nothing to
#   do look for work in a loop for a while (session.intra_op.allow_spinning is 1), so OpenVINO's first call shares the cores
#   with them. Its second call in a row is as quick as alone. With allow_spinning 0 the first one is too.
# What one would guess: an engine that has returned its result costs nothing, so taking turns, which spreads what disturbs a
#   machine evenly, is the fair way to compare two.
# What follows: where engines take turns in one process, time the second of two calls, or each engine in a process of its own.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3.11 -m venv venv
venv/bin/pip install --quiet onnxruntime==1.32.0 openvino==2026.4.1 onnx==1.23.2 numpy==2.4.6
cat > turns.py <<'PYTHON'
import statistics
import sys
import time

import numpy as np
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper

spinning = sys.argv[1]
random = np.random.default_rng(0)
nodes, weights, source, channels = [], [], "x", 3
for index in range(12):
    name = f"w{index}"
    values = random.normal(size=(48, channels, 3, 3)).astype(np.float32) / 20
    weights.append(numpy_helper.from_array(values, name))
    nodes.append(
        helper.make_node("Conv", [source, name], [f"y{index}"], kernel_shape=[3, 3], pads=[1] * 4)
    )
    source, channels = f"y{index}", 48
shape = [1, 3, 128, 128]
ends = (
    [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count, 128, 128])]
    for name, count in (("x", 3), (source, 48))
)
model = helper.make_model(
    helper.make_graph(nodes, "g", *ends, weights), opset_imports=[helper.make_opsetid("", 17)]
)
model.ir_version = 8
content = model.SerializeToString()
options = onnxruntime.SessionOptions()
options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
core = openvino.Core()
compiled = core.compile_model(
    core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1}
)
request = compiled.create_infer_request()
x = random.normal(size=shape).astype(np.float32)
first, second = [], []
for _ in range(60):
    session.run(None, {"x": x})
    for seconds in (first, second):
        start = time.perf_counter()
        request.infer([x])
        seconds.append(time.perf_counter() - start)
first, second = (1000 * statistics.median(seconds) for seconds in (first, second))
print(f"{first:.1f} {second:.1f} {first / second:.2f}")
PYTHON
ratio() {
    measured=$(venv/bin/python turns.py "$1")
    echo "allow_spinning $1: first call, second call, ratio: $measured" >&2
    echo "${measured##* }"
}
spinning=$(ratio 1)
resting=$(ratio 0)
python3.11 -c "assert $spinning > 1.25 > $resting, ($spinning, $resting)"
# Output seen (milliseconds, two cores):
#   allow_spinning 1: first call, second call, ratio: 67.6 40.6 1.67
#   allow_spinning 0: first call, second call, ratio: 38.7 38.7 1.00
