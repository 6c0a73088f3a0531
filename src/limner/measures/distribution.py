"""SVG charts of how a measure is distributed, a line for each group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from jaxtyping import Float64, Shaped
from numpy import ndarray

from limner.data.html_page import css_colour
from limner.labels import PALETTE

BINS = 30
ENDS_PERCENT = (0.5, 99.5)
"""Between which the axis runs; what lies beyond counts in the first and the last bin."""
LOG_ABOVE = 30.0
"""A measure whose ends differ by a larger factor has a logarithmic axis."""
WIDTH, HEIGHT = 420, 210
LEFT, RIGHT, TOP, BOTTOM = 12, 12, 12, 40


@dataclass(frozen=True, slots=True)
class _Axis:
    """The values that the chart shows, from left to right."""

    low: float
    high: float
    is_log: bool

    def shares(self, values: Float64[ndarray, " n"]) -> Float64[ndarray, " n"]:
        """Where values lie on the axis, in 0..1."""
        low, high = self.low, self.high
        if self.is_log:
            values = np.log(np.maximum(values, low))
            low, high = float(np.log(low)), float(np.log(high))
        shares: Float64[ndarray, " n"] = np.clip((values - low) / (high - low), 0, 1)
        return shares

    def ticks(self) -> list[float]:
        if self.is_log:
            steps = np.geomspace(self.low, self.high, 4)
        else:
            steps = np.linspace(self.low, self.high, 4)
        ticks: list[float] = steps.tolist()
        return ticks


def draw_distribution(groups: Mapping[str, Shaped[ndarray, " _"]], title: str) -> str:
    """Draw how a measure is distributed in each group; an empty text without any number.

    Args:
        groups: The values of each group, by its name. NaN is left out.
        title: What is measured, with its unit.
    """
    present = {
        name: values[np.isfinite(values)].astype(np.float64) for name, values in groups.items()
    }
    together = np.concatenate([*present.values(), np.zeros(0)])
    if not len(together):
        return ""
    axis = _choose_axis(together)
    shares = {name: _bin(axis, values) for name, values in present.items() if len(values)}
    most = max(float(bins.max()) for bins in shares.values())
    lines = [
        _line(bins / most, css_colour(PALETTE[index % len(PALETTE)]), name)
        for index, (name, bins) in enumerate(shares.items())
    ]
    return "\n".join([*_frame(axis, title), *lines, "</svg>"])


def _choose_axis(values: Float64[ndarray, " n"]) -> _Axis:
    low, high = np.percentile(values, ENDS_PERCENT).tolist()
    if low == high:
        low, high = low - 0.5, high + 0.5
    return _Axis(low, high, is_log=low > 0 and high / low > LOG_ABOVE)


def _bin(axis: _Axis, values: Float64[ndarray, " n"]) -> Float64[ndarray, " b"]:
    """The share of the values in each bin."""
    return np.histogram(axis.shares(values), BINS, (0, 1))[0] / len(values)


def _frame(axis: _Axis, title: str) -> Sequence[str]:
    base = HEIGHT - BOTTOM
    scale = ", logarithmic" if axis.is_log else ""
    ticks = [
        f'<text x="{LEFT + index / 3 * (WIDTH - LEFT - RIGHT):.0f}" y="{base + 16}" '
        f'text-anchor="{("start", "middle", "middle", "end")[index]}">{tick:.4g}</text>'
        for index, tick in enumerate(axis.ticks())
    ]
    return [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title>',
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}"/>',
        *ticks,
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">'
        f"{escape(title)}{scale}</text>",
    ]


def _line(shares: Float64[ndarray, " b"], colour: str, name: str) -> str:
    """The outline of a histogram, with a step at each bin."""
    width, base = (WIDTH - LEFT - RIGHT) / BINS, HEIGHT - BOTTOM
    points = [f"{LEFT},{base}"]
    for index, share in enumerate(shares.tolist()):
        y = base - share * (base - TOP)
        points += [
            f"{LEFT + index * width:.1f},{y:.1f}",
            f"{LEFT + (index + 1) * width:.1f},{y:.1f}",
        ]
    points.append(f"{WIDTH - RIGHT},{base}")
    return (
        f'<polyline points="{" ".join(points)}" fill="{colour}" fill-opacity=".12" '
        f'stroke="{colour}"><title>{escape(name)}</title></polyline>'
    )
