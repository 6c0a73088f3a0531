"""What a run has logged: its events, its validations, and the learning curve as a picture."""

import json
from pathlib import Path
from typing import Any

from limner.files import write_atomic
from limner.inference.charts import learning_curve


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
    if rows:
        curve = learning_curve(
            [row["epoch"] for row in rows],
            [row["mean_dice"] for row in rows],
            [row["loss"] for row in rows],
        )
        write_atomic(folder / "curve.svg", curve)
