"""`limner train`: train a model, or resume a run."""

import math
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape

from limner.cli.console import (
    INTERRUPTED,
    ImageFolder,
    MaskFolder,
    Settings,
    console,
    next_command,
    progress_bar,
    stderr,
)
from limner.cli.stop_signal import StopSignal, stop_signals
from limner.cli.train_options import (
    BatchSize,
    Data,
    Encoder,
    Epochs,
    Folds,
    Minutes,
    Name,
    Origin,
    OutFolder,
    RecipeFile,
    Resume,
    Seeds,
    Size,
    SkipBroken,
    Teacher,
    TrainDevice,
    parse_size,
    run_folder,
    spell_overrides,
)
from limner.cli.train_output import print_folds, print_plan, print_seeds
from limner.errors import LimnerError
from limner.files import require_folder, require_new
from limner.plurals import count_noun
from limner.training import run_files

LEAST_SHOWN = 500
"""Images, each as often as it was shown, of which a network learns something.

On 40 images of vessels 850 reached a Dice of 0.72, and 128 of the sample set 0.46.
"""
GOOD_DICE = 0.8
"""A model that reaches it was shown enough."""

if TYPE_CHECKING:
    from limner.recipe import Recipe
    from limner.training.cross_validation import CrossValidation
    from limner.training.distributed import DistributedContext
    from limner.training.events import Event
    from limner.training.pipeline import TrainingSession
    from limner.training.run import Run


def train(
    data: Data = None,
    minutes: Minutes = None,
    epochs: Epochs = None,
    size: Size = None,
    encoder: Encoder = None,
    batch_size: BatchSize = None,
    device: TrainDevice = None,
    name: Name = None,
    out: OutFolder = None,
    resume: Resume = None,
    origin: Origin = None,
    seeds: Seeds = 1,
    folds: Folds = 0,
    teacher: Teacher = None,
    skip_broken: SkipBroken = False,
    images: ImageFolder = "",
    masks: MaskFolder = "",
    recipe_file: RecipeFile = None,
    settings: Settings = None,
) -> None:
    """Train a model: check, split, plan from the data and the machine, train, keep the best.

    Ctrl-C and SIGTERM save and stop; --resume goes on, bit for bit.

    Examples:

    limner train lesions --minutes 15

    limner train lesions --epochs 40 --size 256 --name trial

    limner train --resume runs/lesions

    torchrun --nproc-per-node 4 -m limner train lesions    (on four GPUs)
    """
    from limner.training.options import recipe_values

    chosen = {
        **recipe_values(
            {
                "minutes": minutes,
                "epochs": epochs,
                "size": None if size is None else parse_size(size),
                "encoder": encoder or None,
                "batch_size": batch_size,
                "device": device,
            }
        ),
        "data.skip_broken": skip_broken or None,
        "train.teacher": str(teacher) if teacher else None,
        "data.image_folder": images or None,
        "data.mask_folder": masks or None,
    }
    overrides = [*(settings or []), *spell_overrides(chosen)]
    request = _Request(data, recipe_file, overrides, seeds, folds, origin, run_folder(name, out))
    status = _train_or_resume(request, resume)
    if status is not None:
        raise typer.Exit(status)


@dataclass(frozen=True, slots=True)
class _Request:
    """What a new training is asked for."""

    data: Path | None
    recipe_file: Path | None
    overrides: Sequence[str]
    seeds: int
    folds: int
    origin: Path | None
    out: Path | None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked for, as beside --resume."""
        anything = (self.data, self.recipe_file, self.overrides, self.origin, self.out, self.folds)
        return not any(anything) and self.seeds == 1


def _train_or_resume(request: _Request, resume: Path | None) -> int | None:
    """Train, or go on with a run. Gives the exit status where it was stopped."""
    started_at = time.monotonic()
    if request.data is not None:
        # Said before torch is imported, which takes seconds
        require_folder(request.data)
    with stop_signals() as stop:
        from limner.recipe_file import load_recipe
        from limner.training import distributed

        context = distributed.context_from_environment()
        with distributed.process_group(context), _occupied(is_main=context.is_main):
            job = _Job(context, stop, started_at)
            if resume is not None:
                if not request.is_empty:
                    raise LimnerError(
                        "--resume goes on with a run as it was begun. Give it alone, or begin a "
                        "new run without it."
                    )
                return job.resume(resume)
            if request.data is None:
                raise LimnerError(
                    "there is nothing to train on. Give a folder of images and masks, or --resume "
                    "with a run."
                )
            recipe = load_recipe(request.recipe_file, request.overrides)
            if not request.folds:
                return job.train(request.data, recipe, request.seeds, request.origin, request.out)
            if request.seeds > 1 or request.origin:
                raise LimnerError(
                    "--folds trains a model for each fold. Leave out --seeds and --from."
                )
            return job.cross_validate(request.data, recipe, request.folds, request.out)


@contextmanager
def _occupied(*, is_main: bool) -> Iterator[None]:
    """Say it where another training makes both slower."""
    from limner.training.machine_use import occupy_machine

    if not is_main:
        yield
        return
    with occupy_machine() as is_alone:
        if not is_alone:
            stderr.print("note: another training runs on this machine. Both take longer.")
        yield


class _Job:
    """One call of `limner train` in one process; of several processes the main one prints."""

    def __init__(self, context: "DistributedContext", stop: StopSignal, started_at: float) -> None:
        from limner.data.parallel import no_progress

        self._context, self._stop, self._started_at = context, stop, started_at
        self._typed: Path | None = None
        """The dataset as it was typed."""
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

        self._typed = data
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
            print_seeds(scores)
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
        print_folds(validation.finish(self._progress))
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
            announce=print_plan,
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

        # Before the first event: the sessions are then those of earlier processes
        earlier = sum(session["images"] for session in run.receipt["sittings"])
        stopped = show_events(self._with_stops(events), self._console, earlier)
        self._stop.training = False
        place = whole or run.folder
        if stopped is not None and not stopped.finished:
            self._console.print(
                f"Stopped; everything is saved. Next: {next_command('train', '--resume', place)}",
                soft_wrap=True,
            )
            return INTERRUPTED if self._stop.signal == signal.SIGINT else 0
        self._warn_of_too_few(run)
        if whole:
            return None
        self._console.print(
            f"The best model is [bold]{escape(str(run.model))}[/]. "
            f"Next: {next_command('test', place, self._typed or run.data)}",
            soft_wrap=True,
        )
        return None

    def _warn_of_too_few(self, run: "Run") -> None:
        """Say in red where the time was too short to learn much."""
        if not self._context.is_main:
            # It has nobody to tell, and the first process writes the files
            return
        minutes = run.recipe.train.minutes
        shown = sum(session["images"] for session in run.receipt["sittings"])
        dice = float(run.read_json(run_files.STATE)["best_mean_dice"])
        needed = max(LEAST_SHOWN, len(run.split["train"]))
        if minutes is not None and 0 < shown < needed and dice < GOOD_DICE:
            enough = count_noun(math.ceil(minutes * needed / shown), "minute")
            self._console.print(
                f"[red]Only {count_noun(shown, 'image was', 'images were')} shown to the network, "
                f"whose validation Dice is {dice:.2f}: give it at least {enough}.[/]"
            )

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
