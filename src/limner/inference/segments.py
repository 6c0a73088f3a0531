"""A network as segments: parts that go from some of its tensors to one, and see little around it.

A large image goes through the network segment by segment, in bands of rows (`streaming`). Each
segment needs but a few rows more than it gives, so that hardly a pixel is computed twice. The cut
lies where a tensor is used more than once, as skips are, and before every upsampling.

The operations of a network are given as `Operation`s by the engine that runs them.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple


class Window(NamedTuple):
    """Which rows (or columns) of its inputs an operation needs for some of its output.

    For the rows from p up to q these are the rows from p * stride - before up to
    (q - 1) * stride - before + extent; of an operation that upsamples, those that p / upscale and
    (q - 1) / upscale lie in, and `margin` more on both sides.
    """

    stride: int = 1
    before: int = 0
    extent: int = 1
    upscale: int = 1
    margin: int = 0

    def needed(self, first: int, end: int) -> tuple[int, int]:
        """The rows of the input that the rows from `first` up to `end` need."""
        if self.upscale > 1:
            last = (end - 1) // self.upscale
            return first // self.upscale - self.margin, last + 1 + self.margin
        start = first * self.stride - self.before
        return start, (end - 1) * self.stride - self.before + self.extent


POINTWISE = Window()


class NotLocalError(Exception):
    """A network with an operation that may see the whole image."""


def convolution_windows(
    kernel: Sequence[int], strides: Sequence[int], before: Sequence[int], dilations: Sequence[int]
) -> tuple[Window, Window]:
    """The windows of a convolution or a pooling along rows and columns; `before` is its padding."""
    rows, columns = (
        Window(
            int(strides[axis]),
            int(before[axis]),
            (int(kernel[axis]) - 1) * int(dilations[axis]) + 1,
        )
        for axis in (0, 1)
    )
    return rows, columns


def transposed_windows(kernel: Sequence[int], strides: Sequence[int]) -> tuple[Window, Window]:
    """The windows of a transposed convolution without padding."""
    rows, columns = (
        Window(upscale=int(strides[axis]), margin=-(-int(kernel[axis]) // int(strides[axis])) - 1)
        for axis in (0, 1)
    )
    return rows, columns


def upscaled_windows(scales: Sequence[float], *, linear: bool) -> tuple[Window, Window]:
    """The windows of an upsampling by whole numbers. Raises NotLocalError for another one."""
    for scale in scales:
        if scale < 1 or int(scale) != scale:
            raise NotLocalError(f"an image is resized by {scale}")
    return (
        Window(upscale=int(scales[0]), margin=int(linear)),
        Window(upscale=int(scales[1]), margin=int(linear)),
    )


class Operation(NamedTuple):
    """One operation of a network, between tensors of the shape (batch, channels, rows, columns)."""

    inputs: tuple[str, ...]
    """Tensors that depend on the image; weights are none of them."""
    output: str
    windows: tuple[Window, Window] = (POINTWISE, POINTWISE)
    """Along rows and along columns."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a network: from some of its tensors to one."""

    inputs: tuple[str, ...]
    output: str
    operations: tuple[int, ...]
    """The places of its operations in the network's list, in their order."""
    unit_px: int
    """Its regions begin and end at multiples of this, in pixels of the image."""
    halo_px: int
    """How far it sees beyond a region, in pixels of the image; a multiple of the unit."""


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """The segments of a network, each after those whose output it takes."""

    segments: tuple[Segment, ...]
    strides: Mapping[str, int]
    """Pixels of the image for each pixel of a tensor between segments, by the tensor's name."""
    source: str
    """The tensor that is the image."""
    result: str

    @property
    def unit_px(self) -> int:
        """Sides of the image are multiples of this."""
        return max(segment.unit_px for segment in self.segments)


def plan_segments(operations: Sequence[Operation], source: str, result: str) -> SegmentPlan:
    """Cut a network into segments.

    Args:
        operations: In the order in which they are computed.
        source: The tensor that is the image.
        result: The tensor that is the network's output.

    Raises:
        ValueError: A tensor is finer than the image, or an operation joins tensors of two
            resolutions.
    """
    operations_by_output = {operation.output: place for place, operation in enumerate(operations)}
    strides = _strides(operations, source)
    cuts = _cuts(operations, source, result)
    segments = []
    for output in [operation.output for operation in operations if operation.output in cuts]:
        places, inputs = _ancestors(operations, operations_by_output, output, cuts)
        tensors = [output, *inputs, *(operations[place].output for place in places)]
        unit_px = max(max(strides[name]) for name in tensors)
        inside = tuple(sorted(places))
        halo_px = _halo(operations, inside, output, strides, unit_px)
        segments.append(Segment(tuple(inputs), output, inside, unit_px, halo_px))
    between = {source, *(segment.output for segment in segments)}
    if any(strides[name][0] != strides[name][1] for name in between):
        raise ValueError("rows and columns have different strides")
    by_name = {name: strides[name][0] for name in between}
    return SegmentPlan(tuple(segments), by_name, source, result)


def _strides(operations: Sequence[Operation], source: str) -> dict[str, tuple[int, int]]:
    """Pixels of the image for each pixel of a tensor, along rows and columns."""
    strides = {source: (Fraction(1), Fraction(1))}
    for operation in operations:
        below = {strides[name] for name in operation.inputs}
        if len(below) != 1:
            raise ValueError(f"{operation.output} joins tensors of several resolutions")
        (rows, columns), windows = below.pop(), operation.windows
        strides[operation.output] = (
            rows * windows[0].stride / windows[0].upscale,
            columns * windows[1].stride / windows[1].upscale,
        )
    if any(stride.denominator != 1 for pair in strides.values() for stride in pair):
        raise ValueError("a tensor is finer than the image")
    return {name: (int(rows), int(columns)) for name, (rows, columns) in strides.items()}


def _cuts(operations: Sequence[Operation], source: str, result: str) -> set[str]:
    """The tensors between segments: the result, those used twice, and those that are upsampled."""
    used: dict[str, int] = defaultdict(int)
    cuts = {result}
    for operation in operations:
        for name in set(operation.inputs):
            used[name] += 1
        if max(window.upscale for window in operation.windows) > 1:
            cuts.update(operation.inputs)
    return (cuts | {name for name, count in used.items() if count > 1}) - {source}


def _ancestors(
    operations: Sequence[Operation],
    operations_by_output: Mapping[str, int],
    output: str,
    cuts: set[str],
) -> tuple[set[int], list[str]]:
    """The operations that lead to a tensor from other cuts, and these cuts."""
    places, inputs, waiting = set[int](), dict[str, None](), [operations_by_output[output]]
    while waiting:
        place = waiting.pop()
        if place in places:
            continue
        places.add(place)
        for name in operations[place].inputs:
            if name in cuts or name not in operations_by_output:
                inputs[name] = None
            else:
                waiting.append(operations_by_output[name])
    return places, list(inputs)


def _halo(
    operations: Sequence[Operation],
    places: Sequence[int],
    output: str,
    strides: Mapping[str, tuple[int, int]],
    unit_px: int,
) -> int:
    """How far a segment sees beyond a region of its output, in pixels of the image."""
    halo_px = 0
    first_px, end_px = 64 * unit_px, 65 * unit_px
    for axis in (0, 1):
        stride = strides[output][axis]
        span = {output: (first_px // stride, end_px // stride)}
        for place in reversed(places):
            operation = operations[place]
            first, end = operation.windows[axis].needed(*span[operation.output])
            for name in operation.inputs:
                other = span.get(name, (first, end))
                span[name] = min(first, other[0]), max(end, other[1])
        for name, (first, end) in span.items():
            stride = strides[name][axis]
            halo_px = max(halo_px, first_px - first * stride, end * stride - end_px)
    return -(-halo_px // unit_px) * unit_px
