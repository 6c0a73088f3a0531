"""A folder of images and masks becomes a model: the pipeline from scan to fit."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from limner.data.cache import prepare
from limner.data.ceiling import resize_ceiling
from limner.data.folder import scan
from limner.data.health import Health, check, foreground_shares, require_sound
from limner.data.preprocess import Preprocessing, measure, views
from limner.data.samples import Sample
from limner.data.splits import Sides, record_of, recorded, split
from limner.errors import LimnerError
from limner.model.encoders import normalisation
from limner.model.presets import build
from limner.recipe import Recipe
from limner.training import continuation
from limner.training.distributed import ALONE, Ranks
from limner.training.loop import Event
from limner.training.plan import Plan, compiled_where_it_pays, plan
from limner.training.run import Ingredients, Run, new_folder
from limner.training.trackers import require

LEAKS = frozenset({"leak", "group-leak"})
"""Findings of samples that lie on two sides and belong together."""
Progress = Callable[[str], Callable[[Iterable[object], int], Iterable[object]]]
"""Gives the wrapper of one named stage's iteration, which draws its bar."""


def start(
    data: Path,
    recipe: Recipe,
    folder: Path | None,
    announce: Callable[[Plan], None],
    progress: Progress,
    *,
    began: float | None = None,
    stop_asked: Callable[[], bool] = lambda: False,
    mine: Ranks = ALONE,
    origin: Path | None = None,
) -> tuple[Run, Iterator[Event]]:
    """Check, split, plan, prepare and begin a new run; the events come as it trains.

    `origin` is a run, or its model, from whose weights, recipe and split it goes on. `began` is the moment of the monotonic clock from which a time
    budget counts, now by default; `stop_asked` is looked at between steps. Of several processes the first one does all but the training. Raises
    LimnerError for a dataset with errors, a run folder that is in use, and an origin that does not fit.
    """
    began = time.monotonic() if began is None else began
    run = _create(data, recipe, folder, announce, progress, mine, origin) if mine.first else None
    return _joined(run, progress, began, stop_asked, mine)


def resume(
    run: Run,
    progress: Progress,
    *,
    began: float | None = None,
    stop_asked: Callable[[], bool] = lambda: False,
    mine: Ranks = ALONE,
) -> Iterator[Event]:
    """Go on with a run from its last checkpoint. Raises LimnerError where its samples are no longer there."""
    return _joined(run if mine.first else None, progress, time.monotonic() if began is None else began, stop_asked, mine)[1]


def _create(data: Path, recipe: Recipe, folder: Path | None, announce: Callable[[Plan], None], progress: Progress, mine: Ranks, origin: Path | None) -> Run:
    before = continuation.origin(origin) if origin else None
    kept = continuation.kept(recipe, before) if before else {}
    recipe = recipe.replace(kept)
    build(recipe.model, recipe.data.channels, 1)  # what cannot be built is said before the data is read
    require(recipe)
    dataset = scan(data, recipe.data.group_pattern)
    health = check(dataset, progress("checking"))
    # copies of what the run is tested on may be among what is new to it: they are put on their side
    labels = require_sound(health, LEAKS if before else _allowed(recipe))
    if folder is not None and folder.exists():
        raise LimnerError(f"{folder} is there already. Nothing is overwritten: name another folder with --out, or go on with --resume {folder}.")
    sides = continuation.sides(dataset.samples, health, labels, before) if before else split_of(dataset.samples, health, recipe)
    trained_on = {sample.id for sample in sides["train"]}
    ceiling = partial(resize_ceiling, sides["train"], labels)
    validated = len(sides["val"]) / len(sides["train"])
    planned = plan(recipe, [fact for fact in health.facts if fact.id in trained_on], labels, ceiling, validated=validated, processes=mine.count)
    seen = (views(fact.size_px, planned.recipe.data.size_px, planned.recipe.data.geometry) for fact in health.facts if fact.id in trained_on)
    planned = compiled_where_it_pays(planned, sum(map(len, seen)))
    planned.reasons.update(dict.fromkeys(kept, "as the run that it goes on from"))
    announce(planned)
    return Run.create(folder or new_folder(Path("runs"), data), planned.recipe, planned.reasons, data, labels, record_of(sides), before)


def _joined(run: Run | None, progress: Progress, began: float, stop_asked: Callable[[], bool], mine: Ranks) -> tuple[Run, Iterator[Event]]:
    """The run that the first process has, and its events, in every process; the first one prepares the data for all."""
    ingredients = _ingredients(run, progress) if run else None
    path = mine.path_of_first(run.folder.resolve() if run else None)
    run = run or Run.open(path)
    return run, run.train(ingredients or _ingredients(run, progress), began, stop_asked, mine)


def _ingredients(run: Run, progress: Progress) -> Ingredients:
    """What a run is made of, from its folder and its data."""
    recipe, labels = run.recipe, run.labels
    dataset = scan(run.data, recipe.data.group_pattern)
    sides = {name: side for name, side in recorded(dataset.samples, run.split).items() if name in run.split}
    gone = sum(map(len, run.split.values())) - sum(map(len, sides.values()))
    if gone:
        raise LimnerError(f"{gone} samples that the run {run.folder} was begun with are no longer in {run.data}. Put them back, or begin a new run.")
    size_px, geometry = recipe.data.size_px, recipe.data.geometry
    train = prepare(sides["train"], labels, size_px, geometry, progress("preparing"))
    validation = prepare(sides["val"], labels, size_px, geometry, progress("preparing validation"))
    encoder, channels, before = recipe.model.encoder, recipe.data.channels, run.origin
    mean, std = normalisation(encoder, channels) if encoder else measure(train.images, channels)
    if before is not None:  # its weights know images as it was shown them
        mean, std = before.preprocessing.mean, before.preprocessing.std
    return Ingredients(recipe, labels, Preprocessing(size_px, mean, std, geometry), train, validation, record_of(sides), sides["val"])


def split_of(samples: Sequence[Sample], health: Health, recipe: Recipe) -> Sides:
    """The sides that a recipe gives the samples of a checked dataset."""
    settings = recipe.data
    return split(
        samples,
        validation_fraction=settings.validation_fraction,
        test_fraction=settings.test_fraction,
        seed=recipe.data.split_seed,
        content={fact.id: fact.digest.hex() for fact in health.facts},
        copies=health.clusters,
        foreground=foreground_shares(health),
    )


def _allowed(recipe: Recipe) -> frozenset[str]:
    return LEAKS if recipe.data.allow_leaks else frozenset()


def train(data: Path | str, recipe: Recipe | None = None, folder: Path | str | None = None, origin: Path | str | None = None) -> Run:
    """Train on a folder of images and masks, quietly, and give the run, whose `model` is the path of the best model; `origin` is one to go on from.

    Raises LimnerError as `start` does.
    """
    run, events = start(Path(data), recipe or Recipe(), Path(folder) if folder else None, lambda planned: None, silent, origin=Path(origin) if origin else None)
    for _ in events:
        pass
    return run


def silent(_: str) -> Callable[[Iterable[object], int], Iterable[object]]:
    return lambda iterable, total: iterable
