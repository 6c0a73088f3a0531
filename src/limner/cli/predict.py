"""`limner predict`: segment new images."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from limner.cli.console import (
    Device,
    Tta,
    console,
    next_command,
    progress_bar,
    split_models,
    stderr,
)
from limner.cli.masks import FORMATS, ImagePrefix, print_lost
from limner.cli.measure import measure as measure_folder
from limner.cli.precision import MAX_CHANGE, MaxChange, MeasuredOn, Precision, precision_limits
from limner.errors import LimnerError
from limner.files import read_stable, require_own_folder
from limner.name_list import list_some
from limner.operating_system import keep_memory
from limner.plurals import count_noun

if TYPE_CHECKING:
    from limner.inference.batch import BatchResult, MapFiles
    from limner.inference.image_selection import ImageSelection
    from limner.inference.predictor import Predictor
    from limner.inference.reduced_precision import PrecisionLimits

MANY_IMAGES = 4
"""Images for each core, from which on each core has an image of its own."""
MARKER = ".limner-format"
"""A file in a folder of another format, by which a later call knows that it may replace it."""
MEASURES = "measures"
FAILURES_SHOWN = 20
"""Files without a mask on the terminal; predictions.json names them all."""


Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL... IMAGES",
        help="a model or the folder of its run, or several; then images, a folder, a pattern "
        "such as 'photos/*.png', or a URL",
        show_default=False,
    ),
]
OutFolder = Annotated[
    str,
    typer.Option(
        "--out",
        "-o",
        help="a folder for the masks, new or of the same command, or its URL, such as "
        "s3://bucket/masks",
    ),
]
Engine = Annotated[str, typer.Option(help="local, or ray: the workers of a Ray cluster")]
Threshold = Annotated[
    float | None,
    typer.Option(
        help="Where a pixel is of the class, by its probability, from 0 to 1. The default is what "
        "validation chose.",
        show_default=False,
    ),
]
Workers = Annotated[
    int, typer.Option(min=1, help="How many workers of the cluster --engine ray uses.")
]
AlsoFormat = Annotated[
    str | None,
    typer.Option(
        "--format", help=f"Write the masks in another format too, into OUT-FORMAT: {FORMATS}."
    ),
]
KnownImages = Annotated[
    Path | None,
    typer.Option(
        "--except",
        help="A dataset whose images are left out, wherever they lie: those that have masks.",
        show_default=False,
    ),
]
AlsoMeasure = Annotated[
    bool,
    typer.Option(
        "--measure", help="Measure the parts too, into OUT-measures, as limner measure does."
    ),
]


def predict(
    paths: Paths,
    out: OutFolder = "predictions",
    tta: Tta = None,
    threshold: Threshold = None,
    device: Device = "cpu",
    engine: Engine = "local",
    workers: Workers = 2,
    known: KnownImages = None,
    format_name: AlsoFormat = None,
    image_prefix: ImagePrefix = "",
    measure: AlsoMeasure = False,
    precision: Precision = "float32",
    data: MeasuredOn = None,
    max_change: MaxChange = MAX_CHANGE,
) -> None:
    """Segment new images: a mask, a map of uncertainty and a predicted Dice for each.

    Masks have each image's size; overview.jpg shows them. Several models predict as one. The same
    command goes on from where it was stopped, and predicts what was mended or added since.
    """
    from limner.data.storage import Storage
    from limner.inference.batch import predict_folder
    from limner.inference.engines import load_model
    from limner.inference.image_selection import ImageSelection
    from limner.inference.prediction_job import PredictionJob

    keep_memory()
    _require_writable(out, format_name, measure)
    models, images = split_models(paths, "an image or a folder of images", urls=True)
    if engine not in {"local", "ray"}:
        raise LimnerError(f"--engine {engine} is not known. Choose local or ray.")
    here = device == "cpu" and engine == "local"
    limits = precision_limits(precision, data, max_change, models[0], on_processor=here)
    for path in models:
        if not path.is_file():
            # It says what is expected, before the images are looked for
            load_model(path)
    selection = _leave_out(ImageSelection.from_paths(images), known)
    (map_files, predictor), checksums = read_stable(
        models,
        lambda: (
            _open_on_ray(models, tta, device, workers)
            if engine == "ray"
            else _open(models, tta, device, limits, len(selection.names))
        ),
    )
    predictor = _with_threshold(predictor, threshold, engine)
    if predictor.blends_tiles:
        stderr.print(
            "note: the network looks at a whole image at once (a norm or an attention over it), "
            "so its tiles are not exact: they are blended."
        )
    selection = selection.with_channels(predictor.channel_files)
    versions = {str(path.resolve()): sha for path, sha in zip(models, checksums, strict=True)}
    job = replace(PredictionJob.plan(selection, Storage(out), versions), precision=precision)
    result = predict_folder(predictor, job, progress_bar("predicting"), map_files)
    _print_result(result, out)
    if result.records:
        _write_more(out, format_name, image_prefix, measure=measure)
    if result.failures:
        raise typer.Exit(1)


def _with_threshold(predictor: "Predictor", threshold: float | None, engine: str) -> "Predictor":
    """The predictor with the threshold that was asked for, if any."""
    if threshold is None:
        return predictor
    if engine == "ray":
        raise LimnerError("--threshold is for --engine local. Leave one of them out.")
    return predictor.with_threshold(threshold)


def _leave_out(selection: "ImageSelection", known: Path | None) -> "ImageSelection":
    """Leave out the images of a dataset, and say how many."""
    if known is None:
        return selection
    from limner.data.scan import scan

    images = {sample.image for sample in scan(known).samples if sample.image.is_file()}
    rest = selection.without(images)
    left_out = len(selection.names) - len(rest.names)
    if left_out and not rest.names:
        raise LimnerError(f"all {left_out} images are in {known}: none is left to predict.")
    stderr.print(
        f"{count_noun(left_out, 'image is', 'images are')} in {escape(str(known))} and left out."
    )
    return rest


def _require_writable(out: str, format_name: str | None, measure: bool) -> None:
    """Check what is asked beside the masks before hours are spent on them."""
    if not format_name and not measure:
        return
    from limner.measures.measure import PAGE
    from limner.review.formats.write import require_format

    if "://" in out:
        raise LimnerError(
            "--format and --measure write on this machine, and --out is a URL. Predict into a "
            "folder, or leave them out."
        )
    if format_name:
        require_format(format_name)
        require_own_folder(_beside(out, format_name), MARKER)
    if measure:
        require_own_folder(_beside(out, MEASURES), PAGE)


def _beside(out: str, what: str) -> Path:
    """The folder of what else is made of the masks."""
    folder = Path(out)
    return folder.with_name(f"{folder.name}-{what}")


def _write_more(out: str, format_name: str | None, image_prefix: str, *, measure: bool) -> None:
    """Write what is asked for beside the masks, and say the next command."""
    if format_name:
        _write_format(out, format_name, image_prefix)
    if measure:
        measure_folder(Path(out), _beside(out, MEASURES))
    if "://" not in out:
        console.print(f"Next: {next_command('review', out)}", soft_wrap=True)


def _write_format(out: str, format_name: str, image_prefix: str) -> None:
    """Write the masks in another format, in place of those of an earlier call."""
    from limner.review.formats.write import write_predicted
    from limner.review.sources import read_predictions

    folder = _beside(out, format_name)
    if folder.exists():
        shutil.rmtree(folder)
    print_lost(write_predicted(read_predictions(Path(out)), folder, format_name, image_prefix))
    (folder / MARKER).touch()
    console.print(f"They are in [bold]{escape(str(folder))}[/] in the format {format_name} too.")


def _open(
    models: Sequence[Path],
    tta: str | None,
    device: str,
    limits: "PrecisionLimits | None",
    images: int,
) -> "tuple[MapFiles, Predictor]":
    """What predicts the files in threads of this process, and the predictor."""
    from limner.data.parallel import map_in_order
    from limner.inference.predictor import Predictor

    if device != "cpu":
        return map_in_order, Predictor.load(*models, device=device, tta=tta)
    from limner.inference.engine_choice import load_fastest

    cores = os.cpu_count() or 1
    # Of few images each has all cores, of many each has one
    few = images < MANY_IMAGES * cores
    callers = 1 if few else cores
    say = partial(stderr.print, markup=False, soft_wrap=True)
    loaded = [load_fastest(path, callers, say, limits, few=few) for path in models]
    # While one image is in the network the next is read
    threads = partial(map_in_order, threads=max(2, callers))
    return threads, Predictor.from_models(*loaded, tta=tta)


def _open_on_ray(
    models: Sequence[Path], tta: str | None, device: str, workers: int
) -> "tuple[MapFiles, Predictor]":
    """What spreads the files over the workers of a cluster, and the predictor."""
    from limner.inference.predictor import Predictor
    from limner.inference.ray_data import map_on_ray

    on_ray = map_on_ray(models, tta, workers, device)
    return on_ray, Predictor.load(*models, device=device, tta=tta)


def _print_result(result: "BatchResult", out: str) -> None:
    """How many masks there are, the least certain, the unusual ones, and what failed."""
    records, folder = result.records, escape(out.rstrip("/"))
    if result.resumed:
        console.print(
            f"{count_noun(result.resumed, 'file was', 'files were')} done before; this went on "
            "from there."
        )
    where = f"{count_noun(len(records), 'mask is', 'masks are')} in [bold]{escape(out)}[/]"
    console.print(f"{where}; look at {folder}/overview.jpg." if records else f"{where}.")
    lowest = [
        f"{escape(record.mask)} ({record.predicted_dice:.2f})"
        for record in records[:5]
        if record.predicted_dice is not None
    ]
    if lowest:
        console.print("Lowest predicted Dice: " + ", ".join(lowest))
    if unusual := [record.mask for record in records if record.unusual]:
        stderr.print(f"[yellow]unlike the training images:[/] {escape(list_some(unusual))}")
    if partial := [record.mask for record in records if record.left_out]:
        stderr.print(
            f"note: too large for post-processing, which was left out: {escape(list_some(partial))}"
        )
    if gone := result.images_gone:
        stderr.print(
            f"note: {count_noun(len(gone), 'image that was', 'images that were')} predicted "
            f"before and {'is' if len(gone) == 1 else 'are'} gone: "
            f"{escape(list_some(gone))}. Their masks stay; predictions.json lists the images under "
            "images_gone."
        )
    if result.failures:
        stderr.print(f"{count_noun(len(result.failures), 'file has', 'files have')} no mask:")
    for failure in result.failures[:FAILURES_SHOWN]:
        stderr.print(f"[red]not predicted:[/] {escape(failure)}")
    if (more := len(result.failures) - FAILURES_SHOWN) > 0:
        stderr.print(f"and {more} more, which predictions.json lists under failed.")
