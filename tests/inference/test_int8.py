"""Graphs in int8: weights that no processor adds too far, and what stays in float32."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from limner.inference.export_formats import to_onnx
from limner.inference.onnx_files import to_int8
from limner.model.presets import resolve_settings
from limner.model.unet import UNet
from limner.recipe import parse_recipe

PLAIN: dict[str, object] = {"widths": [4, 8]}


def quantized(settings: dict[str, object], *, any_processor: bool = True) -> onnx.GraphProto:
    """The graph of a small network in int8."""
    model = resolve_settings(parse_recipe({"model": settings}).model)
    canvas = np.random.default_rng(0).normal(size=(3, 64, 64)).astype(np.float32)
    graph = to_onnx(UNet.from_settings(model, 3, 1), 3)
    return onnx.load_from_string(to_int8(graph, [canvas], any_processor=any_processor)).graph


@pytest.fixture(scope="module")
def plain() -> onnx.GraphProto:
    return quantized(PLAIN)


def largest_weights(graph: onnx.GraphProto) -> list[int]:
    """Of each convolution in int8."""
    return [
        int(np.abs(numpy_helper.to_array(tensor).astype(int)).max())
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4
    ]


def float32_convolutions(graph: onnx.GraphProto) -> list[bool]:
    """Of each convolution whether its weights are in float32."""
    weights = {tensor.name for tensor in graph.initializer}
    made = {node.output[0]: node for node in graph.node}
    return [
        node.input[1] in weights or made[node.input[1]].op_type != "DequantizeLinear"
        for node in graph.node
        if node.op_type == "Conv"
    ]


def test_two_products_of_int8_always_fit_into_16_bits(plain: onnx.GraphProto) -> None:
    """Processors without VNNI add them in so many: activations of 0..255, by weights."""
    largest = largest_weights(plain)
    assert largest and all(2 * 255 * weight <= 2**15 - 1 for weight in largest)


def test_weights_for_processors_with_wide_sums_have_all_8_bits() -> None:
    assert set(largest_weights(quantized(PLAIN, any_processor=False))) == {127}


def test_plain_networks_are_in_int8_from_the_first_convolution(plain: onnx.GraphProto) -> None:
    assert not any(float32_convolutions(plain))


def test_the_first_convolutions_stay_in_float32_where_one_is_depthwise() -> None:
    graph = quantized({"encoder": "tf_efficientnet_lite0", "widths": [4, 4, 8, 8, 8]})
    found = float32_convolutions(graph)
    assert found[:3] == [True] * 3 and not any(found[3:])
