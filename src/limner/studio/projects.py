"""A project: a folder of images, and what commands have made of it.

Nothing is kept but which folders were opened. All else is read from the files that the commands
write beside the folder: checks/, runs/, folders of predictions, reviews, and revisions NAME-2,
NAME-3 of the dataset.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

from limner.errors import LimnerError
from limner.files import try_lock, write_atomic
from limner.inference.prediction_record import PREDICTIONS_FILE
from limner.inference.report import REPORT
from limner.review.blank import has_classes
from limner.review.predictions import STORE_FOLDER
from limner.review.revision import PROVENANCE
from limner.review.store import ReviewStore
from limner.studio.dataset_state import CheckState, DatasetReader, DatasetState, read_check
from limner.training import run_files
from limner.training.run_list import describe_run
from limner.training.run_record import RunRecord

RECENT_FILE, MOST_RECENT = "recent.json", 20
RUNS, CHECKS = "runs", "checks"
DROP_NAME = re.compile(r"new-images(-\d{1,6})?")
"""Folders that new images are dropped into."""


@dataclass(frozen=True, slots=True)
class RunState:
    """A training of the project's images."""

    name: str
    data: str
    """The name of the folder that it was trained on."""
    data_folder: str
    state: str
    epoch: str
    validation_dice: float | None
    test_dice: float | None
    minutes: float | None
    has_model: bool
    has_report: bool

    @property
    def is_training(self) -> bool:
        """Whether a process trains it now."""
        return self.state == "training"


@dataclass(frozen=True, slots=True)
class ReviewCounts:
    """What people decided in a folder."""

    accepted: int
    corrected: int
    rejected: int

    @property
    def kept(self) -> int:
        """How many masks may go into the next dataset."""
        return self.accepted + self.corrected


@dataclass(frozen=True, slots=True)
class PredictionState:
    """A folder of predicted masks."""

    name: str
    masks: int
    failed: int
    run: str
    """The run whose model made them."""
    review: ReviewCounts | None
    """None where nobody began to review them."""
    has_measures: bool


@dataclass(frozen=True, slots=True)
class Project:
    """What is known of a folder of images."""

    folder: Path
    data: DatasetState
    """Of the newest revision, or of the folder itself."""
    revisions: tuple[Path, ...]
    check: CheckState | None
    drawn: ReviewCounts | None
    """What was drawn in images that have no masks; None where nobody began to."""
    runs: tuple[RunState, ...]
    """The newest first."""
    predictions: tuple[PredictionState, ...]
    """The newest first."""
    new_images: tuple[str, ...]
    """Folders beside the project whose names begin with "new-"."""

    @property
    def id(self) -> str:
        """What the project is called in addresses."""
        return project_id(self.folder)

    @property
    def work(self) -> Path:
        """Where the commands run."""
        return self.folder.parent

    @property
    def best(self) -> RunState | None:
        """The newest run that has a model."""
        return next((run for run in self.runs if run.has_model), None)

    def run(self, name: str) -> RunState:
        """A run by its name. Raises LimnerError where the project has none."""
        for run in self.runs:
            if run.name == name:
                return run
        raise LimnerError(f"there is no run {name} of {self.folder.name}.")

    def prediction(self, name: str) -> PredictionState:
        """A folder of predictions by its name. Raises LimnerError where the project has none."""
        for prediction in self.predictions:
            if prediction.name == name:
                return prediction
        raise LimnerError(f"there are no predictions {name} of {self.folder.name}.")

    def next_revision(self) -> str:
        """The name of a new folder for the dataset's next revision."""
        names = (f"{self.folder.name}-{number}" for number in count(2))
        return next(name for name in names if not (self.work / name).exists())


def project_id(folder: Path) -> str:
    """What a folder is called in addresses."""
    return hashlib.sha256(str(folder).encode("utf-8", "surrogateescape")).hexdigest()[:16]


class ProjectReader:
    """Reads projects; files that did not change are not read again."""

    def __init__(self) -> None:
        self._datasets, self._verdicts = DatasetReader(), _VerdictCounter()
        self._records: dict[Path, tuple[tuple[int, int], dict[str, Any]]] = {}
        self._runs: dict[Path, tuple[tuple[object, ...], tuple[float, RunState] | None]] = {}
        # Of two that ask at once whether a run is in use, each would see the other
        self._lock = Lock()

    def read(self, folder: Path) -> Project:
        """Read a project. Raises LimnerError where its folder is gone."""
        revisions = _find_revisions(folder)
        newest = revisions[-1] if revisions else folder
        names = {str(path) for path in (folder, *revisions)}
        runs = tuple(self._read_runs(folder.parent / RUNS, names))
        subfolders = _subfolders(folder.parent)
        return Project(
            folder,
            self._datasets.read(newest),
            revisions,
            read_check(folder.parent / CHECKS / newest.name),
            self._verdicts.count(folder) if has_classes(folder) else None,
            runs,
            tuple(self._read_predictions(subfolders, {run.name for run in runs})),
            tuple(path.name for path in subfolders if path != folder and _has_new_images(path)),
        )

    def _read_runs(self, runs: Path, data: set[str]) -> list[RunState]:
        """The runs of some datasets, the newest first."""
        states = []
        with self._lock:
            for receipt in runs.glob(f"*/{run_files.RECEIPT}"):
                run = RunRecord(receipt.parent)
                with try_lock(run.folder / run_files.LOCK) as is_free:
                    pass
                signature = (*map(_changed, _files_of(run)), is_free)
                known = self._runs.get(run.folder)
                if known is None or known[0] != signature:
                    known = self._runs[run.folder] = signature, _read_run(run, in_use=not is_free)
                if known[1] is not None:
                    states.append(known[1])
        newest_first = sorted(states, key=lambda each: -each[0])
        return [state for _, state in newest_first if state.data_folder in data]

    def _read_predictions(self, folders: list[Path], runs: set[str]) -> list[PredictionState]:
        states = []
        for folder in folders:
            record = self._read_record(folder / PREDICTIONS_FILE)
            if record is None or record["run"] not in runs:
                continue
            is_reviewed = (folder / STORE_FOLDER).is_dir()
            measures = folder.with_name(f"{folder.name}-measures")
            state = PredictionState(
                folder.name,
                record["masks"],
                record["failed"],
                record["run"],
                self._verdicts.count(folder) if is_reviewed else None,
                (measures / "index.html").is_file(),
            )
            states.append((record["changed"], state))
        return [state for _, state in sorted(states, key=lambda each: -each[0])]

    def _read_record(self, path: Path) -> dict[str, Any] | None:
        """How many masks a file of predictions lists, and of which run; None for any other."""
        try:
            status = path.stat()
            signature = status.st_mtime_ns, status.st_size
            known = self._records.get(path)
            if known is None or known[0] != signature:
                content = json.loads(path.read_text(encoding="utf-8"))
                record = {
                    "masks": len(content["predictions"]),
                    "failed": len(content.get("failed", ())),
                    "run": Path(content["models"][0]).parent.name,
                    "changed": status.st_mtime_ns,
                }
                known = self._records[path] = signature, record
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return None
        return known[1]


def _has_new_images(folder: Path) -> bool:
    """Whether a folder is called new, and is none that commands wrote."""
    written = (PREDICTIONS_FILE, "parts.csv", PROVENANCE)
    return folder.name.startswith("new-") and not any((folder / name).is_file() for name in written)


def _find_revisions(folder: Path) -> tuple[Path, ...]:
    """The revisions of a dataset that lie beside it, the oldest first."""
    pattern = re.compile(rf"{re.escape(folder.name)}-(\d+)")
    found = []
    for path in _subfolders(folder.parent):
        match = pattern.fullmatch(path.name)
        if match and (path / PROVENANCE).is_file():
            found.append((int(match[1]), path))
    return tuple(path for _, path in sorted(found))


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(
            path for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir()
        )
    except OSError:
        return []


def _files_of(run: RunRecord) -> tuple[Path, ...]:
    """The files that change when something of a run does."""
    names = (run_files.RECEIPT, run_files.EVENTS, run_files.STATE, run_files.MODEL)
    return (*(run.folder / name for name in names), run.folder / "report" / REPORT)


def _changed(path: Path) -> int:
    """When a file was changed last; 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _read_run(run: RunRecord, *, in_use: bool) -> tuple[float, RunState] | None:
    """When a run began, and how far it is; None where its files cannot be read."""
    try:
        row, receipt = describe_run(run, in_use=in_use), run.receipt
    except (LimnerError, OSError, ValueError, KeyError):
        return None
    state = RunState(
        name=run.folder.name,
        data=Path(receipt["data"]).name,
        data_folder=receipt["data"],
        state=row["state"],
        epoch=row["epoch"],
        validation_dice=row["validation_dice"],
        test_dice=row["test_dice"],
        minutes=row["minutes"],
        has_model=run.model.is_file(),
        has_report=(run.folder / "report" / REPORT).is_file(),
    )
    return float(receipt["began"]), state


class _VerdictCounter:
    """Counts what people decided in folders, anew where their databases changed."""

    def __init__(self) -> None:
        self._counts: dict[Path, tuple[tuple[int, ...], ReviewCounts]] = {}

    def count(self, folder: Path) -> ReviewCounts:
        """What people decided in a folder, by its own database."""
        place = folder / STORE_FOLDER
        # SQLite writes into a second file first
        signature = tuple(_changed(place / f"review.sqlite{end}") for end in ("", "-wal"))
        if not signature[0]:
            return ReviewCounts(0, 0, 0)
        known = self._counts.get(folder)
        if known is None or known[0] != signature:
            known = self._counts[folder] = signature, _count_verdicts(place)
        return known[1]


def _count_verdicts(place: Path) -> ReviewCounts:
    store = ReviewStore.in_folder(place)
    try:
        verdicts = [state.verdict for state in store.states().values()]
    finally:
        store.close()
    return ReviewCounts(
        verdicts.count("accepted"), verdicts.count("mended"), verdicts.count("rejected")
    )


class RecentProjects:
    """Which folders were opened, the last first, in a file."""

    def __init__(self, root: Path) -> None:
        self._path = root / RECENT_FILE

    def all(self) -> list[Path]:
        """The folders that are still there."""
        try:
            names = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []
        return [Path(name) for name in names if Path(name).is_dir()]

    def find(self, id: str) -> Path:
        """The folder of a project. Raises LimnerError where it was not opened, or is gone."""
        for folder in self.all():
            if project_id(folder) == id:
                return folder
        raise LimnerError("this project was not opened here, or its folder is gone. Open it again.")

    def add(self, folder: Path) -> None:
        """Remember a folder as the one that was opened last."""
        others = [path for path in self.all() if path != folder]
        names = [str(path) for path in (folder, *others)][:MOST_RECENT]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self._path, json.dumps(names))
