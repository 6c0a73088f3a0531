"""Write the report of a test (scores.csv, report.json and a page), or of a comparison."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from limner.data.parallel import Progress
from limner.files import dump_json, require_own_folder, write_atomic
from limner.inference.calibration import expected_calibration_error
from limner.inference.comparison_page import ComparisonData, render_comparison
from limner.inference.model_card import model_card
from limner.inference.report_data import ReportData
from limner.inference.report_page import render_report
from limner.inference.scores import Scores, scores_to_json
from limner.inference.subgroups import Subgroup, score_subgroups
from limner.metrics.intervals import PairedDifference

REPORT, COMPARISON = "report.json", "comparison.json"


def write_report(folder: Path, report: ReportData, progress: Progress | None = None) -> Path:
    """Write scores.csv, report.json and index.html, in place of those of an earlier test.

    Args:
        folder: new, or of an earlier report.
        report: what is written.
        progress: wraps the images of the gallery, to show a progress bar.

    Returns the path of the page. Raises LimnerError where the folder holds anything else.
    """
    require_own_folder(folder, REPORT)
    page = render_report(report, progress)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "scores.csv", _scores_csv(report.scores))
    write_atomic(folder / REPORT, dump_json(report_to_json(report)))
    write_atomic(folder / "index.html", page)
    return folder / "index.html"


def write_comparison(
    folder: Path, comparison: ComparisonData, progress: Progress | None = None
) -> Path:
    """Write comparison.json, comparison.csv with a row for each image, and index.html.

    Those of an earlier comparison are replaced.

    Args:
        folder: new, or of an earlier comparison.
        comparison: what is written.
        progress: wraps the images of the gallery, to show a progress bar.

    Returns the path of the page. Raises LimnerError where the folder holds anything else.
    """
    require_own_folder(folder, COMPARISON)
    page = render_comparison(comparison, progress)
    scored, scores, models = comparison.scored, comparison.scores, comparison.models
    first, second = (each.per_image()["dice"].tolist() for each in scores)
    rows = [
        [id, first_dice, second_dice, second_dice - first_dice]
        for id, first_dice, second_dice in zip(scores[0].ids, first, second, strict=True)
    ]
    content = {
        "first": str(models[0]),
        "second": str(models[1]),
        "model_files": [str(model.resolve()) for model in models],
        "split": scored.split,
        "data": scored.name or None,
        "data_sha256": scored.sha256 or None,
        "images": len(rows),
        "scores": [_paired_to_json(name, row) for name, row in comparison.differences.items()],
    }
    folder.mkdir(parents=True, exist_ok=True)
    header = ["id", "first_dice", "second_dice", "difference"]
    write_atomic(folder / "comparison.csv", _dump_csv([header, *rows]))
    write_atomic(folder / COMPARISON, dump_json(content))
    write_atomic(folder / "index.html", page)
    return folder / "index.html"


def report_to_json(report: ReportData) -> dict[str, Any]:
    """Return the report as `report.json` holds it; numbers may be NaN."""
    scores, agreement = report.scores, report.quality_agreement
    before, after = scores.reliability()
    return {
        "model": report.name,
        "model_files": list(report.model_files),
        "split": report.scored.split,
        "data": report.scored.name or None,
        "data_sha256": report.scored.sha256 or None,
        "tta": report.predictor.settings.tta,
        "models": len(report.models),
        "images": len(scores.images),
        "images_without_score": list(scores.unscored),
        "failed": list(report.failures),
        "times_scored": report.times_scored,
        "command": report.command,
        "left_out": list(report.left_out),
        "notes": list(report.scored.notes),
        "warnings": list(report.warnings),
        "scores": scores_to_json(scores),
        "classes": scores.per_class(),
        "subgroups": {
            title: [_subgroup_to_json(subgroup) for subgroup in subgroups]
            for title, subgroups in score_subgroups(scores, report.columns).items()
        },
        "calibration_error": {
            "before": expected_calibration_error(before),
            "after": expected_calibration_error(after),
        },
        "predicted_dice": asdict(agreement) if agreement else None,
        "unusual": [image.id for image in scores.images if image.unusual],
        "card": [dict(model_card(model)) for model in report.models],
    }


def _subgroup_to_json(subgroup: Subgroup) -> dict[str, Any]:
    return {
        "subgroup": subgroup.name,
        "images": subgroup.images,
        "mean_dice": subgroup.mean_dice,
        "interval": subgroup.interval,
    }


def _paired_to_json(name: str, paired: PairedDifference) -> dict[str, Any]:
    return {
        "name": name,
        "first": paired.first,
        "second": paired.second,
        "difference": paired.difference,
        "interval": paired.interval,
        "won": paired.wins,
        "lost": paired.losses,
        "same": paired.ties,
    }


def _scores_csv(scores: Scores) -> str:
    """A row for each image."""
    per_image = scores.per_image()
    rows: list[list[Any]] = [
        ["id", *per_image, "predicted_dice", "unusualness", "mask_share", "brightness"]
    ]
    for i, image in enumerate(scores.images):
        details = (image.predicted_dice, image.unusualness, image.mask_share, image.brightness)
        rows.append(
            [
                image.id,
                *(float(values[i]) for values in per_image.values()),
                *("" if value is None else value for value in details),
            ]
        )
    return _dump_csv(rows)


def _dump_csv(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
