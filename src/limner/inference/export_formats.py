"""A network as ONNX, OpenVINO or torch.export, in float32, float16 or int8.

Each function takes a network or an ONNX graph, and returns the content of a file.
"""

import io
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from numpy import ndarray
from torch import Tensor, nn

from limner.files import CHECKSUM_PLACEHOLDER, embed_checksum
from limner.inference.engines import EXTERNAL_DATA_KEY
from limner.model.ensemble import Ensemble
from limner.model.unet import UNet

OPSET = 17
MAX_SIDE_PX = 65536
"""The longest side that a program of torch.export accepts."""
QUANTIZED_OPERATORS = ["Conv", "ConvTranspose", "MaxPool", "Concat", "Add"]


class _UnpaddedNetwork(nn.Module):
    """A network's `forward_unpadded` as its forward pass."""

    def __init__(self, network: UNet | Ensemble) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        return self.network.forward_unpadded(images)


class _TraceableNetwork(_UnpaddedNetwork):
    """The network with its padding in operations that a trace keeps for every size."""

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        stride, (height, width) = self.network.stride, images.shape[-2:]

        def padding(side: Any) -> Any:
            return torch.clamp(side + (stride - side % stride) % stride, min=2 * stride) - side

        padded = F.pad(images, (0, padding(width), 0, padding(height)), mode="replicate")
        return super().forward(padded)[..., :height, :width]


def to_onnx(network: UNet | Ensemble, channels: int) -> bytes:
    """Export a network as an ONNX graph with its weights, for any batch, height and width."""
    import onnx

    example = torch.zeros(1, channels, 3 * network.stride, 4 * network.stride)
    axes = {0: "batch", 2: "height", 3: "width"}
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        path = Path(folder) / "traced.onnx"
        # The exporter through torch.export took minutes over sizes that are multiples of 32, and
        # this one half a second
        torch.onnx.export(
            _TraceableNetwork(network).eval(),
            (example,),
            path,
            dynamo=False,
            opset_version=OPSET,
            dynamic_axes={"images": axes, "logits": axes},
            input_names=["images"],
            output_names=["logits"],
        )
        graph = path.read_bytes()
    onnx.checker.check_model(graph)
    return graph


def to_torch_export(network: UNet | Ensemble, channels: int, record: Mapping[str, Any]) -> bytes:
    """Export a network as a program of torch.export, with a record as `limner.json`.

    It takes batches of any size. Their sides are multiples of the stride, and at least twice the
    stride.
    """
    from torch.export import Dim

    stride = network.stride
    sides = {
        2: stride * Dim("rows", min=2, max=MAX_SIDE_PX // stride),
        3: stride * Dim("columns", min=2, max=MAX_SIDE_PX // stride),
    }
    example = torch.zeros(2, channels, 3 * stride, 4 * stride)
    program = torch.export.export(
        _UnpaddedNetwork(network).eval(),
        (example,),
        dynamic_shapes=({0: Dim("batch", min=1), **sides},),
    )
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={"limner.json": json.dumps(record)})
    return content.getvalue()


def finish_onnx(graph: bytes, record: Mapping[str, Any]) -> bytes:
    """Write a record and a checksum into an ONNX graph.

    Other programs find classes, preprocessing and threshold under these names.
    """
    import onnx

    model = onnx.load_from_string(graph)
    metadata = record["model"]
    for key, value in (
        ("classes", metadata["labels"]["names"]),
        ("preprocessing", metadata["preprocessing"]),
        ("threshold", metadata["inference"]["threshold"]),
    ):
        model.metadata_props.add(key=key, value=_to_json(value))
    model.metadata_props.add(key="limner", value=CHECKSUM_PLACEHOLDER.decode() + _to_json(record))
    return embed_checksum(model.SerializeToString())


def _to_json(content: Any) -> str:
    """Write JSON without the key by which ONNX names other files.

    A file that holds the key can then be refused unread.
    """
    escaped = EXTERNAL_DATA_KEY[:-1] + "\\u006e"
    return json.dumps(content).replace(EXTERNAL_DATA_KEY, escaped)


def to_openvino(graph: bytes, record: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Convert an ONNX graph to OpenVINO's structure, with record and checksum, and weights."""
    import openvino

    model = openvino.Core().read_model(graph)
    model.set_rt_info(CHECKSUM_PLACEHOLDER.decode() + json.dumps(record), ["limner"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        openvino.save_model(model, path, compress_to_fp16=False)
        weights = path.with_suffix(".bin").read_bytes()
        return embed_checksum(path.read_bytes(), weights), weights


def to_float16(graph: bytes) -> bytes:
    """Convert an ONNX graph to float16; its input and output stay in float32."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = convert_float_to_float16(onnx.load_from_string(graph), keep_io_types=True)
    content: bytes = model.SerializeToString()
    return content


def to_int8(graph: bytes, canvases: Sequence[Float32[ndarray, "c h w"]]) -> bytes:
    """Quantize an ONNX graph to int8 (QDQ, weights by channel).

    Args:
        graph: in float32.
        canvases: the network's inputs, from which the ranges of its activations are taken.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    # The base class has no types
    class CanvasReader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.remaining = iter(canvases)

        def get_next(self) -> dict[str, ndarray] | None:
            canvas = next(self.remaining, None)
            return None if canvas is None else {"images": canvas[None]}

    with tempfile.TemporaryDirectory() as folder, _errors_logged_only():
        path = Path(folder) / "int8.onnx"
        quantize_static(
            onnx.load_from_string(graph),
            path,
            CanvasReader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=QUANTIZED_OPERATORS,
        )
        return path.read_bytes()


@contextmanager
def _errors_logged_only() -> Iterator[None]:
    """Silence the quantizer, which advises a step of its own that changes nothing here."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.root.setLevel(level)
