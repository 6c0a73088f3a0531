"""What a run has logged: its events, its validations, and the learning curve as a picture."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limner.files import write_atomic

WIDTH, HEIGHT, MARGIN = 720, 360, 48
DICE, LOSS, INK = "#0072b2", "#d55e00", "#888"


def validations(folder: Path) -> list[dict[str, Any]]:
    """The validations of a run in the order of their epochs; one that was repeated after a stop
    counts once.
    """
    found: dict[int, dict[str, Any]] = {}
    for event in read_events(folder):
        if event.get("event") == "validation":
            found[event["epoch"]] = event
    return [found[epoch] for epoch in sorted(found)]


def read_events(folder: Path) -> list[dict[str, Any]]:
    """What the log of a run holds; a last line that a kill cut off is left out."""
    found = []
    try:
        lines = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def write_learning_curve(folder: Path) -> None:
    """Write curve.svg: validation Dice and training loss by epoch, readable on light and dark."""
    rows = validations(folder)
    if not rows:
        return
    epochs = [row["epoch"] for row in rows]
    dices = [row["mean_dice"] for row in rows]
    losses = [row["loss"] for row in rows]
    known = [loss for loss in losses if loss is not None]
    most = max(known, default=1.0) or 1.0
    best = max(range(len(rows)), key=lambda i: dices[i])
    span = max(epochs[-1] - epochs[0], 1)
    across = [MARGIN + (epoch - epochs[0]) / span * (WIDTH - 2 * MARGIN) for epoch in epochs]
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="sans-serif" font-size="12" role="img">'
        ),
        f"<title>Validation Dice by epoch, best {dices[best]:.4f} in epoch {epochs[best]}</title>",
        *(
            f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{_down(tick):.1f}" y2="{_down(tick):.1f}" stroke="{INK}" stroke-opacity=".3"/>'
            f'<text x="{MARGIN - 8}" y="{_down(tick) + 4:.1f}" text-anchor="end" fill="{DICE}">{tick:g}</text>'
            f'<text x="{WIDTH - MARGIN + 8}" y="{_down(tick) + 4:.1f}" '
            f'fill="{LOSS}">{tick * most:.2g}</text>'
            for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
        ),
        *_line(across, [None if loss is None else loss / most for loss in losses], LOSS),
        *_line(across, dices, DICE),
        f'<circle cx="{across[best]:.1f}" cy="{_down(dices[best]):.1f}" r="4" fill="{DICE}"/>',
        (
            f'<text x="{MARGIN}" y="24" fill="{DICE}">validation Dice, best {dices[best]:.4f} in '
            f"epoch {epochs[best]}</text>"
        ),
        f'<text x="{WIDTH - MARGIN}" y="24" text-anchor="end" fill="{LOSS}">training loss</text>',
        f'<text x="{MARGIN}" y="{HEIGHT - 16}" fill="{INK}">epoch {epochs[0]}</text>',
        (
            f'<text x="{WIDTH - MARGIN}" y="{HEIGHT - 16}" text-anchor="end" '
            f'fill="{INK}">{epochs[-1]}</text>'
        ),
        "</svg>",
    ]
    write_atomic(folder / "curve.svg", "\n".join(parts) + "\n")


def _down(share: float) -> float:
    """Where a value of 0..1 lies."""
    return HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN)


def _line(across: Sequence[float], shares: Sequence[float | None], colour: str) -> list[str]:
    points = " ".join(
        f"{x:.1f},{_down(share):.1f}"
        for x, share in zip(across, shares, strict=True)
        if share is not None
    )
    return (
        [f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>']
        if points
        else []
    )
