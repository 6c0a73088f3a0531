"""A folder of images and masks becomes a model: the pipeline from scan to fit."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from limner.data.cache import prepare
from limner.data.ceiling import resize_ceiling
from limner.data.folder import scan
from limner.data.health import Health, check, foreground_shares, require_sound
from limner.data.preprocess import Preprocessing, measure
from limner.data.samples import Sample
from limner.data.splits import Sides, record_of, recorded, split
from limner.errors import LimnerError
from limner.labels import Labels
from limner.model.encoders import normalisation
from limner.model.presets import build
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
    build(recipe.model, recipe.data.channels, 1)  # what cannot be built is said before the data is read
    dataset = scan(data, recipe.data.group_pattern)
    health = check(dataset, progress("checking"))
    labels = require_sound(health, _allowed(recipe))
    if folder is not None and folder.exists():
        raise LimnerError(f"{folder} is there already. Nothing is overwritten: name another folder with --out, or go on with --resume {folder}.")
    sides = split_of(dataset.samples, health, recipe)
    trained_on = {sample.id for sample in sides["train"]}
    ceiling = partial(resize_ceiling, sides["train"], labels)
    planned = plan(recipe, [fact for fact in health.facts if fact.id in trained_on], labels, ceiling)
    announce(planned)
    run = Run.create(folder or new_folder(Path("runs"), data), planned.recipe, planned.reasons, data, record_of(sides))
    return run, _go(run, planned.recipe, sides, labels, progress, began)


def resume(run: Run, progress: Progress) -> Iterator[Event]:
    """Go on with a run from its last checkpoint."""
    began, recipe = time.monotonic(), run.recipe
    dataset = scan(run.data, recipe.data.group_pattern)
    labels = require_sound(check(dataset, progress("checking")), _allowed(recipe))
    sides = {name: side for name, side in recorded(dataset.samples, run.split).items() if name in run.split}
    gone = sum(map(len, run.split.values())) - sum(map(len, sides.values()))
    if gone:
        raise LimnerError(f"{gone} samples that the run {run.folder} was begun with are no longer in {run.data}. Put them back, or begin a new run.")
    return _go(run, recipe, sides, labels, progress, began)


def _go(run: Run, recipe: Recipe, sides: Sides, labels: Labels, progress: Progress, began: float) -> Iterator[Event]:
    size_px, geometry = recipe.data.size_px, recipe.data.geometry
    train = prepare(sides["train"], labels, size_px, geometry, progress("preparing"))
    validation = prepare(sides["val"], labels, size_px, geometry, progress("preparing validation"))
    encoder, channels = recipe.model.encoder, recipe.data.channels
    mean, std = normalisation(encoder, channels) if encoder else measure(train.images, channels)
    ingredients = Ingredients(recipe, labels, Preprocessing(size_px, mean, std, geometry), train, validation, record_of(sides))
    return run.train(ingredients, began)


def split_of(samples: Sequence[Sample], health: Health, recipe: Recipe) -> Sides:
    """The sides that a recipe gives the samples of a checked dataset."""
    settings = recipe.data
    return split(
        samples,
        validation_fraction=settings.validation_fraction,
        test_fraction=settings.test_fraction,
        seed=recipe.train.seed,
        content={fact.id: fact.digest.hex() for fact in health.facts},
        copies=health.clusters,
        foreground=foreground_shares(health),
    )


def _allowed(recipe: Recipe) -> frozenset[str]:
    return frozenset({"leak", "group-leak"}) if recipe.data.allow_leaks else frozenset()


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
