"""How far a training is: its plan, its curve, and the time that is left."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limner.recipe import Recipe
from limner.training import run_files
from limner.training.plan_summary import PlanRow, read_plan
from limner.training.run_record import RunRecord, read_events, validations


@dataclass(frozen=True, slots=True)
class RunProgress:
    """A training as it is now."""

    name: str
    plan: tuple[PlanRow, ...]
    validations: tuple[dict[str, Any], ...]
    """Epoch, mean Dice and loss."""
    epochs: int
    seconds_left: float | None
    """None where it is not known yet, or where the run was resumed."""
    notes: tuple[str, ...]
    """What was skipped, and what else a person should know."""
    pictures: int
    """A number that changes with the picture of validation images; 0 before the first."""


def read_progress(run: RunRecord, now: Callable[[], float] = time.time) -> RunProgress:
    """Read how far a training is. Raises LimnerError where its files cannot be read."""
    recipe = run.recipe
    events = read_events(run.folder)
    picture = run.folder / run_files.VALIDATION_IMAGES
    skipped = sum(event.get("event") == "skipped" for event in events)
    notes = [event["text"] for event in events if event.get("event") == "note"]
    if skipped:
        notes.append(f"{skipped} steps were skipped: their loss was not finite.")
    validated = validations(run.folder)
    return RunProgress(
        run.folder.name,
        read_plan(run.folder / run_files.RECIPE),
        tuple({key: event[key] for key in ("epoch", "mean_dice", "loss")} for event in validated),
        recipe.train.epochs or 0,
        _seconds_left(recipe, run.receipt, validated, now()),
        tuple(notes),
        picture.stat().st_mtime_ns // 1_000_000 if picture.is_file() else 0,
    )


def _seconds_left(
    recipe: Recipe, receipt: Mapping[str, Any], validated: Sequence[Mapping[str, Any]], now: float
) -> float | None:
    """By the time that was given, or else by the epochs that are done."""
    # Of a resumed run it is not known how long it lay still
    if len(receipt["sittings"]) > 1:
        return None
    began = float(receipt["began"])
    if recipe.train.minutes is not None:
        return max(0.0, 60 * recipe.train.minutes - (now - began))
    if not validated:
        return None
    done = validated[-1]
    return max(0.0, (done["time"] - began) * recipe.train.epochs / done["epoch"] - (now - began))
