"""events.jsonl: what a run has logged, a line of JSON for each event; and its learning curve."""

import json
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

from limner.files import dump_json, write_atomic
from limner.inference.charts import learning_curve
from limner.training import run_files
from limner.training.events import Event

NOT_LOGGED = "previews"
"""A field of events that holds images."""


class EventLog:
    """Append events to the log of a run folder."""

    def __init__(self, folder: Path) -> None:
        path = log_path(folder)
        # A kill or a full disk may have cut the last line off
        torn = path.is_file() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
        self._file = path.open("a", encoding="utf-8")
        self._file.write("\n" * torn)

    def append(self, event: Event) -> None:
        """Write an event with its time and all its fields except images."""
        names = [field.name for field in fields(event) if field.name != NOT_LOGGED]
        values = {name: getattr(event, name) for name in names}
        row = {"event": type(event).__name__.lower(), "time": time.time(), **values}
        self._file.write(dump_json(row, indent=None))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def log_path(folder: Path) -> Path:
    """Give the path of a run's log."""
    return folder / run_files.EVENTS


def read_events(folder: Path) -> list[dict[str, Any]]:
    """Read the events of a run, without lines that a kill cut off; none where there is no log."""
    try:
        lines = log_path(folder).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    events = []
    for line in lines:
        try:
            events.append(json.loads(line))
        except ValueError:
            continue
    return events


def validations(folder: Path) -> list[dict[str, Any]]:
    """Read the validations of a run by epoch; one that was repeated after a stop counts once."""
    by_epoch: dict[int, dict[str, Any]] = {}
    for event in read_events(folder):
        if event.get("event") == "validation":
            by_epoch[event["epoch"]] = event
    return [by_epoch[epoch] for epoch in sorted(by_epoch)]


def write_learning_curve(folder: Path) -> None:
    """Write curve.svg: validation Dice and training loss by epoch, readable on light and dark."""
    rows = validations(folder)
    if rows:
        curve = learning_curve(
            [row["epoch"] for row in rows],
            [row["mean_dice"] for row in rows],
            [row["loss"] for row in rows],
        )
        write_atomic(folder / run_files.CURVE, curve)


def learning_curve_svg(model: Path) -> str:
    """Read the learning curve of a model's run as SVG; empty where there is none."""
    curve = model.parent / run_files.CURVE
    return curve.read_text(encoding="utf-8") if curve.is_file() else ""
