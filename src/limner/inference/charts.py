"""The charts of the report, as SVG that takes its colours from the page around it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 14, 40
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class _Frame:
    """A plane whose axes both begin at 0 and end at given values."""

    most_x: float = 1.0
    most_y: float = 1.0

    def x(self, value: float) -> float:
        return LEFT + value / self.most_x * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - value / self.most_y * (HEIGHT - TOP - BOTTOM)

    def drawn(
        self,
        title: str,
        across: str,
        up: str,
        parts: Iterable[str],
        y_ticks: Sequence[float] = TICKS,
    ) -> str:
        """The whole picture, with axes, grid and words."""
        grid = [
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{self.y(tick):.1f}" y2="{self.y(tick):.1f}"/>'
            f'<text x="{LEFT - 8}" y="{self.y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
            for tick in y_ticks
        ]
        below = [
            (
                f'<text x="{self.x(tick * self.most_x):.1f}" y="{HEIGHT - BOTTOM + 16}" '
                f'text-anchor="middle">{tick * self.most_x:g}</text>'
            )
            for tick in TICKS
        ]
        words = [
            (
                f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" '
                f'text-anchor="middle">{across}</text>'
            ),
            (
                f'<text transform="translate(13 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" '
                f'text-anchor="middle">{up}</text>'
            ),
        ]
        head = (
            f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="{title}"><title>{title}</title>'
        )
        return "\n".join([head, *grid, *below, *parts, *words, "</svg>"])


def histogram(values: Float64[ndarray, " n"], name: str) -> str:
    """How many images have which score in 0..1, in bins of 0.05, with the mean marked."""
    counts = np.histogram(values, np.linspace(0, 1, 21))[0]
    step = _round_step(max(int(counts.max()), 1) / 4)
    ticks = [step * i for i in range(5) if i == 0 or step * (i - 1) < counts.max()]
    frame = _Frame(most_y=ticks[-1])
    wide = (frame.x(1) - frame.x(0)) / 20
    bars = [
        f'<rect class="column" x="{frame.x(i / 20) + 1:.1f}" y="{frame.y(count):.1f}" width="{wide - 2:.1f}" height="{frame.y(0) - frame.y(count):.1f}">'
        f"<title>{count} images from {i / 20:.2f} to {(i + 1) / 20:.2f}</title></rect>"
        for i, count in enumerate(counts.tolist())
        if count
    ]
    mean = float(values.mean())
    mark = (
        f'<line class="mark" x1="{frame.x(mean):.1f}" x2="{frame.x(mean):.1f}" '
        f'y1="{frame.y(frame.most_y)}" y2="{frame.y(0)}"/>'
    )
    return frame.drawn(
        f"Distribution of {name}, mean {mean:.3f}",
        f"{name} of an image",
        "images",
        [*bars, mark],
        ticks,
    )


def reliability_curve(before: Float64[ndarray, "b 3"], after: Float64[ndarray, "b 3"]) -> str:
    """How often what was said with a probability is true, before and after calibration; on the
    diagonal the two are alike.
    """
    frame = _Frame()
    parts = [
        (
            f'<line class="diagonal" x1="{frame.x(0)}" y1="{frame.y(0)}" x2="{frame.x(1)}" '
            f'y2="{frame.y(1)}"/>'
        )
    ]
    for bins, kind in ((before, "before"), (after, "after")):
        kept = bins[bins[:, 0] > 0]
        points = [
            (frame.x(said / count), frame.y(true / count)) for count, said, true in kept.tolist()
        ]
        parts.append(
            f'<polyline class="{kind}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'
        )
        parts += [f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points]
    return frame.drawn(
        "Calibration: said and true probability",
        "probability that the model gives",
        "how often it is true",
        parts,
    )


def scatter(x: Float64[ndarray, " n"], y: Float64[ndarray, " n"], across: str, up: str) -> str:
    """A point for each image, both axes in 0..1."""
    frame = _Frame()
    diagonal = (
        f'<line class="diagonal" x1="{frame.x(0)}" y1="{frame.y(0)}" x2="{frame.x(1)}" '
        f'y2="{frame.y(1)}"/>'
    )
    points = [
        f'<circle class="point" cx="{frame.x(a):.1f}" cy="{frame.y(b):.1f}" r="3"/>'
        for a, b in zip(x.tolist(), y.tolist(), strict=True)
    ]
    return frame.drawn(f"{up} against {across}", across, up, [diagonal, *points])


def _round_step(least: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, ... that is not less."""
    return next(
        step * 10**power for power in range(12) for step in (1, 2, 5) if step * 10**power >= least
    )
