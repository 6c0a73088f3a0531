"""The run folder: recipe, split, labels, receipt, checkpoints and model."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from limner.data.cache import PreparedDataset
from limner.data.preprocess import Preprocessing
from limner.data.sample import Sample
from limner.data.scan import scan_as
from limner.data.split_record import SplitRecord
from limner.data.splits import apply_split
from limner.errors import LimnerError
from limner.files import (
    already_exists,
    atomic_file,
    atomic_folder,
    dump_json,
    json_sha256,
    write_atomic,
)
from limner.labels import Labels
from limner.model.bundle import Bundle
from limner.plurals import count_noun
from limner.processor import processor_name
from limner.recipe import Recipe
from limner.recipe_file import dump_recipe
from limner.training import run_files
from limner.training.checkpoint import Checkpoints
from limner.training.hardware import machine_identity
from limner.training.plan import Plan
from limner.training.run_record import RunRecord


@dataclass(frozen=True, slots=True)
class RunInputs:
    """What a run is trained on, all settled before its first step."""

    recipe: Recipe
    labels: Labels
    preprocessing: Preprocessing
    train: PreparedDataset
    validation: PreparedDataset
    split: Mapping[str, Sequence[str]]
    """Ids of the samples of each split."""
    validation_samples: Sequence[Sample]


class Run(RunRecord):
    """A folder that holds one training run. What is in it is valid at any moment.

    Example:
        >>> run = Run.open(Path("runs/lesions"))
        >>> predictor = Predictor.load(run.model)
        >>> scores = evaluate(predictor, run.test_samples())
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.checkpoints = Checkpoints(folder / run_files.CHECKPOINTS)
        self._origin = folder / run_files.ORIGIN

    @classmethod
    def create(
        cls,
        folder: Path,
        plan: Plan,
        data: Path,
        labels: Labels,
        split: SplitRecord,
        origin: Bundle | None = None,
    ) -> "Run":
        """Make a new run folder. Nothing is left where that fails.

        Args:
            folder: Must not exist.
            plan: The recipe, and why each value was chosen.
            data: The dataset.
            labels: Its classes.
            split: The samples of each split.
            origin: The model that the run goes on from, if any.

        Raises LimnerError where the folder is in use or cannot be made.
        """
        records = {
            run_files.SPLIT: split.ids,
            run_files.CONTENTS: split.contents,
            run_files.FINGERPRINTS: split.fingerprints,
            run_files.LABELS: asdict(labels),
            run_files.RECEIPT: _first_receipt(plan.recipe, data, split.ids, origin),
        }
        try:
            with atomic_folder(folder) as part:
                (part / run_files.CHECKPOINTS).mkdir()
                recipe_text = dump_recipe(plan.recipe, plan.reasons)
                write_atomic(part / run_files.RECIPE, recipe_text, durable=True)
                if origin is not None:
                    origin.save(cls(part)._origin)
                for name, content in records.items():
                    write_atomic(part / name, dump_json(content), durable=True)
        except FileExistsError as error:
            raise run_exists(folder) from error
        except OSError as error:
            raise LimnerError(
                f"{folder} cannot be made: {error.strerror}. Name another folder with --out."
            ) from error
        return cls(folder)

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """Open an existing run. Raises LimnerError where there is none."""
        required = (run_files.RECIPE, run_files.RECEIPT)
        if not all((folder / name).is_file() for name in required):
            raise LimnerError(
                f"{folder} is not a run: it has no {' and '.join(required)}. Runs lie in the "
                "runs/ folder."
            )
        return cls(folder)

    @property
    def origin(self) -> Bundle | None:
        """The model that the run goes on from, if any."""
        return Bundle.load(self._origin) if self._origin.is_file() else None

    def split_samples(self) -> dict[str, list[Sample]]:
        """Find the samples of each split in the run's dataset.

        Raises LimnerError where the dataset, or samples of the run, are no longer there.
        """
        recorded = self.split
        dataset = scan_as(self.data, self.recipe.data)
        by_split = apply_split(dataset.samples, recorded)
        missing = sum(len(ids) - len(by_split[name]) for name, ids in recorded.items())
        if missing:
            raise LimnerError(
                f"the run {self.folder} was started with {count_noun(missing, 'sample')} that "
                f"{'is' if missing == 1 else 'are'} no longer in {self.data}. Put them back, or "
                "start a new run."
            )
        channels = self.recipe.data.channels
        return {
            # Of one channel, the mean, it is not known how many there are
            name: [replace(each, channels=channels) for each in samples]
            if channels > 1
            else samples
            for name, samples in by_split.items()
            if name in recorded
        }

    def samples(self, split: str) -> list[Sample]:
        """Find the samples of one split: "train", "val" or "test".

        Raises LimnerError where the run has no such split or no sample in it, and where samples
        are no longer there.
        """
        recorded = self.split
        if not recorded.get(split):
            sizes = ", ".join(f"{name} {len(ids)}" for name, ids in recorded.items())
            raise LimnerError(
                f"the run {self.folder} has no samples in the split {split!r}; it has {sizes}. "
                "Choose another one, or train with data.test_fraction above 0."
            )
        return self.split_samples()[split]

    def test_samples(self) -> list[Sample]:
        """Find the samples that the model of this run may be scored on.

        Raises LimnerError where the run has no test split, or its samples are gone.
        """
        return self.samples("test")

    def mark_inexact(self, causes: Sequence[str]) -> None:
        """Record why the run is not the same bit for bit any more, each cause once."""
        self.update_receipt(
            lambda receipt: {
                "exact": False,
                "not_exact_because": list(
                    dict.fromkeys([*receipt.get("not_exact_because", ()), *causes])
                ),
            }
        )

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file of the folder durably."""
        write_atomic(self.folder / name, dump_json(content), durable=True)

    def update_receipt(
        self, changes: Callable[[dict[str, Any]], Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Change the receipt by what `changes` makes of it, and give the new one.

        It is one step, since other processes (`limner test`) write into it too.
        """
        with atomic_file(self.folder / run_files.RECEIPT, durable=True) as part:
            receipt = self.receipt
            receipt |= changes(receipt)
            part.write_text(dump_json(receipt), encoding="utf-8")
        return receipt


def record_test(model: Path, split: str) -> int | None:
    """Count in the receipt of a model's run that a split was scored once more.

    Returns how often it was so far, or None where the model lies in no run.
    """
    run = Run(model.parent)
    if not (run.folder / run_files.RECEIPT).is_file():
        return None

    def add_one(receipt: dict[str, Any]) -> Mapping[str, Any]:
        scored = receipt.get("scored", {})
        return {"scored": {**scored, split: scored.get(split, 0) + 1}}

    return int(run.update_receipt(add_one)["scored"][split])


def next_run_folder(parent: Path, data: Path) -> Path:
    """Name a new run folder: runs/<dataset>, or runs/<dataset>-2 and so on."""
    name = data.resolve().name or "run"
    numbered = (
        parent / (name if number == 1 else f"{name}-{number}") for number in range(1, 100_000)
    )
    return next(folder for folder in numbered if not folder.exists())


def _first_receipt(
    recipe: Recipe, data: Path, split: Mapping[str, Sequence[str]], origin: Bundle | None
) -> dict[str, Any]:
    receipt: dict[str, Any] = {
        "data": str(data.resolve()),
        "recipe_sha256": json_sha256(recipe.model_dump()),
        "split_sha256": json_sha256(split),
        "seed": recipe.train.seed,
        "began": time.time(),
        "processor": processor_name(),
        **machine_identity(recipe.train.device),
        "exact": True,
    }
    if origin is not None:
        receipt["continues"] = origin.receipt.get("split_sha256", "yes")
    return {**receipt, "sittings": []}


def run_exists(folder: Path) -> LimnerError:
    """The error for a run folder that is to be made and exists."""
    return already_exists(folder, alternative=f"go on with --resume {folder}")
