"""Cross-validation: a run for each fold, scores of images that no model saw, and an ensemble.

The folder of a cross-validation holds a run for each fold, `fold-1` and so on, and when all are
done the ensemble of their models with its scores. Whatever is there already is not made again, so
a call that is repeated goes on where the last one was stopped.
"""

import csv
import io
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from limner.data.cache import prepare
from limner.data.fingerprints import pack_fingerprints, unpack_fingerprints
from limner.data.parallel import StageProgress, no_progress
from limner.data.sample import Sample
from limner.errors import LimnerError
from limner.files import dump_json, require_new, write_atomic
from limner.inference.evaluate import score_samples
from limner.inference.predictor import Predictor
from limner.inference.scores import ImageScore, Scores, ScoreSummary
from limner.inference.tune import fit_confidence_out_of_fold, tune_out_of_fold
from limner.model.bundle import Bundle
from limner.model.ensemble import join_weights
from limner.recipe import Recipe, parse_recipe
from limner.training import run_files
from limner.training.events import Event
from limner.training.pipeline import TrainingSession, resume_run, start_run
from limner.training.run import Run, next_run_folder
from limner.training.schedule import Deadline

FOLLOWS = "set by the cross-validation; all but data.fold is as in fold-1"
"""The reason of all keys of the later folds."""
RECORD, OUT_OF_FOLD = run_files.CROSS_VALIDATION, "out-of-fold.csv"
FOLDS_SHARE = 0.8
"""Share of a time budget for the folds; the rest is for scoring every image, and for tuning."""


@dataclass(frozen=True, slots=True)
class FoldScore:
    """What the model of one fold reached on the images that it was validated on."""

    run: Run
    images: int
    dice: float


@dataclass(frozen=True, slots=True)
class CrossValidationResult:
    """The scores of all folds, and the ensemble of their models."""

    folds: Sequence[FoldScore]
    dice: ScoreSummary
    """Mean Dice of images that their model never saw, with its interval."""
    images: int
    model: Path


def cross_validate(
    data: Path | str,
    folds: int = 5,
    recipe: Recipe | None = None,
    folder: Path | str | None = None,
) -> CrossValidationResult:
    """Train a network for each fold of a dataset, score every image, and join the networks.

    Args:
        data: The dataset, in any layout that `limner.scan` knows. Its test split is left alone.
        folds: How many, at least 2. Copies and samples of one group are in one fold.
        recipe: What is set by hand; `train.minutes` are for all folds together.
        folder: The new folder, or that of an earlier call, which goes on where it was stopped;
            runs/<dataset> by default.

    Returns the scores of images that their model never saw, and the path of the ensemble.

    Raises LimnerError for a dataset with errors, too few samples, and settings that do not fit.

    Example:
        >>> from limner import cross_validate
        >>> result = cross_validate("photos", folds=5)  # doctest: +SKIP
        >>> result.dice.mean, result.dice.interval  # doctest: +SKIP
        (0.87, (0.85, 0.89))
    """
    target = Path(folder) if folder else next_run_folder(Path("runs"), Path(data))
    validation = (
        CrossValidation(target)
        if CrossValidation.is_at(target)
        else CrossValidation.create(target, Path(data), recipe or Recipe(), folds)
    )
    for fold in validation.unfinished():
        for _ in validation.start(fold, TrainingSession())[1]:
            pass
    return validation.finish(no_progress)


class CrossValidation:
    """A folder with a run for each fold.

    Args:
        folder: That of an earlier call; `create` makes a new one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._new_folders = [folder]
        record = self._read_record()
        self.data, self.folds = Path(record["data"]), int(record["folds"])
        self._at_once = int(record.get("at_once", 1))
        self._recipe = parse_recipe(record["recipe"])

    @classmethod
    def create(
        cls, folder: Path, data: Path, recipe: Recipe, folds: int, at_once: int = 1
    ) -> "CrossValidation":
        """Make a new folder.

        Args:
            folder: Must not exist.
            data: The dataset.
            recipe: What is set by hand; `train.minutes` are for all folds together.
            folds: How many, at least 2.
            at_once: How many processes train a fold each.

        Raises LimnerError where the folder exists, there are fewer than 2 folds, or a teacher.
        """
        if folds < 2:
            raise LimnerError(f"{folds} folds cannot validate each other. Give at least 2.")
        if recipe.train.teacher:
            raise LimnerError(
                "a teacher knows images that the folds are scored on. Leave train.teacher out."
            )
        require_new(folder)
        table = recipe.model_dump(mode="json", exclude_unset=True)
        record = {"data": str(data), "folds": folds, "at_once": at_once, "recipe": table}
        new_folders = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True)
        write_atomic(folder / RECORD, dump_json(record), durable=True)
        validation = cls(folder)
        validation._new_folders = new_folders
        return validation

    @staticmethod
    def is_at(folder: Path) -> bool:
        """Whether a folder is that of a cross-validation."""
        return (folder / RECORD).is_file()

    def unfinished(self) -> list[int]:
        """The folds whose runs have not come to their end."""
        return [
            fold
            for fold in range(self.folds)
            if not (self.fold_folder(fold) / run_files.STATE).is_file()
        ]

    def start(self, fold: int, session: TrainingSession) -> tuple[Run, Iterator[Event]]:
        """Start the run of a fold, or go on with it; the events come as it trains.

        Raises LimnerError as `start_run` and `resume_run` do. Where the first fold cannot be
        started, or is stopped before it trains, nothing is left of what `create` made.
        """
        folder = self.fold_folder(fold)
        if folder.exists():
            run = Run.open(folder)
            return run, resume_run(run, session)
        if fold:
            # It was planned with the first
            session = replace(session, announce=lambda plan, folder: None, explicit_reason=FOLLOWS)
        try:
            return start_run(self.data, self.fold_recipe(fold), folder, session)
        except BaseException:
            if not any(self.folder.glob("fold-*")):
                (self.folder / RECORD).unlink()
                with suppress(OSError):
                    for path in self._new_folders:
                        path.rmdir()
            raise

    def fold_folder(self, fold: int) -> Path:
        """The folder of a fold's run; folds count from 0, and folders from 1."""
        return self.folder / f"fold-{fold + 1}"

    def fold_recipe(self, fold: int) -> Recipe:
        """The recipe of a fold: what the user set, and for later folds what the first planned."""
        keys: dict[str, Any] = {"data.folds": self.folds, "data.fold": fold}
        if self._recipe.train.minutes is not None:
            in_turn = math.ceil(self.folds / self._at_once)
            keys["train.minutes"] = self._recipe.train.minutes * FOLDS_SHARE / in_turn
        if fold == 0:
            return self._recipe.replace(keys)
        return Run.open(self.fold_folder(0)).recipe.replace(keys)

    def finish(self, progress: StageProgress) -> CrossValidationResult:
        """Score each fold by the model that never saw it, and write the ensemble.

        Of a time budget the tuning takes what is left; every image is scored whatever the time.

        Raises LimnerError where a run has no model, or an image cannot be read.
        """
        seconds_left = self._seconds_left()
        runs = [Run.open(self.fold_folder(fold)) for fold in range(self.folds)]
        bundles = [Bundle.load(run.model) for run in runs]
        samples = [run.split_samples()["val"] for run in runs]
        scored: list[ImageScore] = []
        folds: list[FoldScore] = []
        for run, bundle, members in zip(runs, bundles, samples, strict=True):
            predictor = Predictor.from_models(bundle, device=run.recipe.train.device)
            name = f"scoring {run.folder.name}"
            images = score_samples(predictor, members, progress=progress(name))
            dice = Scores.from_images(images, bundle.labels).per_image()["dice"]
            folds.append(FoldScore(run, len(images), float(np.nanmean(dice))))
            scored += images
        scores = Scores.from_images(scored, bundles[0].labels)
        model = self._write_ensemble(bundles, samples, scores, progress, seconds_left)
        summary = scores.summary()["dice"]
        self._write_scores(folds, scores, summary)
        return CrossValidationResult(folds, summary, len(scored), model)

    def _write_ensemble(
        self,
        bundles: Sequence[Bundle],
        samples: Sequence[Sequence[Sample]],
        scores: Scores,
        progress: StageProgress,
        seconds_left: Callable[[], float],
    ) -> Path:
        first, pool = bundles[0], [sample for members in samples for sample in members]
        contents = {id: content for bundle in bundles for id, content in bundle.contents.items()}
        ensemble = replace(
            first,
            weights=join_weights(
                [bundle.weights for bundle in bundles],
                [(each.preprocessing.mean, each.preprocessing.std) for each in bundles],
            ),
            # In the order of the folds, as the fingerprints are
            split={
                "train": [id for bundle in bundles for id in bundle.split["val"]],
                "val": [],
                "test": first.split.get("test", []),
            },
            contents=contents,
            fingerprints=_join_fingerprints(bundles),
            scores={"out_of_fold_mean_dice": scores.summary()["dice"].mean},
            receipt={**first.receipt, "folds": self.folds},
        )
        size_px, resize_mode = first.recipe.data.size_px, first.recipe.data.resize_mode
        canvases = prepare(
            pool, first.labels, size_px, resize_mode, progress("preparing all folds")
        )
        steps = tune_out_of_fold(
            ensemble,
            list(zip(bundles, samples, strict=True)),
            canvases.images,
            first.recipe.train.device,
            seconds_left,
        )
        while True:
            try:
                next(steps)
            except StopIteration as finished:
                tuned, _ = finished.value
                break
        confidence = fit_confidence_out_of_fold(bundles, scores, canvases.images)
        if confidence is not None:
            tuned = replace(tuned, confidence=confidence.to_dict())
        path = self.folder / run_files.MODEL
        tuned.save(path)
        return path

    def _seconds_left(self) -> Callable[[], float]:
        """What is left of the time budget for scoring and tuning, counted from now on."""
        minutes = self._recipe.train.minutes
        if minutes is None:
            return lambda: math.inf
        return Deadline(minutes * 60 * (1 - FOLDS_SHARE), time.monotonic())

    def _write_scores(
        self, folds: Sequence[FoldScore], scores: Scores, summary: ScoreSummary
    ) -> None:
        record = self._read_record()
        record["out_of_fold"] = {
            "images": len(scores.images),
            "mean_dice": summary.mean,
            "interval": summary.interval,
            "folds": [
                {"run": fold.run.folder.name, "images": fold.images, "mean_dice": fold.dice}
                for fold in folds
            ],
        }
        write_atomic(self.folder / RECORD, dump_json(record, indent=1))
        names = [fold.run.folder.name for fold in folds for _ in range(fold.images)]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["image", "fold", "dice", "predicted_dice"])
        for image, name, dice in zip(
            scores.images, names, scores.per_image()["dice"].tolist(), strict=True
        ):
            writer.writerow([image.id, name, dice, image.predicted_dice])
        write_atomic(self.folder / OUT_OF_FOLD, text.getvalue())

    def _read_record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((self.folder / RECORD).read_text(encoding="utf-8"))
        return record


def _join_fingerprints(bundles: Sequence[Bundle]) -> dict[str, str]:
    """Those of the images of all folds as of training; none where a run has none."""
    if not all("val" in bundle.fingerprints for bundle in bundles):
        return {}
    held_out = [unpack_fingerprints(bundle.fingerprints["val"]) for bundle in bundles]
    test = {side: text for side, text in bundles[0].fingerprints.items() if side == "test"}
    return {"train": pack_fingerprints(np.concatenate(held_out)), **test}
