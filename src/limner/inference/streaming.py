"""A large image through a network in bands of rows, hardly any pixel twice.

Every segment of the network (`segments`) keeps the rows of its output that others still need. What
a segment computes at the edge of a region lacks what lies beyond it, so a region has a halo, which
is cut off again; where the region ends the image ends, the segment pads as the network does.

An augmented image is predicted in the same order of rows: a segment sees its region mirrored or
turned, and its output is turned back.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import cpu_count
from threading import Lock

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from limner.data.parallel import map_in_order
from limner.inference.segments import Segment, SegmentPlan
from limner.inference.tta import TtaTransform

REGION_PIXELS = 200_000
"""Of a tensor as fine as the image, with those of transformed copies: the most at the same time.

Of one at 1/s of the side it is 1/s of that, since coarser tensors have more channels.
"""
LEAST_ROWS = 9
"""Of a tensor, computed in one call: those of the halo come on top, and would be most of a few."""
MOST_AT_ONCE = 4
"""Regions that are computed at the same time; with more cores than that each has several."""
BAND_PIXELS = 2_000_000
"""Of the image and its transformed copies: about what a band has."""

RunSegment = Callable[[Sequence[Float32[ndarray, "b _ _ _"]]], Float32[ndarray, "b _ _ _"]]
ReadRows = Callable[[int, int, int, int], Float32[ndarray, "c h w"]]
"""Gives the normalised pixels of the rows and columns (first row, end, first column, end)."""


@dataclass(slots=True)
class Rows:
    """Rows of a tensor: those that were computed and are still needed."""

    stride: int
    first_px: int = 0
    end_px: int = 0
    parts: list[Float32[ndarray, "t c h w"]] = field(default_factory=list)

    def append(self, rows: Float32[ndarray, "t c h w"]) -> None:
        self.parts.append(rows)
        self.end_px += rows.shape[2] * self.stride

    def take(
        self, first_px: int, end_px: int, columns: slice = slice(None)
    ) -> Float32[ndarray, "t c h w"]:
        """The rows of a range of the image, which are there; all of their columns, or some."""
        start, stop = ((px - self.first_px) // self.stride for px in (first_px, end_px))
        found, top = [], 0
        for part in self.parts:
            bottom = top + part.shape[2]
            if bottom > start and top < stop:
                found.append(part[:, :, max(0, start - top) : stop - top, columns])
            top = bottom
        return found[0] if len(found) == 1 else np.concatenate(found, axis=2)

    def drop(self, before_px: int) -> None:
        """Forget the rows before a row of the image, but for less than half of one part."""
        while self.parts and before_px > self.first_px:
            first = self.parts[0]
            done = min((before_px - self.first_px) // self.stride, first.shape[2])
            if 2 * done < first.shape[2]:
                break
            del self.parts[0]
            if done < first.shape[2]:
                self.parts.insert(0, first[:, :, done:].copy())
            self.first_px += done * self.stride


@dataclass(frozen=True, slots=True)
class SegmentedNetwork:
    """The segments of a network, and what runs each, by the name of its output."""

    plan: SegmentPlan
    run: Mapping[str, RunSegment]
    at_once: int = 1
    """How many regions are computed at the same time."""


def regions_at_once() -> tuple[int, int]:
    """How many regions a caller that has all cores computes at once, and the threads of each."""
    cores = cpu_count() or 1
    at_once = min(cores, MOST_AT_ONCE)
    return at_once, -(-cores // at_once)


OpenSegments = Callable[[], SegmentedNetwork | None]
"""Gives a network in segments; None where it cannot be cut into them."""


def no_segments() -> SegmentedNetwork | None:
    """Of a network that is never cut."""
    return None


class StreamedImage:
    """One image that goes through a network in bands, from top to bottom.

    Args:
        network: The network's segments.
        read: The image, padded to multiples of the plan's unit.
        size_px: Height and width of the padded image.
        transforms: Mirrored and turned copies that are predicted too.
    """

    def __init__(
        self,
        network: SegmentedNetwork,
        read: ReadRows,
        size_px: tuple[int, int],
        transforms: Sequence[TtaTransform],
    ) -> None:
        self._plan, self._run, self._read = network.plan, network.run, read
        self._at_once = network.at_once
        self._height, self._width = size_px
        self._transforms = tuple(transforms)
        self._rows = {
            segment.output: Rows(self._plan.strides[segment.output])
            for segment in self._plan.segments
        }

    def bands(self) -> Iterator[tuple[int, Float32[ndarray, "t k h w"]]]:
        """Yield the first row of each band, and the logits of its rows for each transform."""
        unit = self._plan.unit_px
        rows = max(1, BAND_PIXELS // (len(self._transforms) * self._width * unit)) * unit
        result = self._rows[self._plan.result]
        for end_px in range(rows, self._height + rows, rows):
            first_px = result.end_px
            self._advance(min(end_px, self._height))
            yield first_px, result.take(first_px, result.end_px)
            result.drop(result.end_px)

    def _advance(self, end_px: int) -> None:
        """Compute all tensors as far as the result needs them up to a row of the image."""
        targets = self._targets(end_px)
        for segment in self._plan.segments:
            rows = self._rows[segment.output]
            if targets[segment.output] > rows.end_px:
                rows.append(self._compute(segment, rows.end_px, targets[segment.output]))
                self._forget()

    def _targets(self, end_px: int) -> dict[str, int]:
        """How far each tensor must be computed, in rows of the image."""
        targets = {name: rows.end_px for name, rows in self._rows.items()}
        targets[self._plan.result] = end_px
        for segment in reversed(self._plan.segments):
            end_px, target = self._rows[segment.output].end_px, targets[segment.output]
            if target > end_px:
                # The result is asked for band by band, and nothing takes it
                if segment.output != self._plan.result:
                    least_px = LEAST_ROWS * self._plan.strides[segment.output]
                    target = max(target, end_px + least_px)
                target = -(-target // segment.unit_px) * segment.unit_px
                targets[segment.output] = min(self._height, target)
                reached = min(self._height, targets[segment.output] + segment.halo_px)
                for name in segment.inputs:
                    if name in targets:
                        targets[name] = max(targets[name], reached)
        return targets

    def _forget(self) -> None:
        """Drop the rows that no segment needs any more."""
        needed = dict.fromkeys(self._rows, self._height)
        for segment in self._plan.segments:
            first = self._rows[segment.output].end_px - segment.halo_px
            if self._rows[segment.output].end_px < self._height:
                for name in segment.inputs:
                    if name in needed:
                        needed[name] = min(needed[name], first)
        for name, first_px in needed.items():
            if name != self._plan.result:
                self._rows[name].drop(first_px)

    def _compute(self, segment: Segment, first_px: int, end_px: int) -> Float32[ndarray, "t c h w"]:
        """Compute rows of a segment's output, in as many columns at a time as memory allows."""
        stride = self._plan.strides[segment.output]
        columns = self._columns(segment, end_px - first_px + 2 * segment.halo_px)
        computed: list[Float32[ndarray, "t c h w"]] = []
        lock = Lock()

        def compute(left: int) -> None:
            right = min(left + columns, self._width)
            part = self._compute_columns(segment, (first_px, end_px), (left, right))
            with lock:
                if not computed:
                    # In place, since joining parts would take their memory twice
                    shape = (*part.shape[:3], self._width // stride)
                    computed.append(np.empty(shape, np.float32))
            computed[0][..., left // stride : right // stride] = part

        lefts = range(0, self._width, columns)
        if self._at_once == 1:
            for left in lefts:
                compute(left)
        else:
            for _ in map_in_order(compute, lefts, self._at_once):
                pass
        return computed[0]

    def _columns(self, segment: Segment, rows: int) -> int:
        """How many columns of a segment are computed in one call, in pixels of the image."""
        strides, unit = self._plan.strides, segment.unit_px
        finest = min(strides[name] for name in (segment.output, *segment.inputs))
        most = REGION_PIXELS * finest // (len(self._transforms) * self._at_once * rows)
        # As many calls for each thread, and of the same size
        calls = -(-self._width // max(unit, most // unit * unit))
        calls = -(-calls // self._at_once) * self._at_once
        return -(-self._width // (calls * unit)) * unit

    def _compute_columns(
        self, segment: Segment, rows: tuple[int, int], columns: tuple[int, int]
    ) -> Float32[ndarray, "t c h w"]:
        halo, stride = segment.halo_px, self._plan.strides[segment.output]
        top, bottom = max(0, rows[0] - halo), min(self._height, rows[1] + halo)
        left, right = max(0, columns[0] - halo), min(self._width, columns[1] + halo)
        regions = [self._region(name, (top, bottom), (left, right)) for name in segment.inputs]
        kept = (
            slice((rows[0] - top) // stride, (rows[1] - top) // stride),
            slice((columns[0] - left) // stride, (columns[1] - left) // stride),
        )
        return self._run_transformed(segment, regions)[:, :, *kept]

    def _region(
        self, name: str, rows: tuple[int, int], columns: tuple[int, int]
    ) -> Float32[ndarray, "t c h w"]:
        """A region of a tensor, given in pixels of the image."""
        if name == self._plan.source:
            pixels = self._read(*rows, *columns)
            return np.broadcast_to(pixels, (len(self._transforms), *pixels.shape))
        stride = self._plan.strides[name]
        return self._rows[name].take(*rows, slice(columns[0] // stride, columns[1] // stride))

    def _run_transformed(
        self, segment: Segment, regions: Sequence[Float32[ndarray, "t _ _ _"]]
    ) -> Float32[ndarray, "t c h w"]:
        """Run a segment on each transform of its inputs; those of one shape go together."""
        run = self._run[segment.output]
        if self._transforms == (TtaTransform(),):
            return run([np.ascontiguousarray(region) for region in regions])
        outputs = dict[int, Float32[ndarray, "c h w"]]()
        for odd in (False, True):
            places = [
                place
                for place, transform in enumerate(self._transforms)
                if bool(transform.turns % 2) is odd
            ]
            if not places:
                continue
            batch = run(
                [
                    np.stack([self._transforms[place].apply(region[place]) for place in places])
                    for region in regions
                ]
            )
            for place, planes in zip(places, batch, strict=True):
                height, width = planes.shape[1:]
                size = (width, height) if odd else (height, width)
                outputs[place] = self._transforms[place].invert(planes, size)
        return np.stack([outputs[place] for place in range(len(self._transforms))])
