"""A folder of images and masks becomes a model: scan, check, split, plan, prepare and train."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from rich.console import Console

from limner.data.broken_samples import BROKEN, UsableSamples, leave_out_broken
from limner.data.cache import PreparedDataset, prepare
from limner.data.channel_files import channel_endings
from limner.data.check import CheckResult, check, classes_by_id, foreground_shares, require_valid
from limner.data.check_masks import count_classes
from limner.data.dataset import Dataset
from limner.data.folds import fold_split
from limner.data.parallel import StageProgress, no_progress
from limner.data.preprocess import Preprocessing, channel_statistics
from limner.data.resize_ceiling import ResizeCeiling
from limner.data.sample import Sample
from limner.data.sample_info import SampleInfo
from limner.data.scan import scan_as
from limner.data.split_folders import describe_splits
from limner.data.split_record import SplitRecord, known_contents, known_fingerprints
from limner.data.splits import SplitFacts, SplitSamples, split_ids, split_samples
from limner.data.views import views
from limner.errors import LimnerError
from limner.labels import Labels
from limner.model.bundle import Bundle
from limner.model.pretrained import encoder_normalisation, fetch_weights
from limner.model.unet import UNet
from limner.recipe import Recipe
from limner.training import warm_start
from limner.training.console import show_events
from limner.training.distillation import (
    require_teacher,
    student_values,
    with_absolute_teacher,
)
from limner.training.distributed import SINGLE_PROCESS, DistributedContext
from limner.training.events import Event
from limner.training.options import TrainOptions, with_options
from limner.training.plan import SET_BY_USER, Plan, choose_compile, make_plan
from limner.training.plan_context import PlanFacts
from limner.training.run import Run, RunInputs, next_run_folder, run_exists
from limner.training.trackers import require_trackers
from limner.training.trainer import train_run

LEAKS = frozenset({"leak", "group-leak"})
"""Codes of findings about samples that belong together and lie in two splits."""
SPLITS_IN_DOUBT = frozenset(
    {"split-name", "no-split-name", "split-lists", "split-link", "groups-likely", "groups-cut"}
)
"""Codes of findings about names that may tell a split or a group, and are not taken for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSession:
    """Who watches a training, when its clock started, and which process this is."""

    announce: Callable[[Plan, Path], None] = lambda plan, folder: None
    """Called with the plan and the new run's folder before anything is prepared."""
    note: Callable[[str], None] = lambda text: None
    """Called with what is trained on, and what is left out, before the plan is made."""
    progress: StageProgress = no_progress
    started: float | None = None
    """The moment of the monotonic clock from which a time budget counts; now by default."""
    stop_requested: Callable[[], bool] = lambda: False
    """Looked at between steps."""
    distributed: DistributedContext = SINGLE_PROCESS
    explicit_reason: str = SET_BY_USER
    """Who set the keys that the recipe comes with; the plan gives it as their reason."""


@dataclass(frozen=True, slots=True)
class CheckedDataset:
    """The samples of a dataset that may be trained on, in their splits, and what is known of them.

    `info` is what the check learnt of each sample, by id; it is empty where a run is resumed.
    """

    sides: SplitSamples
    info: Mapping[str, SampleInfo]
    left_out: Sequence[str] = ()
    """What is wrong with the files that were left out."""
    left_out_ids: Sequence[str] = ()

    def side_info(self, side: str) -> list[SampleInfo]:
        """What the check learnt of the samples of one split."""
        return [self.info[sample.id] for sample in self.sides[side]]

    def split_record(self) -> SplitRecord:
        """Which image is in which split, for the run and its model."""
        samples = [sample for side in self.sides.values() for sample in side]
        ids = split_ids(self.sides)
        return SplitRecord(
            ids, known_contents(samples, self.info), known_fingerprints(ids, self.info)
        )


def train(
    data: Path | str,
    recipe: Recipe | None = None,
    folder: Path | str | None = None,
    origin: Path | str | None = None,
    *,
    progress: bool = False,
    **options: Unpack[TrainOptions],
) -> Run:
    """Train a network on a folder of images and masks.

    Args:
        data: The dataset, in any layout that `limner.data.scan` knows.
        recipe: What is set by hand; the plan chooses the rest from the data and the machine.
        folder: The new run folder; runs/<dataset> by default.
        origin: A run, or its model, whose weights, recipe and split the training goes on from.
        progress: Whether a bar and a line for each validation are shown.
        options: `minutes`, `epochs`, `size`, `encoder`, `batch_size`, `device` and `seed`, as the
            command line has them; see `TrainOptions`.

    Returns:
        The run; its `model` is the path of the best model.

    Raises LimnerError for a dataset with errors, a folder that exists, and settings that do not
    fit the data or the machine.

    Example:
        >>> from limner import train
        >>> run = train("photos", minutes=15)  # doctest: +SKIP
        >>> run.model  # doctest: +SKIP
    """
    run, events = start_run(
        Path(data),
        with_options(recipe or Recipe(), options),
        Path(folder) if folder else None,
        origin=Path(origin) if origin else None,
    )
    if progress:
        show_events(events, Console())
    else:
        for _ in events:
            pass
    return run


def start_run(
    data: Path,
    recipe: Recipe,
    folder: Path | None = None,
    session: TrainingSession | None = None,
    *,
    origin: Path | None = None,
) -> tuple[Run, Iterator[Event]]:
    """Check, split, plan and prepare a dataset, and begin a new run; the events come as it trains.

    Of several processes the first one does all but the training. `folder` and `origin` are as for
    `train`. Raises LimnerError for a dataset with errors, a run folder that is in use, and an
    origin that does not fit.
    """
    session = _with_clock(session)
    if not session.distributed.is_main:
        return _join_run(session)
    recipe = with_absolute_teacher(recipe)
    bundle = warm_start.load_origin(origin) if origin else None
    teacher = Bundle.load(recipe.train.teacher) if recipe.train.teacher else None
    inherited = _inherited(recipe, bundle, teacher)
    recipe = recipe.replace({key: value for key, (value, _) in inherited.items()})
    # What cannot be built is said before the data is read
    UNet.from_settings(recipe.model, recipe.data.channels, 1)
    require_trackers(recipe)
    if recipe.model.encoder and recipe.model.encoder_weights == "hub" and not bundle:
        fetch_weights(recipe.model.encoder)
    checked, labels = _check_and_split(data, recipe, folder, session, bundle)
    record = checked.split_record()
    if teacher:
        held_out = {record.contents[id] for id in record.ids["test"]}
        require_teacher(teacher, recipe, labels, held_out)
    plan = _plan(recipe, checked, labels, session)
    plan.reasons.update(dict.fromkeys(recipe.explicit_keys(), session.explicit_reason))
    plan.reasons.update({key: reason for key, (_, reason) in inherited.items()})
    run = Run.create(
        folder or next_run_folder(Path("runs"), data), plan, data, labels, record, bundle
    )
    session.announce(plan, run.folder)
    facts = _facts(checked, labels)
    seen = {c for model in (bundle, teacher) if model for c in model.split_record.seen_contents()}
    if seen_before := seen - set(record.contents.values()):
        facts["earlier"] = sorted(seen_before)
    run.update_receipt(lambda _: facts)
    return run, _lead_run(run, checked, session)


def _inherited(
    recipe: Recipe, origin: Bundle | None, teacher: Bundle | None
) -> dict[str, tuple[Any, str]]:
    """What the recipe takes from earlier models, by key: the value and the reason."""
    values: dict[str, tuple[Any, str]] = {}
    if teacher:
        values |= {k: (v, "as its teacher") for k, v in student_values(recipe, teacher).items()}
    if origin:
        reason = "as the run that it goes on from"
        inherited = warm_start.inherited_values(recipe, origin)
        values |= {key: (value, reason) for key, value in inherited.items()}
    return values


def resume_run(run: Run, session: TrainingSession | None = None) -> Iterator[Event]:
    """Go on with a run from its last checkpoint.

    Raises LimnerError where samples of the run are no longer there.
    """
    session = _with_clock(session)
    if not session.distributed.is_main:
        return _join_run(session)[1]
    sides = run.split_samples()
    session.note(describe_splits(run.data, sides))
    return _lead_run(run, CheckedDataset(sides, {}), session)


def split_dataset(samples: Sequence[Sample], result: CheckResult, recipe: Recipe) -> SplitSamples:
    """Split the samples of a checked dataset as a recipe says."""
    data = recipe.data
    facts = SplitFacts(
        digest={info.id: info.pixel_sha256.hex() for info in result.sample_info},
        copies=result.clusters,
        foreground=foreground_shares(result),
        classes=classes_by_id(result),
    )
    sides = split_samples(
        samples,
        validation_fraction=data.validation_fraction,
        test_fraction=data.test_fraction,
        seed=data.split_seed,
        facts=facts,
    )
    return fold_split(sides, data.fold, data.folds, data.split_seed, facts) if data.folds else sides


def _with_clock(session: TrainingSession | None) -> TrainingSession:
    session = session or TrainingSession()
    return session if session.started is not None else replace(session, started=time.monotonic())


def _check_and_split(
    data: Path,
    recipe: Recipe,
    folder: Path | None,
    session: TrainingSession,
    origin: Bundle | None,
) -> tuple[CheckedDataset, Labels]:
    """Scan and check a dataset, and split it, or as its origin was split."""
    dataset = scan_as(data, recipe.data)
    result = check(dataset, session.progress("checking"))
    # New samples may be copies of those that the origin is tested on; they are put beside them
    leaks_allowed = origin is not None or recipe.data.allow_leaks
    usable, labels = usable_samples(dataset, result, recipe, LEAKS if leaks_allowed else set())
    if folder is not None and folder.exists():
        raise run_exists(folder)
    sides = (
        warm_start.inherit_split(usable.samples, result, labels, origin)
        if origin
        else split_dataset(usable.samples, result, recipe)
    )
    for finding in result.findings:
        if finding.code in SPLITS_IN_DOUBT:
            session.note(f"{finding.severity}: {finding.message}")
    if usable.left_out:
        session.note(usable.describe())
    session.note(describe_splits(dataset.root, sides))
    # The working directory may be another one by the time that a file is read again
    info = result.info_by_id
    settled = {
        side: [replace(sample.absolute(), channels=info[sample.id].channels) for sample in samples]
        for side, samples in sides.items()
    }
    return CheckedDataset(settled, info, usable.left_out, usable.left_out_ids), labels


def usable_samples(
    dataset: Dataset, result: CheckResult, recipe: Recipe, allowed: Set[str] = frozenset()
) -> tuple[UsableSamples, Labels]:
    """The samples to train on and their classes, broken samples left out where the recipe says so.

    Raises LimnerError where there are errors of other codes than the `allowed` ones.
    """
    if not recipe.data.skip_broken:
        try:
            return UsableSamples(dataset.samples), require_valid(result, frozenset(allowed))
        except LimnerError as error:
            if (
                result.labels is None
                or {finding.code for finding in result.errors} - allowed - BROKEN
            ):
                raise
            raise LimnerError(
                f"{error} Or leave these files out: limner train … --skip-broken (of other "
                "commands, --set data.skip_broken=true)."
            ) from error
    usable = leave_out_broken(dataset.samples, result.findings)
    if not usable.samples:
        raise LimnerError(f"all pairs of {dataset.root} are broken. {usable.describe()}")
    return usable, require_valid(result, BROKEN | allowed)


def _plan(
    recipe: Recipe, checked: CheckedDataset, labels: Labels, session: TrainingSession
) -> Plan:
    """Choose what the recipe leaves open, from the training samples."""
    training = checked.side_info("train")
    plan = make_plan(
        recipe,
        PlanFacts(
            samples=training,
            labels=labels,
            ceiling=ResizeCeiling(checked.sides["train"], labels),
            validation_ratio=len(checked.sides["val"]) / len(checked.sides["train"]),
            processes=session.distributed.world_size,
            started=session.started,
            progress=session.progress,
        ),
    )
    size_px, resize_mode = plan.recipe.data.size_px, plan.recipe.data.resize_mode
    views_per_epoch = sum(len(views(info.size_px, size_px, resize_mode)) for info in training)
    return choose_compile(plan, views_per_epoch)


def _facts(checked: CheckedDataset, labels: Labels) -> dict[str, Any]:
    """What a receipt says of the data: the share of each class, and what was left out."""
    counts = count_classes(checked.side_info("train"), labels)
    pixels = [counts.pixels.get(index, 0) for index in range(len(labels.names))]
    facts: dict[str, Any] = {
        "class_shares": [round(count / max(1, sum(pixels)), 6) for count in pixels]
    }
    if checked.left_out:
        facts |= {"left_out": list(checked.left_out), "skipped": list(checked.left_out_ids)}
    return facts


def _lead_run(run: Run, checked: CheckedDataset, session: TrainingSession) -> Iterator[Event]:
    """Prepare the data of a run, let the other processes join, and train."""
    inputs = _prepare_inputs(run, checked, session.progress)
    session.distributed.broadcast_path(run.folder.resolve())
    return _train(run, inputs, session)


def _join_run(session: TrainingSession) -> tuple[Run, Iterator[Event]]:
    """Train the run that the first process names; its data is in the cache by then."""
    run = Run.open(session.distributed.broadcast_path(None))
    inputs = _prepare_inputs(run, CheckedDataset(run.split_samples(), {}), session.progress)
    return run, _train(run, inputs, session)


def _train(run: Run, inputs: RunInputs, session: TrainingSession) -> Iterator[Event]:
    assert session.started is not None
    return train_run(run, inputs, session.started, session.stop_requested, session.distributed)


def _prepare_inputs(run: Run, checked: CheckedDataset, progress: StageProgress) -> RunInputs:
    """Prepare the training and validation samples of a run, and settle its preprocessing."""
    recipe, labels, sides = run.recipe, run.labels, checked.sides
    size_px, resize_mode = recipe.data.size_px, recipe.data.resize_mode
    training = prepare(
        sides["train"], labels, size_px, resize_mode, progress("preparing"), checked.info
    )
    validation = prepare(
        sides["val"], labels, size_px, resize_mode, progress("preparing validation"), checked.info
    )
    return RunInputs(
        recipe,
        labels,
        _preprocessing(run, training, channel_endings(s.image for s in sides["train"])),
        training,
        validation,
        split_ids(sides),
        sides["val"],
    )


def _preprocessing(
    run: Run, training: PreparedDataset, channel_files: tuple[str, ...]
) -> Preprocessing:
    """Normalise as the origin or the pretrained encoder expects, else by the training images."""
    recipe, origin = run.recipe, run.origin
    encoder, channels = recipe.model.encoder, recipe.data.channels
    if origin is not None:
        mean, std = origin.preprocessing.mean, origin.preprocessing.std
    elif encoder:
        mean, std = encoder_normalisation(encoder, channels)
    else:
        mean, std = channel_statistics(training.images, channels)
    return Preprocessing(recipe.data.size_px, mean, std, recipe.data.resize_mode, channel_files)
