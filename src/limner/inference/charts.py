"""SVG charts: the report's take their colours from the page, the learning curve has its own."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from limner.data.html_page import css_colour
from limner.labels import BLUE, VERMILION

TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
HISTOGRAM_BINS = 20
CURVE_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
DICE_COLOUR, LOSS_COLOUR, GRID_COLOUR = css_colour(BLUE), css_colour(VERMILION), "#888"
"""Of the learning curve, readable on light and dark backgrounds."""


@dataclass(frozen=True, slots=True)
class _Axes:
    """Maps values to pixels; both axes start at 0. The margins hold labels."""

    x_max: float = 1.0
    y_max: float = 1.0
    width: int = 560
    height: int = 300
    left: int = 52
    right: int = 16
    top: int = 14
    bottom: int = 40

    def x(self, value: float | int) -> float:
        return self.left + value / self.x_max * (self.width - self.left - self.right)

    def y(self, value: float | int) -> float:
        return (
            self.height - self.bottom - value / self.y_max * (self.height - self.top - self.bottom)
        )

    def points(self, x_values: Iterable[float], y_values: Iterable[float]) -> str:
        """The `points` attribute of a polyline."""
        pairs = zip(x_values, y_values, strict=True)
        return " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in pairs)


def histogram(values: Float64[ndarray, " n"], name: str) -> str:
    """Draw how many images have which score, in bins of 0.05, with the mean marked.

    Args:
        values: a score of each image, in 0..1; at least one.
        name: the score's name, for the title and the axis.
    """
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    counts: list[int] = np.histogram(values, edges)[0].tolist()
    step = _round_up(max(*counts, 1) / 4)
    ticks = [float(step * i) for i in range(5) if i == 0 or step * (i - 1) < max(counts)]
    axes = _Axes(y_max=ticks[-1])
    bars = [_bar(axes, i, count) for i, count in enumerate(counts) if count]
    mean = float(values.mean())
    mark = (
        f'<line class="mark" x1="{axes.x(mean):.1f}" x2="{axes.x(mean):.1f}" '
        f'y1="{axes.y(axes.y_max)}" y2="{axes.y(0.0)}"/>'
    )
    title = f"Distribution of {name}, mean {mean:.3f}"
    return _report_chart(axes, title, (f"{name} of an image", "images"), [*bars, mark], ticks)


def _bar(axes: _Axes, index: int, count: int) -> str:
    """A bar of the histogram, with a pixel left free on both sides."""
    start, end = index / HISTOGRAM_BINS, (index + 1) / HISTOGRAM_BINS
    width = (axes.x(1.0) - axes.x(0.0)) / HISTOGRAM_BINS
    top, bottom = axes.y(float(count)), axes.y(0.0)
    return (
        f'<rect class="column" x="{axes.x(start) + 1:.1f}" y="{top:.1f}" width="{width - 2:.1f}" '
        f'height="{bottom - top:.1f}"><title>{count} images from {start:.2f} to {end:.2f}</title>'
        "</rect>"
    )


def reliability_curve(before: Float64[ndarray, "b 3"], after: Float64[ndarray, "b 3"]) -> str:
    """Draw the reliability diagram before and after calibration.

    Args:
        before: of each bin the pixels, the sum of predicted probabilities, and how many pixels are
            of the class.
        after: the same after calibration.
    """
    axes = _Axes()
    marks = [_diagonal(axes)]
    for bins, style in ((before, "before"), (after, "after")):
        filled = bins[bins[:, 0] > 0]
        predicted, true = (filled[:, 1:] / filled[:, :1]).T.tolist()
        marks.append(f'<polyline class="{style}" points="{axes.points(predicted, true)}"/>')
        marks += _circles(axes, predicted, true, style)
    labels = "probability that the model gives", "how often it is true"
    return _report_chart(axes, "Calibration: predicted and true probability", labels, marks)


def scatter(
    x: Float64[ndarray, " n"], y: Float64[ndarray, " n"], x_label: str, y_label: str
) -> str:
    """Draw a point for each image, with both axes in 0..1 and the diagonal."""
    axes = _Axes()
    marks = [_diagonal(axes), *_circles(axes, x.tolist(), y.tolist(), "point")]
    return _report_chart(axes, f"{y_label} against {x_label}", (x_label, y_label), marks)


def learning_curve(
    epochs: Sequence[int], dice: Sequence[float], losses: Sequence[float | None]
) -> str:
    """Draw validation Dice and training loss by epoch, as a file that needs no page around it.

    Args:
        epochs: in ascending order; at least one.
        dice: of each epoch, in 0..1.
        losses: of each epoch; None where there is none. The scale ends at the highest.
    """
    loss_max = max((loss for loss in losses if loss is not None), default=1.0) or 1.0
    elapsed = [float(epoch - epochs[0]) for epoch in epochs]
    axes = _Axes(max(elapsed[-1], 1.0), 1.0, 720, 360, left=48, right=48, top=48, bottom=48)
    best = max(range(len(epochs)), key=lambda i: dice[i])
    best_text = f"best {dice[best]:.4f} in epoch {epochs[best]}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {axes.width} {axes.height}" '
        'font-family="sans-serif" font-size="12" role="img">',
        f"<title>Validation Dice by epoch, {best_text}</title>",
        *(_curve_tick(axes, tick, loss_max) for tick in CURVE_TICKS),
    ]
    with_loss = [i for i, loss in enumerate(losses) if loss is not None]
    if with_loss:
        shares = [(losses[i] or 0.0) / loss_max for i in with_loss]
        line = axes.points([elapsed[i] for i in with_loss], shares)
        parts.append(_curve_line(line, LOSS_COLOUR))
    parts += [
        _curve_line(axes.points(elapsed, dice), DICE_COLOUR),
        f'<circle cx="{axes.x(elapsed[best]):.1f}" cy="{axes.y(dice[best]):.1f}" r="4" '
        f'fill="{DICE_COLOUR}"/>',
        *_curve_texts(axes, best_text, (epochs[0], epochs[-1])),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _report_chart(
    axes: _Axes,
    title: str,
    labels: tuple[str, str],
    marks: Iterable[str],
    y_ticks: Sequence[float] = TICKS,
) -> str:
    """A chart of the report: axes and grid, with labels of the x and the y axis."""
    x_label, y_label = labels
    left, right, below = axes.left, axes.width - axes.right, axes.height - axes.bottom
    grid = [
        f'<line class="grid" x1="{left}" x2="{right}" y1="{axes.y(tick):.1f}" '
        f'y2="{axes.y(tick):.1f}"/><text x="{left - 8}" y="{axes.y(tick) + 4:.1f}" '
        f'text-anchor="end">{tick:g}</text>'
        for tick in y_ticks
    ]
    x_ticks = [
        f'<text x="{axes.x(tick * axes.x_max):.1f}" y="{below + 16}" text-anchor="middle">'
        f"{tick * axes.x_max:g}</text>"
        for tick in TICKS
    ]
    texts = [
        f'<text x="{(left + right) / 2}" y="{axes.height - 6}" text-anchor="middle">'
        f"{x_label}</text>",
        f'<text transform="translate(13 {(axes.top + below) / 2}) rotate(-90)" '
        f'text-anchor="middle">{y_label}</text>',
    ]
    head = (
        f'<svg class="chart" viewBox="0 0 {axes.width} {axes.height}" role="img" '
        f'aria-label="{title}"><title>{title}</title>'
    )
    return "\n".join([head, *grid, *x_ticks, *marks, *texts, "</svg>"])


def _diagonal(axes: _Axes) -> str:
    return (
        f'<line class="diagonal" x1="{axes.x(0.0)}" y1="{axes.y(0.0)}" x2="{axes.x(1.0)}" '
        f'y2="{axes.y(1.0)}"/>'
    )


def _circles(
    axes: _Axes, x_values: Sequence[float], y_values: Sequence[float], style: str
) -> list[str]:
    return [
        f'<circle class="{style}" cx="{axes.x(x):.1f}" cy="{axes.y(y):.1f}" r="3"/>'
        for x, y in zip(x_values, y_values, strict=True)
    ]


def _curve_tick(axes: _Axes, tick: float, loss_max: float) -> str:
    """A line of the learning curve's grid, with the Dice on its left and the loss on its right."""
    y, right = axes.y(tick), axes.width - axes.right
    return (
        f'<line x1="{axes.left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID_COLOUR}" '
        f'stroke-opacity=".3"/><text x="{axes.left - 8}" y="{y + 4:.1f}" text-anchor="end" '
        f'fill="{DICE_COLOUR}">{tick:g}</text><text x="{right + 8}" y="{y + 4:.1f}" '
        f'fill="{LOSS_COLOUR}">{tick * loss_max:.2g}</text>'
    )


def _curve_texts(axes: _Axes, best_text: str, ends: tuple[int, int]) -> list[str]:
    """The titles of both lines above the learning curve, and the first and last epoch below."""
    left, right, below = axes.left, axes.width - axes.right, axes.height - 16
    return [
        f'<text x="{left}" y="24" fill="{DICE_COLOUR}">validation Dice, {best_text}</text>',
        f'<text x="{right}" y="24" text-anchor="end" fill="{LOSS_COLOUR}">training loss</text>',
        f'<text x="{left}" y="{below}" fill="{GRID_COLOUR}">epoch {ends[0]}</text>',
        f'<text x="{right}" y="{below}" text-anchor="end" fill="{GRID_COLOUR}">{ends[1]}</text>',
    ]


def _curve_line(points: str, colour: str) -> str:
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _round_up(minimum: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, ... that is not below `minimum`."""
    return next(
        step * 10**power for power in range(12) for step in (1, 2, 5) if step * 10**power >= minimum
    )
