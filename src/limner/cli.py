"""The verbs: parse, call one function, print. torch is imported inside the verbs alone, so that --help answers at once."""

import errno
import io
import json
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from limner.errors import LimnerError

if TYPE_CHECKING:
    from limner.data.health import Health
    from limner.inference.evaluate import Scores
    from limner.training.loop import Event
    from limner.training.plan import Plan
    from limner.training.run import Run

app = typer.Typer(
    help="A folder of images and masks becomes a U-Net that segments new images, with honest scores.\n\n"
    "Begin with: limner sample lesions, then limner check lesions, then limner train lesions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(highlight=False)
complaints = Console(stderr=True, highlight=False)

FINDINGS_SHOWN = 3
"""Of each code on the terminal; the page and findings.json hold them all."""

DataFolder = Annotated[Path, typer.Argument(help="the folder of images and masks", show_default=False)]
ModelFile = Annotated[Path, typer.Argument(help="the model.safetensors of a run", show_default=False)]


def main() -> None:
    """The entry point of the `limner` command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a file name may be no text at all
    app()


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(help="a new folder", show_default=False)],
    count: Annotated[int, typer.Option(help="how many images: 70 % to train, 15 % to validate, 15 % to test")] = 400,
    size: Annotated[int, typer.Option(help="height and width, in px")] = 256,
    seed: Annotated[int, typer.Option(help="another seed gives another set")] = 0,
) -> None:
    """Write the embedded sample set: synthetic dermoscopy with exact masks, in ISIC's layout."""
    with _friendly():
        from limner.data.sample_set import write_sample_set

        write_sample_set(folder, count, size, seed, _bar("drawing"))
        console.print(f"[bold]{count}[/] images of {size}x{size} px and their masks are in [bold]{escape(str(folder))}[/].")
        console.print(f"Next: limner check {escape(str(folder))}")


@app.command()
def check(
    data: DataFolder,
    as_json: Annotated[bool, typer.Option("--json", help="print the findings as JSON, and write nothing but to --out")] = False,
    out: Annotated[Path | None, typer.Option(help="the folder of the page and findings.json; checks/NAME by default")] = None,
) -> None:
    """Report every problem of a dataset, before a minute is lost on it; exit status 1 where there are errors."""
    with _friendly():
        from limner.data.folder import scan
        from limner.data.health import check as examine
        from limner.data.health_page import record, write_health

        dataset = scan(data)
        health = examine(dataset, None if as_json else _bar("checking"))
        if as_json:
            print(json.dumps(record(dataset, health), indent=2))
        else:
            console.print(f"{len(dataset.samples)} pairs in the layout {escape(dataset.layout)}.")
            _print_health(health, data)
        if out or not as_json:
            page = write_health(out or Path("checks") / data.resolve().name, dataset, health)
            (complaints if as_json else console).print(f"Look at [bold]{escape(str(page))}[/]; findings.json beside it holds the same for a program.")
        if health.errors:
            raise typer.Exit(1)


@app.command()
def train(
    data: Annotated[Path | None, typer.Argument(help="the folder of images and masks", show_default=False)] = None,
    minutes: Annotated[float | None, typer.Option(help="the time that all of it may take; the schedule is fitted into it")] = None,
    encoder: Annotated[str | None, typer.Option(help="a pretrained encoder by timm's name, such as resnet34 or tf_efficientnet_lite0")] = None,
    recipe: Annotated[Path | None, typer.Option(help="a recipe TOML, such as the recipe.toml of a run")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="override one key, such as train.epochs=40; may be repeated")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="train so many times, each with the next seed, and print mean and standard deviation")] = 1,
    out: Annotated[Path | None, typer.Option(help="the new run folder; runs/NAME by default")] = None,
    resume: Annotated[Path | None, typer.Option(help="go on with this run, from where it was stopped")] = None,
) -> None:
    """Train a model: check, split, plan from the data and the machine, train, keep the best.

    Several GPUs: torchrun --nproc-per-node 4 -m limner train DATA. Ctrl-C and SIGTERM save and stop; --resume goes on, bit for bit.
    """
    began = time.monotonic()
    with _friendly(), _signals() as asked:
        from limner.recipe import load_recipe
        from limner.training import distributed, pipeline
        from limner.training.run import Run, new_folder

        mine = distributed.ranks()
        with distributed.joined(mine):
            quiet, bar = (console, _bar) if mine.first else (Console(quiet=True), pipeline.silent)
            if resume is not None:
                if data or minutes or encoder or recipe or settings or out or seeds > 1:
                    raise LimnerError("--resume goes on with a run as it was begun. Give it alone, or begin a new run without it.")
                run = Run.open(resume)
                _watch(run, pipeline.resume(run, bar, began=began, stop_asked=asked.stop, mine=mine), quiet, asked)
                return
            if data is None:
                raise LimnerError("there is nothing to train on. Give a folder of images and masks, or --resume with a run.")
            overrides = (settings or []) + ([f"train.minutes={minutes}"] if minutes is not None else []) + ([f"model.encoder={encoder}"] if encoder else [])
            given = load_recipe(recipe, overrides)
            base = (out or new_folder(Path("runs"), data)) if seeds > 1 else out
            seed_folders = (
                [base.with_name(f"{base.name}-seed{seed}") for seed in range(given.train.seed, given.train.seed + seeds)] if base and seeds > 1 else []
            )
            if taken := [str(folder) for folder in seed_folders if folder.exists()]:
                raise LimnerError(f"{taken[0]} is there already. Nothing is overwritten: name another folder with --out.")
            scores = []
            for seed in range(given.train.seed, given.train.seed + seeds):
                folder = base.with_name(f"{base.name}-seed{seed}") if base is not None and seeds > 1 else base
                chosen = given.replace({"train.seed": seed}) if seeds > 1 else given
                run, events = pipeline.start(data, chosen, folder, _print_plan, bar, began=began, stop_asked=asked.stop, mine=mine)
                _watch(run, events, quiet, asked)
                began = time.monotonic()
                if mine.first:
                    scores.append((run, float(run.read_json("state.json")["best_mean_dice"])))
            if seeds > 1 and mine.first:
                _print_seeds(scores)


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(help="where the runs lie")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="print them for a program")] = False,
) -> None:
    """List the runs of a folder: what each trained on, how far it is, and its scores."""
    with _friendly():
        from limner.training.listing import listed

        found = listed(folder)
        if as_json:
            print(json.dumps(found, indent=2))
            return
        if not found:
            console.print(f"There is no run in {escape(str(folder))}. Begin one with: limner train DATA")
            return
        table = Table("run", "state", "epoch", "val Dice", "test Dice", "network", "images/s", "minutes", box=None, pad_edge=False)
        for row in found:
            shown = {key: "" if value is None else f"{value:.4f}" if "dice" in key else str(value) for key, value in row.items() if key != "begun"}
            table.add_row(*(escape(text) for text in {**shown, "state": shown["state"].partition(":")[0]}.values()))
        console.print(table)


@app.command()
def test(
    model: ModelFile,
    data: DataFolder,
    split: Annotated[str, typer.Option(help="train, val, test, new (not there when the model was trained), or all")] = "test",
    device: Annotated[str, typer.Option(help="cpu, cuda or mps")] = "cpu",
) -> None:
    """Score a model on a split at the masks' own size: per image, their mean, and the pooled scores beside it."""
    with _friendly():
        from limner.data.folder import scan
        from limner.data.splits import recorded
        from limner.inference.evaluate import Scores, score_each
        from limner.inference.predictor import Predictor
        from limner.model.bundle import Bundle

        bundle, dataset = Bundle.load(model), scan(data)
        sides = recorded(dataset.samples, bundle.split)
        if split not in {"all", *sides}:
            raise LimnerError(f"--split {split} is no split. Choose {', '.join(sides)} or all.")
        if split != "new" and sides["new"]:
            complaints.print(f"note: {len(sides['new'])} images were not there when the model was trained, and are in no split. --split new scores them.")
        chosen = [sample for name, side in sides.items() for sample in side if split in {"all", name}]
        if not chosen:
            there = ", ".join(f"{name} ({len(side)})" for name, side in sides.items() if side)
            raise LimnerError(f"{data} has no {split} split. There are {there}; note that val chose the best epoch. Say --split val, for example.")
        predictor = Predictor.of(bundle, device)
        rows = list(_bar("scoring")(score_each(predictor, chosen), len(chosen)))
        scores = Scores.of(rows, bundle.labels)
        _print_scores(scores, split)
        replaced = (model.parent / f"scores-{split}.json").exists()
        written = scores.write(model.parent, split)
        console.print(f"{'Replaced' if replaced else 'Written'}: {', '.join(escape(str(path)) for path in written)}")


@app.command()
def predict(
    model: ModelFile,
    images: Annotated[Path, typer.Argument(help="an image or a folder of images", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="a new folder for the masks")] = Path("predictions"),
    device: Annotated[str, typer.Option(help="cpu, cuda or mps")] = "cpu",
) -> None:
    """Segment new images: a mask PNG at each image's size, predictions.json, and a picture of them."""
    with _friendly():
        from limner.inference.folder_predictions import predict_folder
        from limner.inference.predictor import Predictor

        written, failures = predict_folder(Predictor.load(model, device), images, out, model, _bar("predicting"))
        console.print(f"{written} masks are in [bold]{escape(str(out))}[/]; look at {escape(str(out / 'overview.jpg'))}.")
        for failure in failures:
            complaints.print(f"[red]not predicted:[/] {escape(failure)}")
        if failures:
            raise typer.Exit(1)


def _print_health(health: "Health", data: Path) -> None:
    from limner.data.health_page import short

    if health.labels is not None:
        console.print(f"Mask values: {escape(health.labels.describe())}.")
    if not health.findings:
        console.print("[green]No problem was found.[/]")
        return
    colours = {"error": "red", "warning": "yellow", "note": "blue"}
    table = Table("", "code", Column("what was found, and how to mend it", overflow="fold"), box=None, pad_edge=False)
    for code, findings in health.by_code().items():
        colour = colours[findings[0].severity]
        for finding in findings[:FINDINGS_SHOWN]:
            table.add_row(f"[{colour}]{finding.severity}[/]", code, escape(short(finding, data)))
        if len(findings) > FINDINGS_SHOWN:
            table.add_row("", "", f"and {len(findings) - FINDINGS_SHOWN} more of {code}")
    console.print(table)
    console.print(", ".join(f"{count} {name}{'s' * (count != 1)}" for name in colours if (count := health.count(name))) + ".")  # type: ignore[arg-type]


def _print_plan(plan: "Plan") -> None:
    table = Table("setting", "value", "why", box=None, pad_edge=False)
    for key, reason in plan.reasons.items():
        section, _, name = key.partition(".")
        table.add_row(key, escape(str(getattr(getattr(plan.recipe, section), name))), escape(reason))
    console.print(table)


def _print_scores(scores: "Scores", split: str) -> None:
    summary = scores.summary()
    table = Table("", "mean over images", "pooled pixels", box=None, pad_edge=False, title=f"{len(scores.ids)} images of {split}", title_justify="left")
    table.add_row("Dice", f"[bold]{summary['mean_dice']:.4f}[/]", f"{summary['pooled_dice']:.4f}")
    table.add_row("Jaccard", f"{summary['mean_jaccard']:.4f}", f"{summary['pooled_jaccard']:.4f}")
    table.add_row("Jaccard, 0 below 0.65", f"{summary['mean_thresholded_jaccard']:.4f}", "")
    console.print(table)
    per_class = scores.dice_per_class()
    if len(per_class) > 1:
        console.print("Pooled Dice by class: " + ", ".join(f"{escape(name)} {value:.3f}" for name, value in per_class.items()))
    console.print("Worst images: " + ", ".join(f"{escape(id)} ({value:.3f})" for id, value in scores.worst(5)))


class _Asked:
    """Which signal asked for a stop, if any; until training begins there is nothing to save, and the process ends at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.training = False

    def stop(self) -> bool:
        return self.signal is not None

    def receive(self, number: int, _frame: FrameType | None) -> None:
        if not self.training:
            if number == signal.SIGTERM:
                complaints.print("Stopped before training began; nothing is lost.")
                raise SystemExit(0)
            raise KeyboardInterrupt
        self.signal = number
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C does not wait


@contextmanager
def _signals() -> Iterator[_Asked]:
    """Ctrl-C and SIGTERM stop training at the next step, with everything saved."""
    asked = _Asked()
    before = {number: signal.signal(number, asked.receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(run: "Run", events: "Iterator[Event]", shown: Console, asked: _Asked) -> None:
    """Draw the run as it goes. Ends the process where a stop was asked for: with 0 after SIGTERM, as a scheduler expects, with 130 after Ctrl-C."""
    from limner.training.display import draw

    ended = draw(_begun(events, asked), shown)
    asked.training = False
    folder = escape(str(run.folder))
    if ended is not None and not ended.finished:
        shown.print(f"Stopped; everything is saved. Go on with: limner train --resume {folder}")
        raise typer.Exit(130 if asked.signal == signal.SIGINT else 0)
    shown.print(f"The best model is [bold]{folder}/model.safetensors[/]. Next: limner test {folder}/model.safetensors {escape(str(run.data))}")


def _begun(events: "Iterator[Event]", asked: _Asked) -> "Iterator[Event]":
    """The events; from the first one on a signal lets the step end and saves. Before it nothing would be lost, and compiling may take long."""
    for event in events:
        asked.training = True
        yield event


def _print_seeds(scores: "list[tuple[Run, float]]") -> None:
    from statistics import mean, stdev

    table = Table("run", "validation Dice", box=None, pad_edge=False)
    for run, score in scores:
        table.add_row(escape(str(run.folder)), f"{score:.4f}")
    console.print(table)
    values = [score for _, score in scores]
    console.print(f"Mean [bold]{mean(values):.4f}[/], standard deviation {stdev(values):.4f} over {len(values)} seeds.")


def _bar(stage: str) -> Callable[[Iterable[Any], int], Iterable[Any]]:
    """What wraps the iteration of a stage: a progress bar on a terminal, one line elsewhere."""
    from rich.progress import track

    def wrap(iterable: Iterable[Any], total: int) -> Iterable[Any]:
        if not console.is_terminal:
            console.print(f"{stage} {total} files")
            return iterable
        return track(iterable, stage, total=total, console=console, transient=True)

    return wrap


@contextmanager
def _friendly() -> Iterator[None]:
    """A user's mistake becomes a message and an exit status, never a traceback."""
    try:
        yield
    except LimnerError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        complaints.print("Stopped.")
        raise typer.Exit(130) from None
    except MemoryError:
        _fail("there is not enough memory. Lower train.batch_size or data.size_px with --set, or close other programs.")
    except OSError as error:
        if error.errno == errno.ENOSPC:
            _fail("the disk is full. What was written before is whole: free some space and run the command again; training goes on with --resume.")
        if error.errno in {errno.EEXIST, errno.ENOTDIR, errno.EISDIR}:
            _fail(f"{error.filename} is in the way: a folder is needed where a file is, or the other way round. Name another place.")
        if error.errno in {errno.EACCES, errno.EROFS, errno.EPERM}:
            _fail(f"{error.filename} may not be read or written ({error.strerror}). Choose another folder or mend its permissions.")
        where = f" ({error.filename})" if error.filename else ""
        _fail(f"the system refused{where}: {error.strerror or error}. What was written before is whole; training goes on with --resume.")
    except RuntimeError as error:
        if type(error).__name__ == "OutOfMemoryError" or "not enough memory" in str(error) or "can't allocate memory" in str(error):
            _fail("there is not enough memory for this batch. Lower train.batch_size or data.size_px with --set.")
        raise


def _fail(message: str) -> None:
    complaints.print(f"[red]error:[/] {escape(message)}")
    raise typer.Exit(1) from None
