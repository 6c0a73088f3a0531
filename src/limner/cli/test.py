"""`limner test`: score a model, or compare two."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from limner.cli.console import (
    Device,
    SkipBroken,
    Tta,
    console,
    list_some,
    progress_bar,
    split_models,
    stderr,
)
from limner.errors import LimnerError

if TYPE_CHECKING:
    from limner.data.sample import Sample
    from limner.data.scan import Dataset
    from limner.inference.engines import LoadedModel
    from limner.inference.predictor import Predictor
    from limner.inference.scores import Scores
    from limner.metrics.bootstrap import PairedDifference

Paths = Annotated[
    list[Path],
    typer.Argument(
        metavar="MODEL... DATA",
        help="the model.safetensors of a run, or several, then the folder",
        show_default=False,
    ),
]
SplitName = Annotated[
    str, typer.Option(help="train, val, test, new (not there when the model was trained), or all")
]
Ensemble = Annotated[
    bool,
    typer.Option(
        "--ensemble", help="score the models as one that takes the mean of their probabilities"
    ),
]
Metadata = Annotated[
    Path | None,
    typer.Option(help="a CSV with a column image and others, by which images are grouped"),
]
Tolerance = Annotated[float, typer.Option(min=0, help="of the surface Dice, in px")]
JaccardThreshold = Annotated[
    float, typer.Option(min=0, max=1, help="below it a Jaccard counts as 0 in its thresholded mean")
]
OutFolder = Annotated[
    Path | None,
    typer.Option(
        help="the folder of the report; report or report-SPLIT beside the model by default"
    ),
]
MODELS = "one model, two to compare, or several with --ensemble"
FOLDER = "the folder of images and masks"
TITLES = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "hausdorff_95_px": "95 % Hausdorff, px",
    "surface_distance_px": "surface distance, px",
}


def test(
    paths: Paths,
    split: SplitName = "test",
    tta: Tta = None,
    ensemble: Ensemble = False,
    metadata: Metadata = None,
    tolerance: Tolerance = 2.0,
    jaccard_threshold: JaccardThreshold = 0.65,
    out: OutFolder = None,
    device: Device = "cpu",
    skip_broken: SkipBroken = False,
) -> None:
    """Score a model on a split at the masks' own size, with 95 % intervals, and write a report.

    Two models are compared image by image.
    """
    from limner.data.scan import scan
    from limner.files import require_own_folder
    from limner.inference.engines import load_model
    from limner.inference.evaluate import evaluate
    from limner.inference.image_metadata import read_metadata
    from limner.inference.predictor import Predictor
    from limner.inference.report import COMPARISON, REPORT

    models, data = split_models(paths, FOLDER, MODELS)
    if len(models) > 2 and not ensemble:
        raise LimnerError(f"there must be {MODELS}, and after them {FOLDER}.")
    loaded, dataset = [load_model(model, device) for model in models], scan(data)
    samples = _samples_of(split, loaded, dataset)
    left_out = _pairing_problems(dataset)
    if skip_broken:
        samples, unreadable = _leave_out_broken(samples)
        left_out += unreadable
    one_report = ensemble or len(loaded) == 1
    groups = [loaded] if one_report else [[model] for model in loaded]
    predictors = [Predictor.from_models(*group, tta=tta) for group in groups]
    columns = read_metadata(metadata, dataset, samples) if metadata else {}
    target = out or _report_folder(models, split, one_report=one_report)
    require_own_folder(target, REPORT if one_report else COMPARISON)
    scores = [
        evaluate(
            predictor,
            samples,
            tolerance_px=tolerance,
            jaccard_threshold=jaccard_threshold,
            progress=progress_bar("scoring"),
        )
        for predictor in predictors
    ]
    if one_report:
        report = _Report(models, split, samples, loaded, predictors[0], tolerance, columns)
        report.write(target, scores[0], left_out)
    else:
        _compare(models, split, target, scores)


def _report_folder(models: Sequence[Path], split: str, *, one_report: bool) -> Path:
    """Where a report goes by default: beside the model, of two beside the second."""
    if not one_report:
        return models[1].parent / f"comparison-{split}"
    return models[0].parent / ("report" if split == "test" else f"report-{split}")


class _Report:
    """What was scored, to be printed and written as a report."""

    def __init__(
        self,
        models: Sequence[Path],
        split: str,
        samples: "Sequence[Sample]",
        loaded: "Sequence[LoadedModel]",
        predictor: "Predictor",
        tolerance_px: float,
        columns: dict[str, list[str]],
    ) -> None:
        self._models, self._split, self._samples, self._loaded = models, split, samples, loaded
        self._predictor, self._tolerance_px, self._columns = predictor, tolerance_px, columns

    def write(self, target: Path, scores: "Scores", left_out: Sequence[str]) -> None:
        """Count this test in the run's receipt, print the scores, and write the report."""
        from limner.inference.report import write_report
        from limner.inference.report_data import ReportData
        from limner.training.run import learning_curve_svg, record_test

        counts = [record_test(model, self._split) for model in self._models]
        times_scored = max((count for count in counts if count), default=None)
        _print_scores(scores, self._split)
        data = ReportData(
            name=" and ".join(model.resolve().parent.name for model in self._models),
            split=self._split,
            scores=scores,
            samples=self._samples,
            predictor=self._predictor,
            models=[model.metadata for model in self._loaded],
            command=shlex.join(["limner", *sys.argv[1:]]),
            tolerance_px=self._tolerance_px,
            times_scored=times_scored,
            columns=self._columns,
            curve_svg=learning_curve_svg(self._models[0]),
            left_out=left_out,
        )
        page = write_report(target, data, progress_bar("drawing"))
        if times_scored and times_scored > 1 and self._split == "test":
            stderr.print(
                f"note: this split was scored {times_scored} times with this model. What was "
                "decided by looking at earlier scores makes them too high."
            )
        console.print(
            f"Look at [bold]{escape(str(page))}[/]; scores.csv and report.json beside it hold the "
            "same for a program."
        )


def _compare(models: Sequence[Path], split: str, target: Path, scores: "Sequence[Scores]") -> None:
    """Count this test in both receipts, print and write the comparison of two models."""
    from limner.inference.report import write_comparison
    from limner.inference.scores import compare_models
    from limner.training.run import record_test

    for model in models:
        record_test(model, split)
    comparisons = compare_models(*scores)
    _print_comparison(comparisons, models, len(scores[0].ids), split)
    folder = write_comparison(target, models, scores, comparisons)
    console.print(f"Written: {escape(str(folder))}")


def _samples_of(split: str, models: "Sequence[LoadedModel]", dataset: "Dataset") -> "list[Sample]":
    """The samples of a split as the models recorded it.

    Raises LimnerError where there are none, or where one model was trained on another's.
    """
    from limner.data.split_folders import describe_splits
    from limner.data.splits import apply_split

    splits, *others = (apply_split(dataset.samples, model.metadata.split) for model in models)
    console.print(escape(describe_splits(dataset.root, splits)), soft_wrap=True)
    if split not in {"all", *splits}:
        raise LimnerError(f"--split {split} is no split. Choose {', '.join(splits)} or all.")
    if split != "new" and splits["new"]:
        stderr.print(
            f"note: {len(splits['new'])} images were not there when the model was trained, and "
            "are in no split. --split new scores them."
        )
    samples = [
        sample for name, group in splits.items() for sample in group if split in {"all", name}
    ]
    if not samples:
        there = ", ".join(f"{name} ({len(group)})" for name, group in splits.items() if group)
        raise LimnerError(
            f"{dataset.root} has no {split} split. There are {there}; note that val chose the "
            "best epoch. Say --split val, for example."
        )
    if split in {"test", "new"}:
        for other in others:
            _require_unseen(samples, split, other)
    return samples


def _pairing_problems(dataset: "Dataset") -> list[str]:
    """Print and return what is wrong with files that are in no pair, and so in no score."""
    from limner.data.broken_samples import BROKEN
    from limner.data.check_pairing import pairing_findings

    problems = [found.message for found in pairing_findings(dataset) if found.code in BROKEN]
    if problems:
        stderr.print(
            f"note: {len(problems)} problems of files that are in no pair, and are not scored: "
            f"{escape(list_some(problems))}",
            soft_wrap=True,
        )
    return problems


def _leave_out_broken(samples: "Sequence[Sample]") -> "tuple[list[Sample], list[str]]":
    """The samples that can be read, and what is wrong with the others, which is printed.

    Raises LimnerError where none can.
    """
    from limner.data.broken_samples import leave_out_unreadable

    usable = leave_out_unreadable(samples, progress_bar("reading"))
    if not usable.samples:
        raise LimnerError(f"all images of this split are broken. {usable.describe()}")
    if usable.left_out:
        stderr.print(escape(usable.describe()), soft_wrap=True)
    return list(usable.samples), list(usable.left_out)


def _require_unseen(
    samples: "Sequence[Sample]", split: str, splits: "dict[str, list[Sample]]"
) -> None:
    """Raise LimnerError where another model was trained or validated on one of the samples."""
    trained = {sample.id for name in ("train", "val") for sample in splits.get(name, [])}
    if seen := [sample.id for sample in samples if sample.id in trained]:
        raise LimnerError(
            f"{len(seen)} images of {split}, such as {seen[0]}, were among the training or "
            "validation images of another of the models. Compare models of one split: train both "
            "on the same folder with the same data.split_seed."
        )


def _print_comparison(
    comparisons: "dict[str, PairedDifference]", models: Sequence[Path], images: int, split: str
) -> None:
    first, second = (escape(model.resolve().parent.name) for model in models)
    headings = ("mean", first, second, "difference", "95 % interval", "won", "lost", "same")
    table = Table(*headings, box=None, pad_edge=False)
    for name, row in comparisons.items():
        low, high = row.interval
        cells = [f"{row.first:.4f}", f"{row.second:.4f}", f"{row.difference:+.4f}"]
        cells.append(f"{low:+.4f} to {high:+.4f}")
        if low > 0 or high < 0:
            cells = [f"[bold]{cell}[/]" for cell in cells]
        counts = map(str, (row.wins, row.losses, row.ties))
        table.add_row(name.replace("_", " "), *cells, *counts)
    console.print(
        f"{images} images of {split}; the difference is the second less the first, bold where its "
        "interval leaves out 0."
    )
    console.print(table)


def _print_scores(scores: "Scores", split: str) -> None:
    title = f"{len(scores.ids)} images of {split}"
    headings = ("", "mean over images", "95 % interval", "pooled pixels")
    table = Table(*headings, box=None, pad_edge=False, title=title, title_justify="left")
    titles = {**TITLES, "thresholded_jaccard": f"Jaccard, 0 below {scores.jaccard_threshold:g}"}
    for name, row in scores.summary().items():
        digits = 2 if name.endswith("_px") else 4
        mean = f"{row.mean:.{digits}f}"
        low, high = (f"{end:.{digits - 1}f}" for end in row.interval)
        pooled = "" if row.pooled is None else f"{row.pooled:.{digits}f}"
        label = titles.get(name, name.replace("_", " "))
        table.add_row(
            label, f"[bold]{mean}[/]" if name == "dice" else mean, f"{low} to {high}", pooled
        )
    console.print(table)
    per_class = {name: row["dice"] for name, row in scores.per_class().items()}
    if len(per_class) > 1:
        texts = (f"{escape(name)} {dice:.3f}" for name, dice in per_class.items())
        console.print("Pooled Dice by class: " + ", ".join(texts))
    worst = (f"{escape(id)} ({dice:.3f})" for id, dice in scores.worst(5))
    console.print("Worst images: " + ", ".join(worst))
