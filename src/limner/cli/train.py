"""`limner train`: train a model, or resume a run."""

import json
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from limner.cli.console import (
    INTERRUPTED,
    ImageFolder,
    MaskFolder,
    Settings,
    console,
    progress_bar,
    stderr,
)
from limner.errors import LimnerError
from limner.files import require_new
from limner.plurals import count_noun

if TYPE_CHECKING:
    from limner.recipe import Recipe
    from limner.training.cross_validation import CrossValidation, CrossValidationResult
    from limner.training.distributed import DistributedContext
    from limner.training.events import Event
    from limner.training.pipeline import TrainingSession
    from limner.training.plan import Plan
    from limner.training.run import Run

Data = Annotated[
    Path | None, typer.Argument(help="the folder of images and masks", show_default=False)
]
SkipBroken = Annotated[
    bool,
    typer.Option(
        "--skip-broken",
        help="leave out broken and missing images and masks, each named, instead of stopping",
    ),
]
Minutes = Annotated[
    float | None,
    typer.Option(help="the time that all of it may take; the schedule is fitted into it"),
]
Encoder = Annotated[
    str | None,
    typer.Option(
        help="a pretrained encoder by timm's name, such as tf_efficientnet_lite1 or resnet34; "
        "tf_efficientnet_lite0 comes with limner and is the default"
    ),
]
RecipeFile = Annotated[
    Path | None, typer.Option("--recipe", help="a recipe TOML, such as the recipe.toml of a run")
]
Seeds = Annotated[
    int,
    typer.Option(
        min=1,
        help="train so many times, each with the next seed, and print mean and standard deviation",
    ),
]
Folds = Annotated[
    int,
    typer.Option(
        help="cross-validate: train so many models, each validated on another part, score every "
        "image by the model that never saw it, and join them into one; --minutes is for all"
    ),
]
Origin = Annotated[
    Path | None,
    typer.Option(
        "--from", help="go on from this run's model: its recipe, its split, and its weights"
    ),
]
Teacher = Annotated[
    Path | None,
    typer.Option(
        help="learn from this model's predictions beside the masks, such as from the ensemble of "
        "--folds: one network as quick as one of its members"
    ),
]
OutFolder = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="the new run folder; runs/NAME by default"),
]
Resume = Annotated[Path | None, typer.Option(help="go on with this run, from where it was stopped")]


def train(
    data: Data = None,
    minutes: Minutes = None,
    encoder: Encoder = None,
    recipe_file: RecipeFile = None,
    settings: Settings = None,
    seeds: Seeds = 1,
    folds: Folds = 0,
    origin: Origin = None,
    teacher: Teacher = None,
    out: OutFolder = None,
    resume: Resume = None,
    skip_broken: SkipBroken = False,
    images: ImageFolder = "",
    masks: MaskFolder = "",
) -> None:
    """Train a model: check, split, plan from the data and the machine, train, keep the best.

    Several GPUs: torchrun --nproc-per-node 4 -m limner train DATA; with --folds each trains a fold.
    Ctrl-C and SIGTERM save and stop; --resume goes on, bit for bit.
    """
    started_at = time.monotonic()
    with _stop_signals() as stop:
        from limner.recipe_file import load_recipe
        from limner.training import distributed

        context = distributed.context_from_environment()
        with distributed.process_group(context):
            job = _Job(context, stop, started_at)
            if resume is not None:
                others = (data, minutes, encoder, recipe_file, settings, out, origin, teacher)
                if any(others) or images or masks or skip_broken or seeds > 1 or folds:
                    raise LimnerError(
                        "--resume goes on with a run as it was begun. Give it alone, or begin a "
                        "new run without it."
                    )
                status = job.resume(resume)
            elif data is None:
                raise LimnerError(
                    "there is nothing to train on. Give a folder of images and masks, or --resume "
                    "with a run."
                )
            else:
                overrides = [*(settings or [])]
                overrides += [f"train.minutes={minutes}"] if minutes is not None else []
                overrides += [f"model.encoder={encoder}"] if encoder else []
                overrides += ["data.skip_broken=true"] if skip_broken else []
                overrides += [f"train.teacher={teacher}"] if teacher else []
                overrides += [f"data.image_folder={json.dumps(images)}"] if images else []
                overrides += [f"data.mask_folder={json.dumps(masks)}"] if masks else []
                recipe = load_recipe(recipe_file, overrides)
                if folds:
                    if seeds > 1 or origin:
                        raise LimnerError(
                            "--folds trains a model for each fold. Leave out --seeds and --from."
                        )
                    status = job.cross_validate(data, recipe, folds, out)
                else:
                    status = job.train(data, recipe, seeds, origin, out)
        if status is not None:
            raise typer.Exit(status)


class _StopSignal:
    """The signal that asked for a stop, if any.

    Until training begins there is nothing to save, and the process ends at once.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.training = False

    def requested(self) -> bool:
        return self.signal is not None

    def receive(self, number: int, _frame: FrameType | None) -> None:
        if not self.training:
            stderr.print("Stopped before training began: there is nothing to go on from.")
            raise SystemExit(0 if number == signal.SIGTERM else INTERRUPTED)
        self.signal = number
        # A second Ctrl-C does not wait
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def _stop_signals() -> Iterator[_StopSignal]:
    """Let Ctrl-C and SIGTERM stop training at the next step, with everything saved."""
    stop = _StopSignal()
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.signal(number, stop.receive) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


class _Job:
    """One call of `limner train` in one process; of several processes the main one prints."""

    def __init__(self, context: "DistributedContext", stop: _StopSignal, started_at: float) -> None:
        from limner.data.parallel import no_progress

        self._context, self._stop, self._started_at = context, stop, started_at
        self._console = console if context.is_main else Console(quiet=True)
        self._progress = progress_bar if context.is_main else no_progress

    def resume(self, folder: Path) -> int | None:
        """Go on with a run or a cross-validation. Gives the exit status where it was stopped."""
        from limner.training import pipeline
        from limner.training.cross_validation import CrossValidation
        from limner.training.run import Run

        if CrossValidation.is_at(folder):
            return self._train_folds(CrossValidation(folder))
        run = Run.open(folder)
        events = pipeline.resume_run(run, self._session(self._started_at))
        return self._watch(run, events)

    def train(
        self, data: Path, recipe: "Recipe", seeds: int, origin: Path | None, out: Path | None
    ) -> int | None:
        """Train once for each seed. Gives the exit status where it was stopped."""
        from limner.training import pipeline

        first, scores = recipe.train.seed, []
        folders = _seed_folders(data, out, range(first, first + seeds)) if seeds > 1 else [out]
        for number, folder in enumerate(folders):
            run, events = pipeline.start_run(
                data,
                recipe.replace({"train.seed": first + number}) if seeds > 1 else recipe,
                folder,
                self._session(self._started_at if number == 0 else time.monotonic()),
                origin=origin,
            )
            if (status := self._watch(run, events)) is not None:
                return status
            if self._context.is_main:
                scores.append((run, float(run.read_json("state.json")["best_mean_dice"])))
        if seeds > 1 and self._context.is_main:
            _print_seeds(scores)
        return None

    def cross_validate(
        self, data: Path, recipe: "Recipe", folds: int, out: Path | None
    ) -> int | None:
        """Train a model for each fold and join them. Gives the status where it was stopped."""
        from limner.training.cross_validation import CrossValidation
        from limner.training.run import next_run_folder

        context = self._context
        if not context.is_main:
            return self._train_folds(CrossValidation(context.broadcast_path(None)))
        folder = out or next_run_folder(Path("runs"), data)
        validation = CrossValidation.create(folder, data, recipe, folds, context.world_size)
        context.broadcast_path(folder.resolve())
        return self._train_folds(validation)

    def _train_folds(self, validation: "CrossValidation") -> int | None:
        status = None
        for run, events in self._start_folds(validation):
            status = self._watch(run, events, whole=validation.folder)
            if status is not None:
                break
        _, any_stopped = self._context.agree(0.0, stop=status is not None)
        if any_stopped or not self._context.is_main:
            return status
        _print_folds(validation.finish(self._progress))
        return None

    def _start_folds(
        self, validation: "CrossValidation"
    ) -> "Iterator[tuple[Run, Iterator[Event]]]":
        """Start the folds that are unfinished, one after the other.

        Of several processes each has its share of them, and trains them alone.
        """
        from limner.training.distributed import SINGLE_PROCESS

        context = self._context
        folds = validation.unfinished()[context.rank :: context.world_size]
        # All have looked before one begins
        context.wait()
        if not (context.is_main and folds):
            # Until the first process has planned its first fold, as all others are trained
            context.wait()
        for number, fold in enumerate(folds):
            planned = ", planned as the first" if fold else ""
            shared = f"; {context.world_size} at once" if context.world_size > 1 else ""
            self._console.print(
                f"Fold {fold + 1} of {validation.folds}{planned}{shared}", style="bold"
            )
            session = replace(self._session(time.monotonic()), distributed=SINGLE_PROCESS)
            started = validation.start(fold, session)
            if context.is_main and number == 0:
                context.wait()
            yield started

    def _session(self, started: float) -> "TrainingSession":
        """How a training shows itself and is stopped, its clock started at a monotonic time."""
        from limner.training.pipeline import TrainingSession

        return TrainingSession(
            announce=_print_plan,
            note=lambda text: self._console.print(escape(text), soft_wrap=True),
            progress=self._progress,
            started=started,
            stop_requested=self._stop.requested,
            distributed=self._context,
        )

    def _watch(
        self, run: "Run", events: "Iterator[Event]", whole: Path | None = None
    ) -> int | None:
        """Show the run as it goes; `whole` is the cross-validation that it is a part of.

        Gives the exit status where it was stopped: 0 after SIGTERM, as a scheduler expects, 130
        after Ctrl-C.
        """
        from limner.training.console import show_events

        stopped = show_events(self._with_stops(events), self._console)
        self._stop.training = False
        folder = escape(str(whole or run.folder))
        if stopped is not None and not stopped.finished:
            self._console.print(
                f"Stopped; everything is saved. Go on with: limner train --resume {folder}"
            )
            return INTERRUPTED if self._stop.signal == signal.SIGINT else 0
        if whole:
            return None
        self._console.print(
            f"The best model is [bold]{folder}/model.safetensors[/]. Next: limner test "
            f"{folder}/model.safetensors {escape(str(run.data))}"
        )
        return None

    def _with_stops(self, events: "Iterator[Event]") -> "Iterator[Event]":
        """The events; from the first step on a signal lets the step end and saves.

        Before it nothing would be lost, and compiling may take long.
        """
        from limner.training.events import Note

        for event in events:
            self._stop.training = self._stop.training or not isinstance(event, Note)
            yield event


def _seed_folders(data: Path, out: Path | None, seeds: Sequence[int]) -> list[Path]:
    """A run folder for each seed. Raises LimnerError where one exists."""
    from limner.training.run import next_run_folder

    base = out or next_run_folder(Path("runs"), data)
    folders = [base.with_name(f"{base.name}-seed{seed}") for seed in seeds]
    for folder in folders:
        require_new(folder)
    return folders


def _print_plan(plan: "Plan") -> None:
    table = Table("setting", "value", "why", box=None, pad_edge=False)
    for key, reason in plan.reasons.items():
        section, _, name = key.partition(".")
        value = str(getattr(getattr(plan.recipe, section), name))
        table.add_row(key, escape(value), escape(reason))
    console.print(table)


def _print_folds(result: "CrossValidationResult") -> None:
    from limner.metrics.intervals import format_interval

    table = Table("run", "images", "Dice out of fold", box=None, pad_edge=False)
    for fold in result.folds:
        table.add_row(escape(str(fold.run.folder)), str(fold.images), f"{fold.dice:.4f}")
    console.print(table)
    model = escape(str(result.model))
    console.print(
        f"Mean Dice [bold]{result.dice.mean:.4f}[/] (95 % interval "
        f"{format_interval(result.dice.interval, 3)}) over {count_noun(result.images, 'image')}, "
        "each predicted by the model that never saw it."
    )
    console.print(
        f"All {len(result.folds)} models as one: [bold]{model}[/]. Next: limner predict {model} "
        "FOLDER_OF_NEW_IMAGES"
    )


def _print_seeds(scores: "list[tuple[Run, float]]") -> None:
    from statistics import mean, stdev

    table = Table("run", "validation Dice", box=None, pad_edge=False)
    for run, score in scores:
        table.add_row(escape(str(run.folder)), f"{score:.4f}")
    console.print(table)
    values = [score for _, score in scores]
    console.print(
        f"Mean [bold]{mean(values):.4f}[/], standard deviation {stdev(values):.4f} over "
        f"{len(values)} seeds."
    )
