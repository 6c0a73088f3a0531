"""`limner test` and `limner submit`."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from limner.cli.console import TTA, console, list_some, progress_bar, report_errors, stderr
from limner.errors import LimnerError

if TYPE_CHECKING:
    from limner.data.sample import Sample
    from limner.inference.evaluate import Comparison, Scores
    from limner.model.metadata import ModelMetadata


def test(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL... DATA",
            help="the model.safetensors of a run, or several, then the folder",
            show_default=False,
        ),
    ],
    split: Annotated[
        str,
        typer.Option(help="train, val, test, new (not there when the model was trained), or all"),
    ] = "test",
    tta: Annotated[str | None, typer.Option(help=TTA)] = None,
    ensemble: Annotated[
        bool,
        typer.Option(
            "--ensemble", help="score the models as one that takes the mean of their probabilities"
        ),
    ] = False,
    metadata: Annotated[
        Path | None,
        typer.Option(help="a CSV with a column image and others, by which the scores are sliced"),
    ] = None,
    tolerance: Annotated[float, typer.Option(min=0, help="of the surface Dice, in px")] = 2.0,
    jaccard_threshold: Annotated[
        float,
        typer.Option(min=0, max=1, help="below it a Jaccard counts as 0 in its thresholded mean"),
    ] = 0.65,
    out: Annotated[
        Path | None,
        typer.Option(
            help="the folder of the report; report or report-SPLIT beside the model by default"
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps")] = "cpu",
) -> None:
    """Score a model on a split at the masks' own size, with 95 % intervals, and write a report; of
    two models, compare them image by image.
    """
    with report_errors():
        from limner.data.scan import scan
        from limner.inference.engines import load_model
        from limner.inference.evaluate import Scores, compare_models, iter_scores
        from limner.inference.predictor import Predictor
        from limner.inference.report import (
            COMPARISON,
            REPORT,
            ReportData,
            require_free,
            write_comparison,
            write_report,
        )
        from limner.inference.subgroups import read_metadata
        from limner.training.run import count_test, learning_curve_svg

        *models, data = paths
        if not models or (len(models) > 2 and not ensemble):
            raise LimnerError(
                "there must be one model, two to compare, or several with --ensemble, and "
                "after them the folder of images and masks."
            )
        opened, dataset = [load_model(model, device) for model in models], scan(data)
        descriptions = [model.metadata for model in opened]
        chosen = _samples_of(split, descriptions, dataset.samples, data)
        as_one = ensemble or len(opened) == 1
        predictors = (
            [Predictor.from_models(*opened, tta=tta)]
            if as_one
            else [Predictor.from_models(model, tta=tta) for model in opened]
        )
        columns = read_metadata(metadata, dataset, chosen) if metadata else {}
        named = (
            ("report" if split == "test" else f"report-{split}")
            if as_one
            else f"comparison-{split}"
        )
        target = out or models[0 if as_one else 1].parent / named
        require_free(target, REPORT if as_one else COMPARISON)
        found = []
        for predictor in predictors:
            rows = list(
                progress_bar("scoring")(iter_scores(predictor, chosen, tolerance), len(chosen))
            )
            found.append(Scores.from_images(rows, predictor.labels, jaccard_threshold))
        times = [count_test(model, split) for model in models]
        if not as_one:
            compared = compare_models(*found)
            _print_comparison(compared, models, len(chosen), split)
            console.print(
                f"Written: {escape(str(write_comparison(target, models, found, compared)))}"
            )
            return
        _print_scores(found[0], split)
        name = " and ".join(model.resolve().parent.name for model in models)
        command = shlex.join(["limner", *sys.argv[1:]])
        often = max((count for count in times if count), default=None)
        report = ReportData(
            name,
            split,
            found[0],
            chosen,
            predictors[0],
            descriptions,
            command,
            tolerance,
            often,
            columns,
            learning_curve_svg(models[0]),
        )
        page = write_report(target, report, progress_bar("drawing"))
        if often and often > 1 and split == "test":
            stderr.print(
                f"note: this split was scored {often} times with this model. What was decided "
                "by looking at earlier scores makes them too high."
            )
        console.print(
            f"Look at [bold]{escape(str(page))}[/]; scores.csv and report.json beside it hold "
            "the same for a program."
        )


def submit(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL... IMAGES",
            help="a model or several, then the challenge's images",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="a new zip")] = Path("submission.zip"),
    challenge: Annotated[
        str, typer.Option(help="whose rules hold: isic2018 (Task 1)")
    ] = "isic2018",
    tta: Annotated[str | None, typer.Option(help=TTA)] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps")] = "cpu",
) -> None:
    """Write a challenge's submission, checked as its scorer reads it before it is written."""
    with report_errors():
        from limner.inference.predictor import Predictor
        from limner.inference.submission import write_submission

        *models, images = paths
        if not models:
            raise LimnerError(
                "there must be a model, or several, and after them the folder of the "
                "challenge's images."
            )
        count, empty = write_submission(
            Predictor.load(*models, device=device, tta=tta),
            images,
            out,
            challenge,
            progress_bar("predicting"),
        )
        console.print(
            f"[bold]{escape(str(out))}[/] holds {count} masks, checked as the scorer of "
            f"{challenge} reads them."
        )
        if empty:
            stderr.print(
                f"note: {len(empty)} masks were empty, and hold the most probable pixels "
                f"instead: {list_some(empty)}"
            )


def _samples_of(
    split: str, models: "Sequence[ModelMetadata]", samples: "Sequence[Sample]", data: Path
) -> "list[Sample]":
    """The samples of a split as the models know it. Raises LimnerError where there are none, or
    where one model was trained on another's.
    """
    from limner.data.splits import apply_split

    sides, *others = (apply_split(samples, model.split) for model in models)
    if split not in {"all", *sides}:
        raise LimnerError(f"--split {split} is no split. Choose {', '.join(sides)} or all.")
    if split != "new" and sides["new"]:
        stderr.print(
            f"note: {len(sides['new'])} images were not there when the model was trained, and "
            "are in no split. --split new scores them."
        )
    chosen = [sample for name, side in sides.items() for sample in side if split in {"all", name}]
    if not chosen:
        there = ", ".join(f"{name} ({len(side)})" for name, side in sides.items() if side)
        raise LimnerError(
            f"{data} has no {split} split. There are {there}; note that val chose the best "
            "epoch. Say --split val, for example."
        )
    for other in others:
        seen = {sample.id for name in ("train", "val") for sample in other.get(name, [])}
        if split in {"test", "new"} and (
            known := [sample.id for sample in chosen if sample.id in seen]
        ):
            raise LimnerError(
                f"{len(known)} images of {split}, such as {known[0]}, were among the training or validation images of another of the models. "
                "Compare models of one split: train both on the same folder with the same "
                "data.split_seed."
            )
    return chosen


def _print_comparison(
    compared: "Sequence[Comparison]", models: Sequence[Path], images: int, split: str
) -> None:
    first, second = (escape(model.resolve().parent.name) for model in models)
    table = Table(
        "mean",
        first,
        second,
        "difference",
        "95 % interval",
        "won",
        "lost",
        "same",
        box=None,
        pad_edge=False,
    )
    for one in compared:
        sure = one.interval[0] > 0 or one.interval[1] < 0
        cells = (
            f"{one.first:.4f}",
            f"{one.second:.4f}",
            f"{one.difference:+.4f}",
            f"{one.interval[0]:+.4f} to {one.interval[1]:+.4f}",
        )
        table.add_row(
            one.name.replace("_", " "),
            *(f"[bold]{cell}[/]" if sure else cell for cell in cells),
            str(one.won),
            str(one.lost),
            str(one.same),
        )
    console.print(
        f"{images} images of {split}; the difference is the second less the first, bold where "
        "its interval leaves out 0."
    )
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
        "",
        "mean over images",
        "95 % interval",
        "pooled pixels",
        box=None,
        pad_edge=False,
        title=f"{len(scores.ids)} images of {split}",
        title_justify="left",
    )
    for name, one in scores.summary().items():
        digits = 2 if name.endswith("_px") else 4
        mean, pooled = (
            ("" if value is None else f"{value:.{digits}f}") for value in (one.mean, one.pooled)
        )
        ends = f"{one.interval[0]:.{digits - 1}f} to {one.interval[1]:.{digits - 1}f}"
        table.add_row(
            titles.get(name, name.replace("_", " ")),
            f"[bold]{mean}[/]" if name == "dice" else mean,
            ends,
            pooled,
        )
    console.print(table)
    per_class = {name: row["dice"] for name, row in scores.per_class().items()}
    if len(per_class) > 1:
        console.print(
            "Pooled Dice by class: "
            + ", ".join(f"{escape(name)} {value:.3f}" for name, value in per_class.items())
        )
    console.print(
        "Worst images: " + ", ".join(f"{escape(id)} ({value:.3f})" for id, value in scores.worst(5))
    )
