"""`limner train` and `limner runs`."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from limner.cli.console import console, progress_bar, report_errors, stderr
from limner.errors import LimnerError

if TYPE_CHECKING:
    from limner.training.loop import Event
    from limner.training.plan import Plan
    from limner.training.run import Run


def train(
    data: Annotated[
        Path | None, typer.Argument(help="the folder of images and masks", show_default=False)
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="the time that all of it may take; the schedule is fitted into it"),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="a pretrained encoder by timm's name, such as resnet34 or tf_efficientnet_lite0"
        ),
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="a recipe TOML, such as the recipe.toml of a run")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="override one key, such as train.epochs=40; may be repeated"),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            min=1,
            help=(
                "train so many times, each with the next seed, and print mean and standard "
                "deviation"
            ),
        ),
    ] = 1,
    origin: Annotated[
        Path | None,
        typer.Option(
            "--from", help="go on from this run's model: its recipe, its split, and its weights"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="the new run folder; runs/NAME by default")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="go on with this run, from where it was stopped")
    ] = None,
) -> None:
    """Train a model: check, split, plan from the data and the machine, train, keep the best.

    Several GPUs: torchrun --nproc-per-node 4 -m limner train DATA. Ctrl-C and SIGTERM save and
    stop; --resume goes on, bit for bit.
    """
    began = time.monotonic()
    with report_errors(), _signals() as asked:
        from limner.recipe_file import load_recipe
        from limner.training import distributed, pipeline
        from limner.training.run import Run, next_run_folder

        mine = distributed.context_from_environment()
        status: int | None = None
        with distributed.process_group(mine):
            shown, progress = (
                (console, progress_bar)
                if mine.is_main
                else (Console(quiet=True), pipeline.no_progress)
            )
            if resume is not None:
                if data or minutes or encoder or recipe or settings or out or origin or seeds > 1:
                    raise LimnerError(
                        "--resume goes on with a run as it was begun. Give it alone, or begin "
                        "a new run without it."
                    )
                run = Run.open(resume)
                status = _watch(
                    run,
                    pipeline.resume_run(
                        run, progress, began=began, stop_asked=asked.stop, mine=mine
                    ),
                    shown,
                    asked,
                )
            elif data is None:
                raise LimnerError(
                    "there is nothing to train on. Give a folder of images and masks, or "
                    "--resume with a run."
                )
            else:
                overrides = (
                    (settings or [])
                    + ([f"train.minutes={minutes}"] if minutes is not None else [])
                    + ([f"model.encoder={encoder}"] if encoder else [])
                )
                given = load_recipe(recipe, overrides)
                base = (out or next_run_folder(Path("runs"), data)) if seeds > 1 else out
                seed_folders = (
                    [
                        base.with_name(f"{base.name}-seed{seed}")
                        for seed in range(given.train.seed, given.train.seed + seeds)
                    ]
                    if base and seeds > 1
                    else []
                )
                if taken := [str(folder) for folder in seed_folders if folder.exists()]:
                    raise LimnerError(
                        f"{taken[0]} is there already. Nothing is overwritten: name another "
                        "folder with --out."
                    )
                scores = []
                for seed in range(given.train.seed, given.train.seed + seeds):
                    folder = (
                        base.with_name(f"{base.name}-seed{seed}")
                        if base is not None and seeds > 1
                        else base
                    )
                    chosen = given.replace({"train.seed": seed}) if seeds > 1 else given
                    run, events = pipeline.start_run(
                        data,
                        chosen,
                        folder,
                        _print_plan,
                        progress,
                        began=began,
                        stop_asked=asked.stop,
                        mine=mine,
                        origin=origin,
                    )
                    if (status := _watch(run, events, shown, asked)) is not None:
                        break
                    began = time.monotonic()
                    if mine.is_main:
                        scores.append((run, float(run.read_json("state.json")["best_mean_dice"])))
                if seeds > 1 and mine.is_main and status is None:
                    _print_seeds(scores)
        if status is not None:
            raise typer.Exit(status)


def runs(
    folder: Annotated[Path, typer.Argument(help="where the runs lie")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="print them for a program")] = False,
) -> None:
    """List the runs of a folder: what each trained on, how far it is, and its scores."""
    with report_errors():
        from limner.training.run_list import list_runs

        found = list_runs(folder)
        if as_json:
            print(json.dumps(found, indent=2))
            return
        if not found:
            console.print(
                f"There is no run in {escape(str(folder))}. Begin one with: limner train DATA"
            )
            return
        table = Table(
            "run",
            "state",
            "epoch",
            "val Dice",
            "test Dice",
            "network",
            "images/s",
            "minutes",
            box=None,
            pad_edge=False,
        )
        for row in found:
            shown = {
                key: "" if value is None else f"{value:.4f}" if "dice" in key else str(value)
                for key, value in row.items()
                if key != "begun"
            }
            table.add_row(
                *(
                    escape(text)
                    for text in {**shown, "state": shown["state"].partition(":")[0]}.values()
                )
            )
        console.print(table)


class _Asked:
    """Which signal asked for a stop, if any; until training begins there is nothing to save, and
    the process ends at once.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.training = False

    def stop(self) -> bool:
        return self.signal is not None

    def receive(self, number: int, _frame: FrameType | None) -> None:
        if not self.training:
            if number == signal.SIGTERM:
                stderr.print("Stopped before training began; nothing is lost.")
                raise SystemExit(0)
            raise KeyboardInterrupt
        self.signal = number
        # A second Ctrl-C does not wait
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def _signals() -> Iterator[_Asked]:
    """Ctrl-C and SIGTERM stop training at the next step, with everything saved."""
    asked = _Asked()
    before = {
        number: signal.signal(number, asked.receive) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(run: "Run", events: "Iterator[Event]", shown: Console, asked: _Asked) -> int | None:
    """Draw the run as it goes. The exit status where a stop was asked for: 0 after SIGTERM, as a
    scheduler expects, 130 after Ctrl-C.
    """
    from limner.training.console import show_events

    ended = show_events(_begun(events, asked), shown)
    asked.training = False
    folder = escape(str(run.folder))
    if ended is not None and not ended.finished:
        shown.print(f"Stopped; everything is saved. Go on with: limner train --resume {folder}")
        return 130 if asked.signal == signal.SIGINT else 0
    shown.print(
        f"The best model is [bold]{folder}/model.safetensors[/]. Next: limner test "
        f"{folder}/model.safetensors {escape(str(run.data))}"
    )
    return None


def _begun(events: "Iterator[Event]", asked: _Asked) -> "Iterator[Event]":
    """The events; from the first step on a signal lets the step end and saves. Before it nothing
    would be lost, and compiling may take long.
    """
    from limner.training.loop import Note

    for event in events:
        asked.training = asked.training or not isinstance(event, Note)
        yield event


def _print_plan(plan: "Plan") -> None:
    table = Table("setting", "value", "why", box=None, pad_edge=False)
    for key, reason in plan.reasons.items():
        section, _, name = key.partition(".")
        table.add_row(
            key, escape(str(getattr(getattr(plan.recipe, section), name))), escape(reason)
        )
    console.print(table)


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
