"""`limner test`: score a model, or compare two."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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
from limner.cli.score_tables import print_comparison, print_scores
from limner.errors import LimnerError
from limner.name_list import LISTED, list_some
from limner.plurals import count_noun
from limner.training.run_files import MODEL

if TYPE_CHECKING:
    from limner.data.dataset import Dataset
    from limner.data.sample import Sample
    from limner.inference.engines import LoadedModel
    from limner.inference.predictor import Predictor
    from limner.inference.scored_data import ScoredData
    from limner.inference.scores import Scores
    from limner.labels import Labels
    from limner.recipe import DataSettings

Paths = Annotated[
    list[Path],
    typer.Argument(
        metavar="MODEL... DATA",
        help="the model.safetensors of a run, or several, then the folder",
        show_default=False,
    ),
]
SplitName = Annotated[
    str | None,
    typer.Option(
        help="train, val, test, new (not there when the model was trained), or all; by default "
        "test, and all of a folder that the model knows nothing of"
    ),
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
        "--out",
        "-o",
        help="the folder of the report; by default report beside the model, and report-... for "
        "another split, other data, --tta and --ensemble",
    ),
]
MODELS = "one model, two to compare, or several with --ensemble"
FOLDER = "the folder of images and masks"


@dataclass(frozen=True, slots=True)
class _Scoring:
    """What is scored, how, and which images could not be."""

    models: Sequence[Path]
    loaded: "Sequence[LoadedModel]"
    scored: "ScoredData"
    truth_labels: "Labels"
    data: Path
    tolerance_px: float
    jaccard_threshold: float
    failures: dict[str, str] = field(default_factory=dict)
    """A message for each image that could not be scored, by its id."""
    unpaired: Sequence[str] = ()
    """What is wrong with files that are in no pair."""

    def score(self, predictor: "Predictor") -> "Scores":
        """Score one predictor. An image that cannot be scored is named, and left out."""
        from limner.inference.evaluate import score_samples
        from limner.inference.scores import Scores

        images = score_samples(
            predictor,
            self.scored.samples,
            tolerance_px=self.tolerance_px,
            truth_labels=self.truth_labels,
            on_failure=self._report_failure,
            progress=progress_bar("scoring"),
        )
        return Scores.from_images(images, predictor.labels, self.jaccard_threshold)

    def _report_failure(self, sample: "Sample", error: LimnerError) -> None:
        if sample.id not in self.failures and len(self.failures) < LISTED:
            stderr.print(f"[red]not scored:[/] {escape(str(error))}", soft_wrap=True)
        self.failures[sample.id] = str(error)

    def doubts(self, scores: "Sequence[Scores]") -> list[str]:
        """Print and return what is doubtful about the masks, as each predictor tells it."""
        from limner.inference.mask_agreement import mask_warnings

        shares = self.loaded[0].metadata.receipt.get("class_shares", ())
        warnings = [
            warning
            for each in scores
            for warning in mask_warnings(each, self.truth_labels, self.data, shares)
        ]
        for warning in warnings[:1]:
            stderr.print(f"[yellow]warning:[/] {escape(warning)}", soft_wrap=True)
        return warnings[:1]

    def count(self) -> int | None:
        """Count this scoring in the runs of the models; return the highest count.

        None where no model lies in a run, or where its run cannot be written.
        """
        from limner.training.run import record_test

        counts = []
        for model in self.models:
            try:
                counts.append(record_test(model, self.scored.key))
            except OSError as error:
                stderr.print(
                    f"note: this scoring is not counted in {escape(str(model.parent))}, which "
                    f"cannot be written ({error.strerror})."
                )
        return max((count for count in counts if count), default=None)


def test(
    paths: Paths,
    split: SplitName = None,
    tta: Tta = None,
    ensemble: Ensemble = False,
    metadata: Metadata = None,
    tolerance: Tolerance = 2.0,
    jaccard_threshold: JaccardThreshold = 0.65,
    out: OutFolder = None,
    device: Device = "cpu",
) -> None:
    """Score a model on a split at the masks' own size, with 95 % intervals, and write a report.

    A folder of other images than those of the training is scored as a whole. Two models are
    compared image by image.
    """
    from limner.files import require_own_folder
    from limner.inference.engines import load_model
    from limner.inference.image_metadata import read_metadata
    from limner.inference.predictor import Predictor
    from limner.inference.report import COMPARISON, REPORT
    from limner.inference.report_folder import comparison_folder, report_folder

    models, (data, *more) = split_models(paths, FOLDER, MODELS)
    if more or (len(models) > 2 and not ensemble):
        raise LimnerError(f"there must be {MODELS}, and {FOLDER}.")
    loaded = [load_model(model, device) for model in models]
    dataset = _scan_as_trained(Path(data), loaded[0].metadata.recipe.data)
    scored, truth_labels = _choose(loaded, dataset, split)
    scoring = _Scoring(
        models,
        loaded,
        scored,
        truth_labels,
        dataset.root,
        tolerance,
        jaccard_threshold,
        unpaired=_pairing_problems(dataset),
    )
    one_report = ensemble or len(loaded) == 1
    groups = [loaded] if one_report else [[model] for model in loaded]
    predictors = [Predictor.from_models(*group, tta=tta) for group in groups]
    columns = read_metadata(metadata, dataset, scored.samples) if metadata else {}
    own_tta = None if tta == loaded[0].metadata.inference.tta else tta
    if one_report:
        target = out or report_folder(models, scored, tta=own_tta, ensemble=ensemble)
    else:
        target = out or comparison_folder(models, scored)
    require_own_folder(target, REPORT if one_report else COMPARISON)
    scores = [scoring.score(predictor) for predictor in predictors]
    if len(scoring.failures) > LISTED:
        rest = ", ".join(list(scoring.failures)[LISTED:])
        stderr.print(f"[red]not scored[/] are also: {escape(rest)}", soft_wrap=True)
    if one_report:
        _report(scoring, scores[0], predictors[0], target, columns)
    else:
        _compare(scoring, scores, predictors, target)
    if scoring.failures:
        raise typer.Exit(1)


def _scan_as_trained(data: Path, settings: "DataSettings") -> "Dataset":
    """Scan a folder as that of the training: the folders of images and masks, where it has them,
    and groups, where the names tell.
    """
    from limner.data.groups import groups_by_pattern
    from limner.data.scan import scan

    names = settings.image_folder, settings.mask_folder
    images, masks = names if all((data / name).is_dir() for name in names) else ("", "")
    dataset = scan(data, image_folder=images, mask_folder=masks)
    if not settings.group_pattern:
        return dataset
    try:
        groups = groups_by_pattern(dataset.samples, settings.group_pattern)
    except LimnerError:
        # Other data may bear other names
        return dataset
    samples = (replace(each, group=each.group or groups.get(each.id)) for each in dataset.samples)
    return replace(dataset, samples=tuple(samples))


def _choose(
    loaded: "Sequence[LoadedModel]", dataset: "Dataset", split: str | None
) -> "tuple[ScoredData, Labels]":
    """Which samples are scored, and how their masks hold the classes of the models."""
    from limner.data.split_folders import describe_splits
    from limner.inference.scored_samples import find_scored_samples

    labels = loaded[0].metadata.labels
    for model in loaded[1:]:
        if model.metadata.labels.names != labels.names:
            raise LimnerError(
                f"the models have different classes: {', '.join(labels.names)}, and "
                f"{', '.join(model.metadata.labels.names)}. Score each by itself."
            )
    records = [model.metadata.split_record for model in loaded]
    found = find_scored_samples(records, labels, dataset, split, progress_bar)
    scored = found.scored
    console.print(escape(describe_splits(dataset.root, scored.sides)), soft_wrap=True)
    for note in found.notes:
        stderr.print(f"note: {escape(note.rstrip('.'))}.", soft_wrap=True)
    return scored, found.labels


def _report(
    scoring: _Scoring,
    scores: "Scores",
    predictor: "Predictor",
    target: Path,
    columns: dict[str, list[str]],
) -> None:
    """Count this test in the run's receipt, print the scores, and write the report."""
    from limner.inference.report import write_report
    from limner.inference.report_data import ReportData
    from limner.training.event_log import learning_curve_svg

    times_scored = scoring.count()
    print_scores(scores, scoring.scored.title)
    warnings = scoring.doubts([scores])
    data = ReportData(
        name=" and ".join(model.resolve().parent.name for model in scoring.models),
        scored=scoring.scored,
        truth_labels=scoring.truth_labels,
        scores=scores,
        predictor=predictor,
        models=[model.metadata for model in scoring.loaded],
        command=shlex.join(["limner", *sys.argv[1:]]),
        tolerance_px=scoring.tolerance_px,
        model_files=[str(model.resolve()) for model in scoring.models],
        times_scored=times_scored,
        failures=list(scoring.failures.values()),
        warnings=warnings,
        left_out=scoring.unpaired,
        columns=columns,
        curve_svg=learning_curve_svg(scoring.models[0]),
    )
    page = write_report(target, data, progress_bar("drawing"))
    if times_scored and times_scored > 1 and scoring.scored.split in {"test", "all"}:
        stderr.print(
            f"note: these images were scored {times_scored} times with this model. What was "
            "decided by looking at earlier scores makes them too high."
        )
    console.print(
        f"Look at [bold]{escape(str(page))}[/]; scores.csv and report.json beside it hold the "
        "same for a program."
    )
    models = [model.parent if model.name == MODEL else model for model in scoring.models]
    console.print(f"Next: {next_command('predict', *models)} FOLDER_OF_NEW_IMAGES", soft_wrap=True)


def _compare(
    scoring: _Scoring,
    scores: "Sequence[Scores]",
    predictors: "Sequence[Predictor]",
    target: Path,
) -> None:
    """Count this test in both receipts, print and write the comparison of two models."""
    from limner.inference.comparison_page import ComparisonData
    from limner.inference.report import write_comparison
    from limner.inference.scores import compare_models

    scoring.count()
    scoring.doubts(scores)
    # An image that one of the two could not be scored on tells nothing of the difference
    scored_by_both = set(scores[0].ids) & set(scores[1].ids)
    first, second = (each.only(scored_by_both) for each in scores)
    comparisons = compare_models(first, second)
    print_comparison(comparisons, scoring.models, len(first.ids), scoring.scored.title)
    data = ComparisonData(
        models=scoring.models,
        predictors=predictors,
        scored=scoring.scored,
        truth_labels=scoring.truth_labels,
        scores=(first, second),
        differences=comparisons,
        command=shlex.join(["limner", *sys.argv[1:]]),
    )
    page = write_comparison(target, data, progress_bar("drawing"))
    console.print(
        f"Look at [bold]{escape(str(page))}[/]; comparison.csv beside it has a row for each image.",
        soft_wrap=True,
    )


def _pairing_problems(dataset: "Dataset") -> list[str]:
    """Print and return what is wrong with files that are in no pair, and so in no score."""
    from limner.data.broken_samples import BROKEN
    from limner.data.check_pairing import pairing_findings

    problems = [found.message for found in pairing_findings(dataset) if found.code in BROKEN]
    if problems:
        stderr.print(
            f"note: {count_noun(len(problems), 'problem')} of files that are in no pair, and are "
            "not scored: "
            f"{escape(list_some(problems))}",
            soft_wrap=True,
        )
    return problems
