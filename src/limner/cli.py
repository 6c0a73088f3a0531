"""The verbs: parse, call one function, print. torch is imported inside the verbs alone, so that --help answers at once."""

import errno
import getpass
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from limner.errors import LimnerError
from limner.files import sha256_of

if TYPE_CHECKING:
    from limner.data.health import Health
    from limner.data.samples import Sample
    from limner.inference.evaluate import Comparison, Scores
    from limner.model.description import Description
    from limner.review.folder import Predictions
    from limner.review.store import Store
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

PROOF, MEASURED = 100, 200
"""Images that an export looks at: for the proof, and to measure another precision."""
FINDINGS_SHOWN = 3
"""Of each code on the terminal; the page and findings.json hold them all."""

DataFolder = Annotated[Path, typer.Argument(help="the folder of images and masks", show_default=False)]
TTA = "augmentation at test time: none, flips, turns or scales; what validation chose by default"


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
    origin: Annotated[Path | None, typer.Option("--from", help="go on from this run's model: its recipe, its split, and its weights")] = None,
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
                if data or minutes or encoder or recipe or settings or out or origin or seeds > 1:
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
                run, events = pipeline.start(data, chosen, folder, _print_plan, bar, began=began, stop_asked=asked.stop, mine=mine, origin=origin)
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
    paths: Annotated[
        list[Path], typer.Argument(metavar="MODEL... DATA", help="the model.safetensors of a run, or several, then the folder", show_default=False)
    ],
    split: Annotated[str, typer.Option(help="train, val, test, new (not there when the model was trained), or all")] = "test",
    tta: Annotated[str | None, typer.Option(help=TTA)] = None,
    ensemble: Annotated[bool, typer.Option("--ensemble", help="score the models as one that takes the mean of their probabilities")] = False,
    metadata: Annotated[Path | None, typer.Option(help="a CSV with a column image and others, by which the scores are sliced")] = None,
    tolerance: Annotated[float, typer.Option(min=0, help="of the surface Dice, in px")] = 2.0,
    jaccard_threshold: Annotated[float, typer.Option(min=0, max=1, help="below it a Jaccard counts as 0 in its thresholded mean")] = 0.65,
    out: Annotated[Path | None, typer.Option(help="the folder of the report; report or report-SPLIT beside the model by default")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps")] = "cpu",
) -> None:
    """Score a model on a split at the masks' own size, with 95 % intervals, and write a report; of two models, compare them image by image."""
    with _friendly():
        from limner.data.folder import scan
        from limner.inference.engines import open_model
        from limner.inference.evaluate import Scores, compare, score_each
        from limner.inference.predictor import Predictor
        from limner.inference.report import COMPARISON, REPORT, Test, require_free, write_comparison, write_report
        from limner.inference.slices import read_columns
        from limner.training.run import count_scoring, curve_of

        *models, data = paths
        if not models or (len(models) > 2 and not ensemble):
            raise LimnerError("there must be one model, two to compare, or several with --ensemble, and after them the folder of images and masks.")
        opened, dataset = [open_model(model, device) for model in models], scan(data)
        descriptions = [model.description for model in opened]
        chosen = _samples_of(split, descriptions, dataset.samples, data)
        as_one = ensemble or len(opened) == 1
        predictors = [Predictor.of(*opened, tta=tta)] if as_one else [Predictor.of(model, tta=tta) for model in opened]
        columns = read_columns(metadata, chosen) if metadata else {}
        named = ("report" if split == "test" else f"report-{split}") if as_one else f"comparison-{split}"
        target = out or models[0 if as_one else 1].parent / named
        require_free(target, REPORT if as_one else COMPARISON)
        found = []
        for predictor in predictors:
            rows = list(_bar("scoring")(score_each(predictor, chosen, tolerance), len(chosen)))
            found.append(Scores.of(rows, predictor.labels, jaccard_threshold))
        times = [count_scoring(model, split) for model in models]
        if not as_one:
            compared = compare(*found)
            _print_comparison(compared, models, len(chosen), split)
            console.print(f"Written: {escape(str(write_comparison(target, models, found, compared)))}")
            return
        _print_scores(found[0], split)
        name = " and ".join(model.resolve().parent.name for model in models)
        command = shlex.join(["limner", *sys.argv[1:]])
        often = max((count for count in times if count), default=None)
        report = Test(name, split, found[0], chosen, predictors[0], descriptions, command, tolerance, often, columns, curve_of(models[0]))
        page = write_report(target, report, _bar("drawing"))
        if often and often > 1 and split == "test":
            complaints.print(f"note: this split was scored {often} times with this model. What was decided by looking at earlier scores makes them too high.")
        console.print(f"Look at [bold]{escape(str(page))}[/]; scores.csv and report.json beside it hold the same for a program.")


@app.command()
def predict(
    paths: Annotated[list[str], typer.Argument(metavar="MODEL... IMAGES", help="a model or several, then an image, a folder or its URL", show_default=False)],
    out: Annotated[str, typer.Option("--out", "-o", help="a new folder for the masks, or its URL, such as s3://bucket/masks")] = "predictions",
    tta: Annotated[str | None, typer.Option(help=TTA)] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps")] = "cpu",
    engine: Annotated[str, typer.Option(help="local, or ray: the workers of a Ray cluster")] = "local",
    workers: Annotated[int, typer.Option(min=1, help="of --engine ray")] = 2,
) -> None:
    """Segment new images: a mask and a map of uncertainty at each image's size, a predicted Dice, and a picture; several models as one.

    Stopped, the same command goes on from where it was.
    """
    with _friendly():
        from limner.data.parallel import in_order
        from limner.data.places import Local, place
        from limner.inference.folder_predictions import Spread, predict_folder
        from limner.inference.predictor import Predictor

        *models, images = paths
        if not models:
            raise LimnerError("there must be a model, or several, and after them an image or a folder of images.")
        if engine not in {"local", "ray"}:
            raise LimnerError(f"--engine {engine} is not known. Choose local or ray.")
        files = [Path(model) for model in models]
        spread: Spread = in_order
        if engine == "ray":
            from limner.inference.on_ray import spread_on_ray

            spread = spread_on_ray(files, tta, workers, device)
        predictor = Predictor.load(*files, device=device, tta=tta)
        source, names = place(images), list[str]()
        if isinstance(source, Local) and not source.root.is_dir():
            if not source.root.exists():
                raise LimnerError(f"{images} is not there. Give an image or a folder of images.")
            source, names = Local(source.root.parent), [source.root.name]
        known = {str(model.resolve()): sha256_of(model) for model in files}
        done = predict_folder(predictor, source, names or source.images(), place(out), known, _bar("predicting"), spread)
        written, failures = done.records, done.failures
        if done.before:
            console.print(f"{done.before} files were done before; this went on from there.")
        console.print(f"{len(written)} masks are in [bold]{escape(out)}[/]; look at {escape(out.rstrip('/'))}/overview.jpg.")
        if written and written[0]["predicted_dice"] is not None:
            console.print("Lowest predicted Dice: " + ", ".join(f"{escape(row['mask'])} ({row['predicted_dice']:.2f})" for row in written[:5]))
        if unusual := [row["mask"] for row in written if row["unusual"]]:
            complaints.print(f"[yellow]unlike the training images:[/] {escape(_some(unusual))}")
        if partial := [row["mask"] for row in written if "left_out" in row]:
            complaints.print(f"note: too large for post-processing, which was left out: {escape(_some(partial))}")
        for failure in failures:
            complaints.print(f"[red]not predicted:[/] {escape(failure)}")
        if failures:
            raise typer.Exit(1)


@app.command()
def export(
    model: Annotated[Path, typer.Argument(help="the model.safetensors of a run", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="a new .onnx (ONNX Runtime), .xml (OpenVINO) or .pt2 (torch.export); beside the model by default")
    ] = None,
    precision: Annotated[str, typer.Option(help="float32, or, measured on --data: float16 (.onnx), bfloat16 (.xml) or int8")] = "float32",
    data: Annotated[Path | None, typer.Option(help="the folder of images and masks: other precisions are measured on its test split")] = None,
    images: Annotated[Path | None, typer.Option(help="a folder of images for the proof that both draw the same masks; drawn ones by default")] = None,
) -> None:
    """Write a portable model for use without torch; refused unless it draws the same masks as the original."""
    with _friendly():
        from limner.data.folder import image_files, scan
        from limner.data.images import read_image
        from limner.inference.export import export as write
        from limner.inference.export import export_smaller
        from limner.model.bundle import Bundle

        target = out or model.with_name("model.onnx" if precision == "float32" else f"model-{precision}.{'xml' if precision == 'bfloat16' else 'onnx'}")
        if precision == "float32":
            shown = [] if images is None else [images] if images.is_file() else image_files(images)
            if images is not None and not shown:
                raise LimnerError(f"{images} holds no image for the proof. Give a folder of images with --images, or leave it out.")
            parity = write(model, target, [read_image(path) for path in shown[:PROOF]])
            console.print(
                f"[bold]{escape(str(target))}[/] draws the same masks: {parity.changed} of {parity.pixels:,} pixels of {parity.images} images differ, "
                f"probabilities by {parity.difference:.1g} at most."
            )
            return
        if data is None:
            raise LimnerError(f"--precision {precision} changes masks: give the folder of images and masks with --data, so that it can be measured how much.")
        from limner.data.splits import recorded

        sides = recorded(scan(data).samples, Bundle.load(model).split)
        change = export_smaller(model, target, precision, sides["train"], (sides["test"] or sides["val"])[:MEASURED])
        ends = f"{change.interval[0]:+.4f} to {change.interval[1]:+.4f}"
        console.print(
            f"[bold]{escape(str(target))}[/]: mean Dice {change.before:.4f} in float32, changed by [bold]{change.difference:+.4f}[/] (95 % {ends}) "
            f"on {change.images} images; {change.changed:.2%} of the mask pixels differ; {change.speed:.2f} times the speed of float32 on this machine."
        )


@app.command()
def serve(
    models: Annotated[
        list[str], typer.Argument(metavar="[NAME=]MODEL...", help="model.onnx (or model.safetensors, which is exported first)", show_default=False)
    ],
    host: Annotated[str, typer.Option(help="the address to listen on; one that others reach needs a token")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8000,
    token: Annotated[str | None, typer.Option(envvar="LIMNER_TOKEN", help="what callers must know; better in the environment than on the command line")] = None,
    allow_host: Annotated[list[str] | None, typer.Option(help="another name that the service is called by, such as that of a proxy")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="requests worked on at once; as many as cores by default")] = None,
    queue: Annotated[int, typer.Option(min=0, help="requests that may wait; others are answered 503 at once")] = 64,
    max_megapixels: Annotated[float, typer.Option(min=0.01, help="of an image")] = 50,
    max_megabytes: Annotated[float, typer.Option(min=0.01, help="of a body")] = 50,
    deadline: Annotated[float, typer.Option(min=0.1, help="seconds in which a request's turn must have come")] = 30,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
) -> None:
    """Answer images with masks over HTTP, on this machine alone unless told otherwise; torch is not needed.

    SIGTERM ends what was begun and stops; SIGHUP takes up what the models' files hold now.
    """
    with _friendly():
        try:
            from limner.web.access import Access
            from limner.web.app import create_app
            from limner.web.intake import Limits
            from limner.web.queue import Queue
            from limner.web.server import serve as run
            from limner.web.shelf import Shelf, named
        except ImportError as error:
            raise LimnerError(f"serving needs {error.name}, which is not installed: pip install 'limner[serve]'.") from error

        access = Access.of(host, token, allow_host or ())
        shelf, cores = Shelf(named(models), device, exported=_portable), workers or os.cpu_count() or 1
        limits = Limits(int(max_megabytes * 1e6), int(max_megapixels * 1e6), deadline_s=deadline)
        application = create_app(shelf, Queue(cores, queue), access, limits)

        def announce(address: str) -> None:
            served = ", ".join(f"{one.name} ({one.version})" for one in shelf.all())
            console.print(f"Serving {escape(served)} at [bold]{address}[/] (docs: {address}docs).")
            if token:
                console.print(f"A browser is let in once by {address}?token=TOKEN; programs send Authorization: Bearer TOKEN.")

        def again(name: str) -> None:
            try:
                complaints.print(f"{name} is now {shelf.reload(name).version}.")
            except LimnerError as error:
                complaints.print(f"[red]{name} is served on as it was:[/] {escape(str(error))}")

        run(application, host, port, announce, [partial(again, name) for name in shelf.names])


def _portable(path: Path) -> Path:
    """An exported model: the given one, or one made of a model.safetensors beside it, by another process, since this one needs no torch."""
    if path.suffix in {".onnx", ".xml"}:
        return path
    from limner.inference.engines import read_export

    target = path.with_suffix(".onnx")
    if not target.exists():
        console.print(f"exporting {escape(str(path))} to {escape(target.name)}")
        done = subprocess.run([sys.executable, "-m", "limner", "export", path, "--out", target], capture_output=True, text=True)
        if done.returncode:
            raise LimnerError(done.stderr.strip().removeprefix("error: ") or f"{path} could not be exported.")
    elif read_export(target)[2].get("source_sha256") != sha256_of(path):
        raise LimnerError(f"{target} was not exported from what {path} is now, and would be served in its place. Remove it, or name it to serve it as it is.")
    return target


@app.command()
def review(
    predictions: Annotated[Path, typer.Argument(help="what limner predict wrote, or a folder of images and masks of another tool", show_default=False)],
    host: Annotated[str, typer.Option(help="the address to listen on; one that others reach needs --reviewers")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8010,
    reviewer: Annotated[str | None, typer.Option(help="who you are; your name on this machine by default")] = None,
    reviewers: Annotated[Path | None, typer.Option(help='a TOML file of names and tokens, such as anna = "...", for a team')] = None,
    allow_host: Annotated[list[str] | None, typer.Option(help="another name that the page is called by, such as that of a proxy")] = None,
    store: Annotated[
        str | None, typer.Option(envvar="LIMNER_STORE", help="postgresql://user:password@host/name; a file beside the predictions by default")
    ] = None,
    order: Annotated[str, typer.Option(help="predicted: those that are least certain first; or random")] = "predicted",
    twice: Annotated[float, typer.Option(min=0, max=1, help="the share of the images that two people look at")] = 0.0,
    seed: Annotated[int, typer.Option(help="of a random order, of the audited tenth and of those seen twice")] = 0,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="open the page in a browser")] = True,
) -> None:
    """Check, mend and accept masks in a browser: the least certain first, every stroke saved; no model is needed."""
    with _friendly():
        try:
            from limner.review.desk import Desk
            from limner.review.folder import read_predictions
            from limner.review.queue import ordered
            from limner.review.store import Store
            from limner.web.access import Access, read_callers
            from limner.web.review import create_review
            from limner.web.server import serve as run
        except ImportError as error:
            raise LimnerError(f"the review needs {error.name}, which is not installed: pip install 'limner[review]'.") from error

        access = Access.for_team(host, read_callers(reviewers) if reviewers else {}, allow_host or ())
        found = read_predictions(predictions, _bar("reading"))
        desk = Desk(found, ordered(found.entries, seed, twice, order), Store(store) if store else Store.beside(predictions / "review"))

        def announce(address: str) -> None:
            left = desk.progress().left
            console.print(f"{left} of {len(desk.tasks)} masks are left to review at [bold]{address}[/] (Ctrl+C ends it; everything is saved).")
            if access.tokens:
                console.print(f"Each reviewer is let in once by {address}?token=TOKEN.")
            elif open_page:
                threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()  # one in the terminal is waited for

        run(create_review(desk, reviewer or ("" if access.tokens else _own_name()), access), host, port, announce)


def _own_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise LimnerError("this machine has no name for you. Say who you are with --reviewer NAME.") from error


@app.command()
def merge(
    predictions: Annotated[Path, typer.Argument(help="what was reviewed", show_default=False)],
    data: Annotated[Path, typer.Argument(help="the folder of images and masks that it is added to; it stays as it is", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="the new folder: the next revision", show_default=False)],
    prefer: Annotated[str | None, typer.Option(help="whose verdict counts where two reviewers differ")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="reviewed masks take the place of those of the same images")] = False,
    store: Annotated[str | None, typer.Option(envvar="LIMNER_STORE", help="the review's database, where it is not beside the predictions")] = None,
) -> None:
    """Make accepted and mended masks the next revision of a dataset; every mask in it tells where it is from.

    Conflicts and images that were changed since are errors, all told together. Go on with: limner train NEW --from RUN
    """
    with _friendly():
        found, memory = _reviewed(predictions, store)
        from limner.review.merge import PROVENANCE
        from limner.review.merge import merge as write

        merged = write(found, memory, data, out, prefer=prefer, replacing=replace, progress=_bar("checking"))
        console.print(
            f"[bold]{escape(str(out))}[/] has the {merged.before} samples of {escape(str(data))} and {merged.added} new ones; {merged.replaced} masks were "
            f"reviewed anew. {merged.rejected} were rejected, {merged.left} are not reviewed yet. {PROVENANCE} says where each is from."
        )
        if merged.agreement:
            console.print(
                f"{len(merged.agreement)} masks were kept by two people each; the Dice between the two is {sum(merged.agreement) / len(merged.agreement):.4f} "
                f"in the mean and {min(merged.agreement):.4f} at the least."
            )


@app.command()
def masks(
    predictions: Annotated[Path, typer.Argument(help="what was reviewed", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="a new folder", show_default=False)],
    form: Annotated[str, typer.Option("--format", help="png, coco (run lengths), label-studio (brush), cvat (Segmentation mask 1.1) or nnunet")] = "png",
    prefer: Annotated[str | None, typer.Option(help="whose verdict counts where two reviewers differ")] = None,
    store: Annotated[str | None, typer.Option(envvar="LIMNER_STORE", help="the review's database, where it is not beside the predictions")] = None,
) -> None:
    """Write accepted and mended masks as other tools read them."""
    with _friendly():
        found, memory = _reviewed(predictions, store)
        from limner.review.formats import write_masks

        count = write_masks(found, memory, out, form, prefer)
        console.print(f"{count} masks are in [bold]{escape(str(out))}[/].")


def _reviewed(predictions: Path, store: str | None) -> "tuple[Predictions, Store]":
    """A folder that was reviewed, and the review's memory. Raises LimnerError where it was not."""
    try:
        from limner.review.folder import read_predictions
        from limner.review.store import Store
    except ImportError as error:
        raise LimnerError(f"the review needs {error.name}, which is not installed: pip install 'limner[review]'.") from error

    found = read_predictions(predictions, _bar("reading"))
    if store is None and not (predictions / "review").is_dir():
        raise LimnerError(f"{predictions} was not reviewed. Begin with: limner review {predictions}")
    return found, Store(store) if store else Store.beside(predictions / "review")


@app.command()
def loop(
    data: DataFolder,
    budget: Annotated[int, typer.Option(min=1, help="corrections in all")] = 200,
    rounds: Annotated[int, typer.Option(min=1, help="trainings into which they are parted")] = 4,
    order: Annotated[list[str] | None, typer.Option(help="predicted (lowest predicted Dice first) or random; both by default")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="how often all is done, each time with other first labels")] = 3,
    minutes: Annotated[float | None, typer.Option(help="of each training; by default the plan's length, or --set train.epochs=30")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="override one key of the recipe; may be repeated")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="a new folder for all that is trained")] = Path("loop"),
) -> None:
    """Measure what the order of review is worth: a simulated reviewer, the hidden truth, corrects masks, and a model is trained after each round."""
    with _friendly():
        from limner.recipe import load_recipe
        from limner.training import simulation

        orders = list(dict.fromkeys(order or simulation.ORDERS))
        recipe = load_recipe(None, [*(settings or []), *([f"train.minutes={minutes}"] if minutes else [])])
        points = []
        for point in simulation.simulate(data, out, recipe, budget=budget, rounds=rounds, seeds=range(seeds), orders=orders, progress=_bar):
            points.append(point)
            simulation.write(out, points)
            console.print(f"seed {point.seed}, {point.order}: {point.corrections} corrections, test Dice {point.mean:.4f}")
        found = simulation.rows(points)
        table = Table("corrections", *(Column(one, justify="right") for one in orders), Column("gain", justify="right"), "95 %", box=None, pad_edge=False)
        for row in found:
            ends = "" if row.interval is None else f"{row.interval[0]:+.4f} to {row.interval[1]:+.4f}"
            table.add_row(str(row.corrections), *(f"{row.means[one]:.4f}" for one in orders), "" if row.gain is None else f"{row.gain:+.4f}", ends)
        console.print(table)
        reached = min(found[-1].means[one] for one in orders)
        for one in orders:
            count = simulation.needed(found, one, reached)
            console.print(f"{one}: {'more than there were' if count is None else f'{count:.0f}'} corrections for a Dice of {reached:.4f}")
        console.print(f"All of it is in {escape(str(out / 'loop.json'))}.")


@app.command()
def submit(
    paths: Annotated[list[Path], typer.Argument(metavar="MODEL... IMAGES", help="a model or several, then the challenge's images", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="a new zip")] = Path("submission.zip"),
    challenge: Annotated[str, typer.Option(help="whose rules hold: isic2018 (Task 1)")] = "isic2018",
    tta: Annotated[str | None, typer.Option(help=TTA)] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps")] = "cpu",
) -> None:
    """Write a challenge's submission, checked as its scorer reads it before it is written."""
    with _friendly():
        from limner.inference.predictor import Predictor
        from limner.inference.submission import submit as write

        *models, images = paths
        if not models:
            raise LimnerError("there must be a model, or several, and after them the folder of the challenge's images.")
        count, empty = write(Predictor.load(*models, device=device, tta=tta), images, out, challenge, _bar("predicting"))
        console.print(f"[bold]{escape(str(out))}[/] holds {count} masks, checked as the scorer of {challenge} reads them.")
        if empty:
            complaints.print(f"note: {len(empty)} masks were empty, and hold the most probable pixels instead: {_some(empty)}")


def _samples_of(split: str, models: "Sequence[Description]", samples: "Sequence[Sample]", data: Path) -> "list[Sample]":
    """The samples of a split as the models know it. Raises LimnerError where there are none, or where one model was trained on another's."""
    from limner.data.splits import recorded

    sides, *others = (recorded(samples, model.split) for model in models)
    if split not in {"all", *sides}:
        raise LimnerError(f"--split {split} is no split. Choose {', '.join(sides)} or all.")
    if split != "new" and sides["new"]:
        complaints.print(f"note: {len(sides['new'])} images were not there when the model was trained, and are in no split. --split new scores them.")
    chosen = [sample for name, side in sides.items() for sample in side if split in {"all", name}]
    if not chosen:
        there = ", ".join(f"{name} ({len(side)})" for name, side in sides.items() if side)
        raise LimnerError(f"{data} has no {split} split. There are {there}; note that val chose the best epoch. Say --split val, for example.")
    for other in others:
        seen = {sample.id for name in ("train", "val") for sample in other.get(name, [])}
        if split in {"test", "new"} and (known := [sample.id for sample in chosen if sample.id in seen]):
            raise LimnerError(
                f"{len(known)} images of {split}, such as {known[0]}, were among the training or validation images of another of the models. "
                "Compare models of one split: train both on the same folder with the same data.split_seed."
            )
    return chosen


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


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


def _print_comparison(compared: "Sequence[Comparison]", models: Sequence[Path], images: int, split: str) -> None:
    first, second = (escape(model.resolve().parent.name) for model in models)
    table = Table("mean", first, second, "difference", "95 % interval", "won", "lost", "same", box=None, pad_edge=False)
    for one in compared:
        sure = one.interval[0] > 0 or one.interval[1] < 0
        cells = f"{one.first:.4f}", f"{one.second:.4f}", f"{one.difference:+.4f}", f"{one.interval[0]:+.4f} to {one.interval[1]:+.4f}"
        table.add_row(one.name.replace("_", " "), *(f"[bold]{cell}[/]" if sure else cell for cell in cells), str(one.won), str(one.lost), str(one.same))
    console.print(f"{images} images of {split}; the difference is the second less the first, bold where its interval leaves out 0.")
    console.print(table)


def _print_scores(scores: "Scores", split: str) -> None:
    titles = {
        "dice": "Dice",
        "jaccard": "Jaccard",
        "thresholded_jaccard": f"Jaccard, 0 below {scores.jaccard_threshold:g}",
        "hausdorff_95_px": "95 % Hausdorff, px",
        "surface_distance_px": "surface distance, px",
    }
    table = Table(
        "", "mean over images", "95 % interval", "pooled pixels", box=None, pad_edge=False, title=f"{len(scores.ids)} images of {split}", title_justify="left"
    )
    for name, one in scores.summary().items():
        digits = 2 if name.endswith("_px") else 4
        mean, pooled = (("" if value is None else f"{value:.{digits}f}") for value in (one.mean, one.pooled))
        ends = f"{one.interval[0]:.{digits - 1}f} to {one.interval[1]:.{digits - 1}f}"
        table.add_row(titles.get(name, name.replace("_", " ")), f"[bold]{mean}[/]" if name == "dice" else mean, ends, pooled)
    console.print(table)
    per_class = {name: row["dice"] for name, row in scores.per_class().items()}
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
        _fail("there is not enough memory. Close other programs; for training, lower train.batch_size or data.size_px with --set.")
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
