"""A folder of images and masks becomes a model: the pipeline from scan to fit."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from limner.data.cache import prepare
from limner.data.folder import Sample, Split, scan
from limner.data.health import check, require_sound
from limner.data.preprocess import Preprocessing, measure
from limner.data.splits import digest, split
from limner.errors import LimnerError
from limner.labels import Labels
from limner.recipe import Recipe
from limner.training.loop import Event
from limner.training.plan import Plan, plan
from limner.training.run import Ingredients, Run, new_folder

Progress = Callable[[str], Callable[[Iterable[object], int], Iterable[object]]]
"""Gives the wrapper of one named stage's iteration, which draws its bar."""


def start(
    data: Path,
    recipe: Recipe,
    folder: Path | None,
    announce: Callable[[Plan], None],
    progress: Progress,
) -> tuple[Run, Iterator[Event]]:
    """Check, split, plan, prepare and begin a new run; the events come as it trains.

    Raises LimnerError for a dataset with errors and a run folder that is in use.
    """
    began = time.monotonic()
    dataset = scan(data)
    health = check(dataset, progress("checking"))
    labels = require_sound(health)
    sides = split(dataset.samples, recipe.data.validation_fraction, recipe.data.test_fraction, recipe.train.seed)
    if folder is not None and folder.exists():
        raise LimnerError(f"{folder} is there already. Nothing is overwritten: name another folder with --out, or go on with --resume {folder}.")
    planned = plan(recipe, health.facts, len(sides["train"]), labels)
    announce(planned)
    run = Run.create(folder or new_folder(Path("runs"), data), planned.recipe, planned.reasons, data)
    return run, _go(run, planned.recipe, sides, labels, progress, began)


def resume(run: Run, progress: Progress) -> Iterator[Event]:
    """Go on with a run from its last checkpoint."""
    began, recipe = time.monotonic(), run.recipe
    dataset = scan(run.data)
    labels = require_sound(check(dataset, progress("checking")))
    sides = split(dataset.samples, recipe.data.validation_fraction, recipe.data.test_fraction, recipe.train.seed)
    return _go(run, recipe, sides, labels, progress, began)


def _go(run: Run, recipe: Recipe, sides: dict[Split, list[Sample]], labels: Labels, progress: Progress, began: float) -> Iterator[Event]:
    train = prepare(sides["train"], labels, recipe.data.size_px, progress("preparing"))
    validation = prepare(sides["val"], labels, recipe.data.size_px, progress("preparing validation"))
    mean, std = measure(train.images)
    ingredients = Ingredients(recipe, labels, Preprocessing(recipe.data.size_px, mean, std), train, validation, digest(sides["train"]))
    return run.train(ingredients, began)


def train(data: Path | str, recipe: Recipe | None = None, folder: Path | str | None = None) -> Run:
    """Train on a folder of images and masks, quietly, and give the run, whose `model` is the path of the best model.

    Raises LimnerError as `start` does.
    """
    run, events = start(Path(data), recipe or Recipe(), Path(folder) if folder else None, lambda planned: None, _silent)
    for _ in events:
        pass
    return run


def _silent(_: str) -> Callable[[Iterable[object], int], Iterable[object]]:
    return lambda iterable, total: iterable
