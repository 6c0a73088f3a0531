"""RunRecord: what the files of a run folder say. No network is loaded for it."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from limner.errors import LimnerError
from limner.files import try_lock
from limner.labels import Labels
from limner.recipe import Recipe
from limner.recipe_file import load_recipe
from limner.training import run_files

LOCK_TRIES, LOCK_POLL_S = 11, 0.02
"""A lock that is held is tried so often before its holder counts as training.

A process that only asks whether the run is in use holds it too, for a moment.
"""


class RunRecord:
    """A folder that holds one training run, to be read.

    Example:
        >>> RunRecord(Path("runs/lesions")).recipe.train.epochs
        50
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = folder / run_files.MODEL
        """The best model so far."""

    @property
    def recipe(self) -> Recipe:
        """The complete recipe of the run."""
        return load_recipe(self.folder / run_files.RECIPE)

    @property
    def split(self) -> dict[str, list[str]]:
        """Ids of the samples of each split, as settled when the run started."""
        return self.read_json(run_files.SPLIT)

    @property
    def contents(self) -> dict[str, str]:
        """The content of each sample's image by id; empty in runs of earlier versions."""
        if not (self.folder / run_files.CONTENTS).is_file():
            return {}
        return self.read_json(run_files.CONTENTS)

    @property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprints of each split's images; empty in runs of earlier versions."""
        if not (self.folder / run_files.FINGERPRINTS).is_file():
            return {}
        return self.read_json(run_files.FINGERPRINTS)

    @property
    def labels(self) -> Labels:
        """The classes, as settled when the run started."""
        return Labels.from_dict(self.read_json(run_files.LABELS))

    @property
    def receipt(self) -> dict[str, Any]:
        """What the run is made of and where it ran."""
        return self.read_json(run_files.RECEIPT)

    @property
    def data(self) -> Path:
        """The dataset that the run was started with."""
        return Path(self.receipt["data"])

    def in_use(self) -> bool:
        """Tell whether a process trains this run now."""
        try:
            with self.lock():
                return False
        except LimnerError:
            return True

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes out while this one trains.

        Raises LimnerError where another one does.
        """
        with ExitStack() as stack:
            for _ in range(LOCK_TRIES):
                if stack.enter_context(try_lock(self.folder / run_files.LOCK)):
                    break
                time.sleep(LOCK_POLL_S)
            else:
                raise LimnerError(
                    f"another process is training {self.folder}. Wait for it, or stop it first."
                )
            yield

    def read_json(self, name: str) -> Any:
        """Read a JSON file of the folder."""
        return json.loads((self.folder / name).read_text(encoding="utf-8"))


def read_events(folder: Path) -> list[dict[str, Any]]:
    """Read the events of a run, without lines that a kill cut off; none where there is no log."""
    try:
        lines = (folder / run_files.EVENTS).read_text(encoding="utf-8").splitlines()
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
