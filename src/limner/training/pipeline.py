"""A folder of images and masks becomes a model: the pipeline from scan to fit."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from limner.data.cache import prepare
from limner.data.check import CheckResult, check, foreground_shares, require_valid
from limner.data.preprocess import Preprocessing, channel_statistics, views
from limner.data.resize_ceiling import resize_ceiling
from limner.data.sample import Sample
from limner.data.scan import scan
from limner.data.splits import SplitSamples, apply_split, split_ids, split_samples
from limner.errors import LimnerError
from limner.model.encoders import encoder_normalisation
from limner.model.presets import build_network
from limner.recipe import Recipe
from limner.training import warm_start
from limner.training.distributed import SINGLE_PROCESS, DistributedContext
from limner.training.loop import Event
from limner.training.plan import Plan, choose_compile, make_plan
from limner.training.run import Run, RunInputs, next_run_folder
from limner.training.trackers import require_trackers

LEAKS = frozenset({"leak", "group-leak"})
"""Findings of samples that lie on two sides and belong together."""
Progress = Callable[[str], Callable[[Iterable[object], int], Iterable[object]]]
"""Gives the wrapper of one named stage's iteration, which draws its bar."""


def start_run(
    data: Path,
    recipe: Recipe,
    folder: Path | None,
    announce: Callable[[Plan], None],
    progress: Progress,
    *,
    began: float | None = None,
    stop_asked: Callable[[], bool] = lambda: False,
    mine: DistributedContext = SINGLE_PROCESS,
    origin: Path | None = None,
) -> tuple[Run, Iterator[Event]]:
    """Check, split, plan, prepare and begin a new run; the events come as it trains.

    `origin` is a run, or its model, from whose weights, recipe and split it goes on. `began` is the
    moment of the monotonic clock from which a time budget counts, now by default; `stop_asked` is
    looked at between steps. Of several processes the first one does all but the training. Raises
    LimnerError for a dataset with errors, a run folder that is in use, and an origin that does not
    fit.
    """
    began = time.monotonic() if began is None else began
    run = _create(data, recipe, folder, announce, progress, mine, origin) if mine.is_main else None
    return _joined(run, progress, began, stop_asked, mine)


def resume_run(
    run: Run,
    progress: Progress,
    *,
    began: float | None = None,
    stop_asked: Callable[[], bool] = lambda: False,
    mine: DistributedContext = SINGLE_PROCESS,
) -> Iterator[Event]:
    """Go on with a run from its last checkpoint. Raises LimnerError where its samples are no longer
    there.
    """
    return _joined(
        run if mine.is_main else None,
        progress,
        time.monotonic() if began is None else began,
        stop_asked,
        mine,
    )[1]


def _create(
    data: Path,
    recipe: Recipe,
    folder: Path | None,
    announce: Callable[[Plan], None],
    progress: Progress,
    mine: DistributedContext,
    origin: Path | None,
) -> Run:
    before = warm_start.load_origin(origin) if origin else None
    kept = warm_start.inherited_values(recipe, before) if before else {}
    recipe = recipe.replace(kept)
    build_network(
        recipe.model,
        recipe.data.channels,
        1,
        # What cannot be built is said before the data is read
    )
    require_trackers(recipe)
    dataset = scan(data, recipe.data.group_pattern)
    health = check(dataset, progress("checking"))
    # copies of what the run is tested on may be among what is new to it: they are put on their side
    labels = require_valid(health, LEAKS if before else _allowed(recipe))
    if folder is not None and folder.exists():
        raise LimnerError(
            f"{folder} is there already. Nothing is overwritten: name another folder with "
            f"--out, or go on with --resume {folder}."
        )
    sides = (
        warm_start.inherit_split(dataset.samples, health, labels, before)
        if before
        else split_dataset(dataset.samples, health, recipe)
    )
    trained_on = {sample.id for sample in sides["train"]}
    ceiling = partial(resize_ceiling, sides["train"], labels)
    validated = len(sides["val"]) / len(sides["train"])
    planned = make_plan(
        recipe,
        [fact for fact in health.sample_info if fact.id in trained_on],
        labels,
        ceiling,
        validated=validated,
        processes=mine.world_size,
    )
    seen = (
        views(fact.size_px, planned.recipe.data.size_px, planned.recipe.data.resize_mode)
        for fact in health.sample_info
        if fact.id in trained_on
    )
    planned = choose_compile(planned, sum(map(len, seen)))
    planned.reasons.update(dict.fromkeys(kept, "as the run that it goes on from"))
    announce(planned)
    return Run.create(
        folder or next_run_folder(Path("runs"), data),
        planned.recipe,
        planned.reasons,
        data,
        labels,
        split_ids(sides),
        before,
    )


def _joined(
    run: Run | None,
    progress: Progress,
    began: float,
    stop_asked: Callable[[], bool],
    mine: DistributedContext,
) -> tuple[Run, Iterator[Event]]:
    """The run that the first process has, and its events, in every process; the first one prepares
    the data for all.
    """
    ingredients = _ingredients(run, progress) if run else None
    path = mine.broadcast_path(run.folder.resolve() if run else None)
    run = run or Run.open(path)
    return run, run.train(ingredients or _ingredients(run, progress), began, stop_asked, mine)


def _ingredients(run: Run, progress: Progress) -> RunInputs:
    """What a run is made of, from its folder and its data."""
    recipe, labels = run.recipe, run.labels
    dataset = scan(run.data, recipe.data.group_pattern)
    sides = {
        name: side
        for name, side in apply_split(dataset.samples, run.split).items()
        if name in run.split
    }
    gone = sum(map(len, run.split.values())) - sum(map(len, sides.values()))
    if gone:
        raise LimnerError(
            f"{gone} samples that the run {run.folder} was begun with are no longer in "
            f"{run.data}. Put them back, or begin a new run."
        )
    size_px, resize_mode = recipe.data.size_px, recipe.data.resize_mode
    train = prepare(sides["train"], labels, size_px, resize_mode, progress("preparing"))
    validation = prepare(
        sides["val"], labels, size_px, resize_mode, progress("preparing validation")
    )
    encoder, channels, before = recipe.model.encoder, recipe.data.channels, run.origin
    mean, std = (
        encoder_normalisation(encoder, channels)
        if encoder
        else channel_statistics(train.images, channels)
    )
    if before is not None:
        # Its weights know images as it was shown them
        mean, std = before.preprocessing.mean, before.preprocessing.std
    return RunInputs(
        recipe,
        labels,
        Preprocessing(size_px, mean, std, resize_mode),
        train,
        validation,
        split_ids(sides),
        sides["val"],
    )


def split_dataset(samples: Sequence[Sample], health: CheckResult, recipe: Recipe) -> SplitSamples:
    """The sides that a recipe gives the samples of a checked dataset."""
    settings = recipe.data
    return split_samples(
        samples,
        validation_fraction=settings.validation_fraction,
        test_fraction=settings.test_fraction,
        seed=recipe.data.split_seed,
        content={fact.id: fact.pixel_sha256.hex() for fact in health.sample_info},
        copies=health.clusters,
        foreground=foreground_shares(health),
    )


def _allowed(recipe: Recipe) -> frozenset[str]:
    return LEAKS if recipe.data.allow_leaks else frozenset()


def train(
    data: Path | str,
    recipe: Recipe | None = None,
    folder: Path | str | None = None,
    origin: Path | str | None = None,
) -> Run:
    """Train on a folder of images and masks, quietly, and give the run, whose `model` is the path
    of the best model; `origin` is one to go on from.

    Raises LimnerError as `start` does.
    """
    run, events = start_run(
        Path(data),
        recipe or Recipe(),
        Path(folder) if folder else None,
        lambda planned: None,
        no_progress,
        origin=Path(origin) if origin else None,
    )
    for _ in events:
        pass
    return run


def no_progress(_: str) -> Callable[[Iterable[object], int], Iterable[object]]:
    return lambda iterable, total: iterable
