"""An ONNX graph as segments, each a graph of its own (`segments`)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy import ndarray

from limner.inference.segments import (
    POINTWISE,
    NotLocalError,
    Operation,
    Segment,
    SegmentPlan,
    Window,
    convolution_windows,
    plan_segments,
    transposed_windows,
    upscaled_windows,
)
from limner.inference.streaming import RunSegment, SegmentedNetwork

POINTWISE_OPERATORS = frozenset(
    {
        "Abs",
        "Add",
        "BatchNormalization",
        "Cast",
        "Ceil",
        "Clip",
        "DequantizeLinear",
        "Div",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "LeakyRelu",
        "Log",
        "Max",
        "Min",
        "Mul",
        "Neg",
        "PRelu",
        "Pow",
        "QuantizeLinear",
        "Relu",
        "Selu",
        "Sigmoid",
        "Softplus",
        "Sqrt",
        "Sub",
        "Sum",
        "Tanh",
    }
)
"""Operators that see one pixel. All others but those below are not known to be local."""


@dataclass(frozen=True, slots=True)
class SegmentedGraph:
    """The segments of an ONNX graph, and each as a graph of its own."""

    plan: SegmentPlan
    graphs: Mapping[str, bytes]
    """By the name of the segment's output."""


def split_graph(content: bytes) -> SegmentedGraph:
    """Cut the network of an exported graph into segments.

    The graph may pad its image to a multiple of the stride first, and cut its output back to the
    image's size; both are left out, so that a segment's sides are multiples of its unit.

    Args:
        content: An ONNX graph as `export_formats.to_onnx` makes it, in any precision.

    Raises:
        NotLocalError: An operator may see the whole image, or is not known.
    """
    import onnx

    model = onnx.load_from_string(content)
    reader = _GraphReader(model)
    source, result = reader.ends()
    nodes, operations = reader.operations(source, result)
    try:
        plan = plan_segments(operations, source, result)
    except ValueError as error:
        raise NotLocalError(str(error)) from error
    graphs = {
        segment.output: _segment_graph(model, segment, [nodes[i] for i in segment.operations])
        for segment in plan.segments
    }
    return SegmentedGraph(plan, graphs)


def open_segments(
    content: bytes, open_segment: Callable[[bytes, tuple[str, ...]], RunSegment], at_once: int = 1
) -> SegmentedNetwork | None:
    """Cut an ONNX graph into segments, and open each by its graph and the names of its inputs."""
    try:
        split = split_graph(content)
    except (ImportError, NotLocalError):
        return None
    run = {
        segment.output: open_segment(split.graphs[segment.output], segment.inputs)
        for segment in split.plan.segments
    }
    return SegmentedNetwork(split.plan, run, at_once)


class _GraphReader:
    """Reads the operations of a graph that depend on the image."""

    def __init__(self, model: Any) -> None:
        from onnx import numpy_helper

        self._model, self._graph = model, model.graph
        self._constants = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in self._graph.initializer
        }
        for node in self._graph.node:
            if node.op_type == "Constant":
                value = next((a for a in node.attribute if a.name == "value"), None)
                if value is not None:
                    self._constants[node.output[0]] = numpy_helper.to_array(value.t)
        self._maker = {name: node for node in self._graph.node for name in node.output}

    def ends(self) -> tuple[str, str]:
        """The tensors at which the network begins and ends, behind and before the padding."""
        source, result = self._graph.input[0].name, self._graph.output[0].name
        for node in self._graph.node:
            if (
                node.op_type == "Pad"
                and node.input[0] == source
                and _attribute(node, "mode") == b"edge"
            ):
                source = node.output[0]
                break
        while self._maker[result].op_type == "Slice":
            result = self._maker[result].input[0]
        return source, result

    def operations(self, source: str, result: str) -> tuple[list[Any], list[Operation]]:
        """The nodes between two tensors, in the graph's order, and what each is."""
        wanted = self._ancestors(result, source)
        depends, nodes, operations = {source}, [], []
        for node in self._graph.node:
            inputs = tuple(dict.fromkeys(name for name in node.input if name in depends))
            if not inputs or not wanted.intersection(node.output):
                continue
            depends.add(node.output[0])
            nodes.append(node)
            operations.append(Operation(inputs, node.output[0], self._windows(node)))
        return nodes, operations

    def _ancestors(self, result: str, source: str) -> set[str]:
        """What the graph computes to get at one tensor from another."""
        found, waiting = set[str](), [result]
        while waiting:
            name = waiting.pop()
            if name in found or name == source or name not in self._maker:
                continue
            found.add(name)
            waiting.extend(self._maker[name].input)
        return found

    def _value(self, name: str) -> ndarray | None:
        """The value of a tensor that depends on no image; None for another one, and for none."""
        if name in self._constants or not name:
            return self._constants.get(name)
        names = self._ancestors(name, "")
        nodes = [node for node in self._graph.node if names.intersection(node.output)]
        from onnx import TensorProto, helper
        from onnx.reference import ReferenceEvaluator

        made = {output for node in nodes for output in node.output}
        used = {one for node in nodes for one in node.input} - made
        if any(one and one not in self._constants for one in used):
            return None
        weights = [tensor for tensor in self._graph.initializer if tensor.name in used]
        result = helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None)
        graph = helper.make_graph(nodes, "constant", [], [result], weights)
        part = helper.make_model(graph, opset_imports=self._model.opset_import)
        outputs: Any = ReferenceEvaluator(part).run(None, {})
        value: ndarray = outputs[0]
        self._constants[name] = value
        return value

    def _windows(self, node: Any) -> tuple[Window, Window]:
        """What an operation needs along rows and columns. Raises NotLocalError."""
        operator = node.op_type
        if operator in POINTWISE_OPERATORS:
            return POINTWISE, POINTWISE
        if operator == "Concat" and _attribute(node, "axis") == 1:
            return POINTWISE, POINTWISE
        windows = {
            "Conv": self._convolution,
            "MaxPool": self._convolution,
            "AveragePool": self._convolution,
            "ConvTranspose": self._transposed,
            "Resize": self._resize,
            "Pad": self._pad,
            "Slice": self._slice,
        }.get(operator)
        if windows is None:
            raise NotLocalError(f"{operator} may see the whole image")
        return windows(node)

    def _convolution(self, node: Any) -> tuple[Window, Window]:
        kernel = _attribute(node, "kernel_shape") or self._constants[node.input[1]].shape[2:]
        strides = _attribute(node, "strides") or [1, 1]
        pads = _attribute(node, "pads") or [0, 0, 0, 0]
        dilations = _attribute(node, "dilations") or [1, 1]
        if _attribute(node, "auto_pad") not in {None, b"NOTSET"} or _attribute(node, "ceil_mode"):
            raise NotLocalError(f"{node.op_type} pads by itself")
        return convolution_windows(kernel, strides, pads, dilations)

    def _transposed(self, node: Any) -> tuple[Window, Window]:
        kernel = _attribute(node, "kernel_shape") or self._constants[node.input[1]].shape[2:]
        strides = _attribute(node, "strides") or [1, 1]
        pads = _attribute(node, "pads") or [0, 0, 0, 0]
        if any(pads) or _attribute(node, "output_padding"):
            raise NotLocalError("ConvTranspose pads")
        return transposed_windows(kernel, strides)

    def _resize(self, node: Any) -> tuple[Window, Window]:
        scales = self._value(node.input[2]) if len(node.input) > 2 else None
        if scales is None or len(scales) != 4 or tuple(scales[:2]) != (1, 1):
            raise NotLocalError("Resize to a size that is not known beforehand")
        mode = _attribute(node, "mode") or b"nearest"
        if mode not in {b"nearest", b"linear"}:
            raise NotLocalError(f"Resize in the mode {mode!r}")
        coordinates = _attribute(node, "coordinate_transformation_mode") or b"half_pixel"
        if coordinates == b"align_corners":
            raise NotLocalError("Resize with aligned corners")
        return upscaled_windows(scales[2:].tolist(), linear=mode == b"linear")

    def _pad(self, node: Any) -> tuple[Window, Window]:
        pads = self._value(node.input[1]) if len(node.input) > 1 else None
        if pads is None or len(pads) != 8 or _attribute(node, "mode") not in {None, b"constant"}:
            raise NotLocalError("Pad by what is not known beforehand")
        return Window(before=int(pads[2])), Window(before=int(pads[3]))

    def _slice(self, node: Any) -> tuple[Window, Window]:
        parts = [self._value(name) for name in node.input[1:]]
        if len(parts) < 4 or any(part is None for part in parts):
            raise NotLocalError("Slice of what is not known beforehand")
        starts, _, axes, steps = (
            [int(value) for value in part] for part in parts if part is not None
        )
        by_axis = dict(zip(axes, zip(starts, steps, strict=True), strict=True))
        if not by_axis.keys() <= {2, 3, -1, -2}:
            raise NotLocalError("Slice of channels")
        windows = []
        for axis in (2, 3):
            start, step = by_axis.get(axis, by_axis.get(axis - 4, (0, 1)))
            if start < 0 or step < 1:
                raise NotLocalError("Slice from the end")
            windows.append(Window(step, -start, 1))
        return windows[0], windows[1]


def _segment_graph(model: Any, segment: Segment, nodes: Sequence[Any]) -> bytes:
    """A segment as an ONNX model, with the weights and constants that it uses."""
    import onnx
    from onnx import TensorProto, helper

    needed = {name for node in nodes for name in node.input}
    made = {name for node in nodes for name in node.output}
    constants = _constant_nodes(model, needed - made - set(segment.inputs))
    used = needed.union(*(node.input for node in constants))
    weights = [tensor for tensor in model.graph.initializer if tensor.name in used]
    graph = helper.make_graph(
        [*constants, *nodes],
        "segment",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4)
            for name in segment.inputs
        ],
        [helper.make_tensor_value_info(segment.output, TensorProto.FLOAT, [None] * 4)],
        weights,
    )
    part = helper.make_model(graph, opset_imports=model.opset_import)
    part.ir_version = model.ir_version
    content: bytes = part.SerializeToString()
    onnx.checker.check_model(content)
    return content


def _constant_nodes(model: Any, names: set[str]) -> list[Any]:
    """The nodes that make tensors which depend on no image: constants, and what is made of them."""
    wanted, found = set(names), []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            found.append(node)
            wanted.update(node.input)
    return found[::-1]


def _attribute(node: Any, name: str) -> Any:
    """An attribute of a node; None where it has none of that name."""
    from onnx import helper

    for attribute in node.attribute:
        if attribute.name == name:
            return helper.get_attribute_value(attribute)
    return None
