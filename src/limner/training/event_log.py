"""events.jsonl: what a run has logged, a line of JSON for each event; and its learning curve."""

import time
from dataclasses import fields
from pathlib import Path

from limner.files import dump_json, write_atomic
from limner.inference.charts import learning_curve
from limner.training import run_files
from limner.training.events import Event
from limner.training.run_record import validations

NOT_LOGGED = "previews"
"""A field of events that holds images."""


class EventLog:
    """Append events to the log of a run folder."""

    def __init__(self, folder: Path) -> None:
        path = folder / run_files.EVENTS
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
