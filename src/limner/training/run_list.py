"""The runs of a folder, as a table."""

import json
import time
from pathlib import Path
from typing import Any

from limner.errors import LimnerError
from limner.inference.report import REPORT
from limner.training import run_files
from limner.training.run_record import RunRecord, read_events, validations

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
    "other_reports",
)
MAX_STATE_LENGTH = 80


def list_runs(folder: Path) -> list[dict[str, Any]]:
    """Describe each run of a folder by `COLUMNS`, the latest first.

    A run that cannot be read is listed too. Raises LimnerError where there is no such folder.
    """
    if not folder.is_dir():
        raise LimnerError(
            f"{folder} is not a folder. Runs lie in the runs/ folder of the place where they "
            "were started."
        )
    rows = []
    for path in folder.glob(f"*/{run_files.RECEIPT}"):
        run = RunRecord(path.parent)
        try:
            rows.append((float(run.receipt["began"]), describe_run(run, in_use=run.in_use())))
        except (LimnerError, OSError, ValueError, KeyError) as error:
            state = f"unreadable: {error}"[:MAX_STATE_LENGTH]
            rows.append((0.0, dict.fromkeys(COLUMNS) | {"run": run.folder.name, "state": state}))
    return [row for _, row in sorted(rows, key=lambda row: -row[0])]


def describe_run(run: RunRecord, *, in_use: bool) -> dict[str, Any]:
    """Describe a run by `COLUMNS`; `in_use` says whether a process trains it.

    Raises LimnerError, OSError, ValueError or KeyError where its files cannot be read.
    """
    receipt, recipe, validated = run.receipt, run.recipe, validations(run.folder)
    # Receipts of every version call a session so
    sessions = receipt["sittings"]
    seconds = sum(session["seconds"] for session in sessions)
    start = time.localtime(float(receipt["began"]))
    return {
        "run": run.folder.name,
        "state": _state(run, in_use=in_use),
        "epoch": f"{validated[-1]['epoch'] if validated else 0} of {recipe.train.epochs}",
        "validation_dice": max((event["mean_dice"] for event in validated), default=None),
        "test_dice": _test_dice(run),
        "network": recipe.model.encoder or recipe.model.preset,
        # A resume that had nothing left to do has a session of no image
        "images_per_second": next(
            (each["images_per_second"] for each in reversed(sessions) if each.get("images")), None
        ),
        "minutes": round(seconds / 60, 1),
        "begun": time.strftime("%Y-%m-%d %H:%M", start),
        "other_reports": _other_reports(run),
    }


def _test_dice(run: RunRecord) -> float | None:
    """From the report of `limner test` on the test images; None before it."""
    report = run.folder / "report" / REPORT
    if not report.is_file():
        return None
    return json.loads(report.read_text(encoding="utf-8"))["scores"]["dice"]["mean"]


def _other_reports(run: RunRecord) -> list[dict[str, Any]]:
    """What else the model was scored on, and how: other data and splits, and other ways to predict.

    A report that cannot be read is listed without its numbers.
    """
    rows = []
    for path in sorted(run.folder.glob(f"report-*/{REPORT}")):
        name = path.parent.name.removeprefix("report-")
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            dice, images = report["scores"]["dice"]["mean"], report["images"]
        except (OSError, ValueError, KeyError, TypeError):
            dice = images = None
        rows.append({"report": name, "images": images, "dice": dice})
    return rows


def _state(run: RunRecord, *, in_use: bool) -> str:
    """Finished, training, or stopped. A process that trains a run holds its lock."""
    if (run.folder / run_files.STATE).is_file():
        reasons = [
            event["reason"]
            for event in read_events(run.folder)
            if event["event"] == "stopped" and event.get("finished", True)
        ]
        return f"finished: {reasons[-1]}" if reasons else "finished"
    return "training" if in_use else "stopped"
