"""An OpenVINO model as segments, each a model of its own (`segments`)."""

import math
from collections.abc import Callable
from typing import Any

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

POINTWISE_TYPES = frozenset(
    {
        "Abs",
        "Add",
        "BatchNormInference",
        "Ceiling",
        "Clamp",
        "Convert",
        "Divide",
        "Elu",
        "Erf",
        "Exp",
        "FakeQuantize",
        "Floor",
        "Gelu",
        "HSigmoid",
        "HSwish",
        "HardSigmoid",
        "Log",
        "Maximum",
        "Minimum",
        "Mish",
        "Multiply",
        "Negative",
        "PRelu",
        "Power",
        "Relu",
        "Selu",
        "Sigmoid",
        "SoftPlus",
        "Sqrt",
        "Subtract",
        "Swish",
        "Tanh",
    }
)
"""Types of operations that see one pixel. All others but those below are not known to be local."""
SLICED = 4
"""Inputs of a Slice that are not its data: where it starts and stops, its steps and its axes."""


def split_model(model: Any) -> tuple[SegmentPlan, dict[str, Any]]:
    """Cut the network of a model into segments.

    The model may pad its image to a multiple of the stride first, and cut its output back to the
    image's size; both are left out.

    Args:
        model: As OpenVINO reads an export; it stays as it is.

    Returns the plan, and a model for each segment by the name of its output. Its inputs are in the
    order of the segment's.

    Raises:
        NotLocalError: An operation may see the whole image, or is not known.
    """
    from openvino.passes import ConstantFolding, Manager

    model = model.clone()
    manager = Manager()
    # So that numbers by which an image is padded or resized are there to be read
    manager.register_pass(ConstantFolding())
    manager.run_passes(model)
    source, result = _ends(model)
    try:
        plan = plan_segments(_operations(model, source, result), source, result)
    except ValueError as error:
        raise NotLocalError(str(error)) from error
    return plan, {segment.output: _segment_model(model, segment) for segment in plan.segments}


def open_segments(
    model: Any, open_segment: Callable[[Any], RunSegment], at_once: int = 1
) -> SegmentedNetwork | None:
    """Cut a model into segments, and open each; None where it cannot be cut."""
    try:
        plan, models = split_model(model)
    except NotLocalError:
        return None
    run = {name: open_segment(part) for name, part in models.items()}
    return SegmentedNetwork(plan, run, at_once)


def _ends(model: Any) -> tuple[str, str]:
    """The tensors at which the network begins and ends, behind and before the padding."""
    source = model.input(0).get_node()
    for node in model.get_ordered_ops():
        is_padding = node.get_type_name() == "Pad" and node.get_attributes()["pad_mode"] == "edge"
        if is_padding and _names(node)[0] == source.get_friendly_name():
            source = node
            break
    result = model.output(0).get_node().input(0).get_source_output().get_node()
    while result.get_type_name() in {"Slice", "StridedSlice"}:
        result = result.input(0).get_source_output().get_node()
    return source.get_friendly_name(), result.get_friendly_name()


def _names(node: Any) -> list[str]:
    """The names of a node's inputs, each that of the node that gives it."""
    return [one.get_source_output().get_node().get_friendly_name() for one in node.inputs()]


def _operations(model: Any, source: str, result: str) -> list[Operation]:
    """The operations between two tensors, in their order."""
    nodes = model.get_ordered_ops()
    wanted = _ancestors({node.get_friendly_name(): node for node in nodes}, result, source)
    depends, operations = {source}, []
    for node in nodes:
        name, kind = node.get_friendly_name(), node.get_type_name()
        inputs = tuple(dict.fromkeys(each for each in _names(node) if each in depends))
        # The shape of a tensor tells nothing of its values
        if not inputs or name not in wanted or kind == "ShapeOf":
            continue
        # A pooling also gives indices, which nothing takes
        if any(output.get_target_inputs() for output in node.outputs()[1:]):
            raise NotLocalError(f"{kind} has several outputs")
        if name in depends:
            raise NotLocalError(f"two tensors are named {name}")
        depends.add(name)
        operations.append(Operation(inputs, name, _windows(node)))
    return operations


def _ancestors(nodes: dict[str, Any], result: str, source: str) -> set[str]:
    """What the model computes to get at one tensor from another."""
    found, waiting = set[str](), [result]
    while waiting:
        name = waiting.pop()
        if name in found or name == source:
            continue
        found.add(name)
        waiting.extend(_names(nodes[name]))
    return found


def _windows(node: Any) -> tuple[Window, Window]:
    """What an operation needs along rows and columns. Raises NotLocalError."""
    kind = node.get_type_name()
    if kind in POINTWISE_TYPES:
        return POINTWISE, POINTWISE
    attributes = node.get_attributes()
    if kind == "Concat" and attributes["axis"] == 1:
        return POINTWISE, POINTWISE
    read = {
        "Convolution": _convolution,
        "GroupConvolution": _convolution,
        "MaxPool": _convolution,
        "AvgPool": _convolution,
        "ConvolutionBackpropData": _transposed,
        "Interpolate": _interpolate,
        "Pad": _pad,
        "Slice": _slice,
    }.get(kind)
    if read is None:
        raise NotLocalError(f"{kind} may see the whole image")
    return read(node, attributes)


def _convolution(node: Any, attributes: dict[str, Any]) -> tuple[Window, Window]:
    if attributes.get("auto_pad", "explicit") not in {"explicit", "notset"}:
        raise NotLocalError(f"{node.get_type_name()} pads by itself")
    if attributes.get("rounding_type", "floor") != "floor":
        raise NotLocalError(f"{node.get_type_name()} rounds up")
    kernel = attributes.get("kernel") or list(node.input(1).get_shape())[-2:]
    dilations = attributes.get("dilations") or [1, 1]
    return convolution_windows(kernel, attributes["strides"], attributes["pads_begin"], dilations)


def _transposed(node: Any, attributes: dict[str, Any]) -> tuple[Window, Window]:
    paddings = ("pads_begin", "pads_end", "output_padding")
    if any(any(attributes.get(name) or ()) for name in paddings) or len(node.inputs()) > 2:
        raise NotLocalError("ConvolutionBackpropData pads")
    return transposed_windows(list(node.input(1).get_shape())[-2:], attributes["strides"])


def _interpolate(node: Any, attributes: dict[str, Any]) -> tuple[Window, Window]:
    if attributes["shape_calculation_mode"] != "scales" or attributes["antialias"]:
        raise NotLocalError("Interpolate to a size that is not known beforehand")
    if attributes["mode"] not in {"nearest", "linear", "linear_onnx"}:
        raise NotLocalError(f"Interpolate in the mode {attributes['mode']!r}")
    if attributes["coordinate_transformation_mode"] == "align_corners":
        raise NotLocalError("Interpolate with aligned corners")
    if any(attributes["pads_begin"]) or any(attributes["pads_end"]):
        raise NotLocalError("Interpolate pads")
    scales = _constant(node, 1)
    if len(scales) != 4 or tuple(scales[:2]) != (1, 1) or len(node.inputs()) > 2:
        raise NotLocalError("Interpolate of other axes")
    return upscaled_windows(scales[2:], linear=attributes["mode"] != "nearest")


def _pad(node: Any, attributes: dict[str, Any]) -> tuple[Window, Window]:
    if attributes["pad_mode"] != "constant":
        raise NotLocalError("Pad by what is in the image")
    before = _constant(node, 1)
    return Window(before=int(before[2])), Window(before=int(before[3]))


def _slice(node: Any, _attributes: dict[str, Any]) -> tuple[Window, Window]:
    if len(node.inputs()) != 1 + SLICED:
        raise NotLocalError("Slice of all axes")
    starts, _, steps, axes = (_constant(node, 1 + place) for place in range(SLICED))
    by_axis = {
        int(axis) % 4: (int(start), int(step))
        for axis, start, step in zip(axes, starts, steps, strict=True)
    }
    if not by_axis.keys() <= {2, 3}:
        raise NotLocalError("Slice of channels")
    windows = []
    for axis in (2, 3):
        start, step = by_axis.get(axis, (0, 1))
        if start < 0 or step < 1:
            raise NotLocalError("Slice from the end")
        windows.append(Window(step, -start, 1))
    return windows[0], windows[1]


def _constant(node: Any, place: int) -> list[float]:
    """The numbers of an input. Raises NotLocalError where they depend on the image."""
    given = node.input(place).get_source_output().get_node()
    if given.get_type_name() != "Constant":
        raise NotLocalError(f"{node.get_type_name()} by what is not known beforehand")
    numbers = [float(value) for value in given.data.ravel()]
    if not all(map(math.isfinite, numbers)):
        raise NotLocalError(f"{node.get_type_name()} by what is no number")
    return numbers


def _segment_model(model: Any, segment: Segment) -> Any:
    """A segment as a model, whose inputs are those of the segment."""
    import openvino
    from openvino import opset13

    part = model.clone()
    nodes = {node.get_friendly_name(): node for node in part.get_ops()}
    result = nodes[segment.output].output(0)
    parameters = []
    for name in segment.inputs:
        output = nodes[name].output(0)
        channels = output.get_partial_shape()[1]
        shape = openvino.PartialShape([openvino.Dimension(), channels, *[openvino.Dimension()] * 2])
        parameter = opset13.parameter(shape, output.get_element_type(), name=name)
        output.replace(parameter.output(0))
        parameters.append(parameter)
    return openvino.Model([result], parameters, "segment")
