"""The runs of a folder, as a list."""

import json
import time
from pathlib import Path
from typing import Any

from limner.errors import LimnerError
from limner.training.event_log import read_events, validations
from limner.training.run import Run

COLUMNS = (
    "run",
    "state",
    "epoch",
    "validation_dice",
    "test_dice",
    "network",
    "images_per_second",
    "minutes",
    "begun",
)


def list_runs(folder: Path) -> list[dict[str, Any]]:
    """What each run of a folder is like, the latest begun first. Raises LimnerError where there is
    no such folder.
    """
    if not folder.is_dir():
        raise LimnerError(
            f"{folder} is no folder. Runs lie in the runs/ folder of the place where they "
            "were begun."
        )
    found = [Run(path.parent) for path in folder.glob("*/receipt.json")]
    rows = []
    for run in found:
        try:
            rows.append((float(run.receipt["began"]), _row(run)))
        except (LimnerError, OSError, ValueError, KeyError) as error:
            rows.append(
                (
                    0.0,
                    {
                        **dict.fromkeys(COLUMNS),
                        "run": run.folder.name,
                        "state": f"unreadable: {error}"[:80],
                    },
                )
            )
    return [row for _, row in sorted(rows, key=lambda row: -row[0])]


def _row(run: Run) -> dict[str, Any]:
    receipt, model, rows = run.receipt, run.recipe.model, validations(run.folder)
    sittings = receipt["sittings"]
    tested = run.folder / "report" / "report.json"
    return {
        "run": run.folder.name,
        "state": _state(run),
        "epoch": f"{rows[-1]['epoch'] if rows else 0} of {run.recipe.train.epochs}",
        "validation_dice": max((row["mean_dice"] for row in rows), default=None),
        "test_dice": json.loads(tested.read_text(encoding="utf-8"))["scores"]["dice"]["mean"]
        if tested.is_file()
        else None,
        "network": model.encoder or model.preset,
        "images_per_second": sittings[-1]["images_per_second"] if sittings else None,
        "minutes": round(sum(sitting["seconds"] for sitting in sittings) / 60, 1),
        "begun": time.strftime("%Y-%m-%d %H:%M", time.localtime(float(receipt["began"]))),
    }


def _state(run: Run) -> str:
    """Finished, training, or stopped; a run is being trained while a process holds its lock."""
    if (run.folder / "state.json").is_file():
        ended = [
            event["reason"]
            for event in read_events(run.folder)
            if event["event"] == "stopped" and event.get("finished", True)
        ]
        return f"finished: {ended[-1]}" if ended else "finished"
    return "training" if run.in_use() else "stopped"
