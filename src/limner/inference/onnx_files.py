"""ONNX graphs as files: their record and description, other precisions, and OpenVINO's form.

Each function takes an ONNX graph, and returns the content of a file. torch is not needed.
"""

import json
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxtyping import Float32
from numpy import ndarray

from limner.files import CHECKSUM_PLACEHOLDER, embed_checksum
from limner.inference.engines import EXTERNAL_DATA_KEY

QUANTIZED_OPERATORS = ["Conv", "ConvTranspose", "MaxPool", "Concat", "Add", "Relu", "Clip"]
"""Without the last two, ranges are taken before activations, which cost 0.01 to 0.02 Dice."""
FIRST_CONVOLUTIONS = 3
"""Convolutions that stay in float32 where one of them is depthwise: stem, depthwise, projection.

A depthwise one has channels of very different ranges. In int8 these three changed up to three
quarters of all pixels that int8 changed.
"""


def finish_onnx(graph: bytes, record: Mapping[str, Any], description: Mapping[str, Any]) -> bytes:
    """Write a record and a checksum into an ONNX graph, and a description for other programs.

    Each key of the description is one of the graph, whose value is JSON.
    """
    model = _without_metadata(graph)
    for key, value in description.items():
        model.metadata_props.add(key=key, value=_to_json(value))
    model.metadata_props.add(key="limner", value=CHECKSUM_PLACEHOLDER.decode() + _to_json(record))
    return embed_checksum(model.SerializeToString())


def _to_json(content: Any) -> str:
    """Write JSON without the key by which ONNX names other files.

    A file that holds the key can then be refused unread.
    """
    escaped = EXTERNAL_DATA_KEY[:-1] + "\\u006e"
    return json.dumps(content).replace(EXTERNAL_DATA_KEY, escaped)


def to_openvino(
    graph: bytes, record: Mapping[str, Any], description: Mapping[str, Any]
) -> tuple[bytes, bytes]:
    """Convert an ONNX graph to OpenVINO's structure, with record and checksum, and weights.

    The description is in its runtime information, as in the metadata of an ONNX graph.
    """
    import openvino

    model = openvino.Core().read_model(graph)
    for key, value in description.items():
        model.set_rt_info(json.dumps(value), [key])
    model.set_rt_info(CHECKSUM_PLACEHOLDER.decode() + json.dumps(record), ["limner"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        openvino.save_model(model, path, compress_to_fp16=False)
        weights = path.with_suffix(".bin").read_bytes()
        return embed_checksum(path.read_bytes(), weights), weights


def to_float16(graph: bytes) -> bytes:
    """Convert an ONNX graph to float16; its input and output stay in float32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = convert_float_to_float16(_without_metadata(graph), keep_io_types=True)
    content: bytes = model.SerializeToString()
    return content


def to_int8(
    graph: bytes,
    canvases: Sequence[Float32[ndarray, "c h w"]],
    *,
    any_processor: bool = True,
) -> bytes:
    """Quantize an ONNX graph to int8 (QDQ, weights by channel).

    Args:
        graph: in float32.
        canvases: the network's inputs, from which the ranges of its activations are taken.
        any_processor: Weights have 7 bits, so that masks are the same on every processor. Those
            without VNNI add two products in 16 bits, which weights of 8 bits overflow: that cost
            0.075 Dice on CamVid.
    """
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
        model = _without_metadata(graph)
        quantize_static(
            model,
            path,
            CanvasReader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=any_processor,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=QUANTIZED_OPERATORS,
            nodes_to_exclude=_kept_in_float32(model),
        )
        return path.read_bytes()


def _kept_in_float32(model: Any) -> list[str]:
    """The names of the first convolutions, where one of them is depthwise."""
    from onnx import helper

    nodes = [node for node in model.graph.node if node.op_type == "Conv"][:FIRST_CONVOLUTIONS]
    groups = [
        helper.get_attribute_value(attribute)
        for node in nodes
        for attribute in node.attribute
        if attribute.name == "group"
    ]
    return [node.name for node in nodes] if max(groups, default=1) > 1 else []


def _without_metadata(graph: bytes) -> Any:
    """The model of a graph; record and description are those of a file, and each has its own."""
    import onnx

    model = onnx.load_from_string(graph)
    del model.metadata_props[:]
    return model


@contextmanager
def _errors_logged_only() -> Iterator[None]:
    """Silence the quantizer, which advises a step of its own that changes nothing here."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.root.setLevel(level)
