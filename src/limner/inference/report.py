"""The report of a test: scores.csv, report.json, and a page that a person looks at, in one file
that needs no network.
"""

import base64
import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.overlays import draw_errors, draw_overlay, shrink_pair
from limner.data.sample import Sample
from limner.data.writers.jpeg import encode_jpeg
from limner.errors import LimnerError
from limner.files import write_atomic
from limner.inference.calibration import expected_calibration_error
from limner.inference.charts import histogram, reliability_curve, scatter
from limner.inference.evaluate import Comparison, ImageScore, Scores, scores_to_json
from limner.inference.predictor import Predictor
from limner.inference.quality import QualityAgreement, quality_agreement
from limner.inference.subgroups import score_subgroups
from limner.metrics.bootstrap import RESAMPLES
from limner.model.metadata import ModelMetadata
from limner.recipe_file import dump_recipe

REPORT, COMPARISON = "report.json", "comparison.json"
SHOWN = 6
"""Images of each group in the gallery."""
SIDE_PX = 380
LIMITS = (
    "It was trained on images like those of its training set and tested on those named here. On images of another kind, device or site its scores are "
    "unknown; images that are flagged as unusual deserve a look. It is no medical device."
)
LICENCE = (
    "The weights are made from the training images, and may be used as their licence allows: that "
    "of ISIC 2018's images excludes commercial use."
)
RECEIPT = ("data_sha256", "split_sha256", "recipe_sha256", "seed", "torch", "limner")
NAMES = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "thresholded_jaccard": "Jaccard, 0 below {threshold:g}",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "accuracy": "accuracy",
    "hausdorff_95_px": "95 % Hausdorff distance, px",
    "surface_distance_px": "average surface distance, px",
    "surface_dice": "surface Dice at {tolerance:g} px",
}


@dataclass(frozen=True, slots=True)
class ReportData:
    """What was tested: a model or several together, on which images, and how."""

    name: str
    split: str
    scores: Scores
    samples: Sequence[Sample]
    predictor: Predictor
    models: Sequence[ModelMetadata]
    command: str
    tolerance_px: float
    times_scored: int | None = None
    """How often this split was scored with this model, this time included; None where nobody
    counts.
    """
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    curve_svg: str = ""

    @property
    def quality_agreement(self) -> QualityAgreement | None:
        """How far the predicted Dice can be trusted on these images."""
        return quality_agreement(
            self.scores.per_image()["dice"],
            self.scores.per_image()["jaccard"],
            [image.predicted_dice for image in self.scores.images],
        )


@dataclass(frozen=True, slots=True)
class _Case:
    """One image as the gallery shows it; the pictures are JPEGs in base64."""

    id: str
    dice: float
    predicted_dice: float | None
    unusual: bool
    pictures: Mapping[str, str]


def require_free(folder: Path, mark: str) -> None:
    """Raises LimnerError where a folder holds anything but an earlier one of what is written, which
    is known by a file's name.
    """
    if folder.is_file() or (
        folder.is_dir() and any(folder.iterdir()) and not (folder / mark).is_file()
    ):
        raise LimnerError(
            f"{folder} is in use and holds no earlier {mark}. Nothing is overwritten: name "
            "another folder with --out."
        )


def write_report(
    folder: Path, test: ReportData, progress: Callable[[Iterable[Any], int], Iterable[Any]]
) -> Path:
    """Write scores.csv, report.json and index.html, in place of those of an earlier test; give the
    page's path.

    Raises LimnerError where the folder holds anything else.
    """
    require_free(folder, REPORT)
    page = _page(test, progress)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("scores.csv", _table(test.scores)),
        (REPORT, json.dumps(report_to_json(test), indent=2) + "\n"),
        ("index.html", page),
    ):
        write_atomic(folder / name, content)
    return folder / "index.html"


def write_comparison(
    folder: Path, models: Sequence[Path], found: Sequence[Scores], compared: Sequence[Comparison]
) -> Path:
    """Write comparison.json and comparison.csv, a row for each image, in place of those of an
    earlier one; give the folder.

    Raises LimnerError where the folder holds anything else.
    """
    require_free(folder, COMPARISON)
    folder.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "first_dice", "second_dice", "difference"])
    first, second = (scores.per_image()["dice"].tolist() for scores in found)
    writer.writerows(
        [id, one, other, other - one]
        for id, one, other in zip(found[0].ids, first, second, strict=True)
    )
    about = {
        "first": str(models[0]),
        "second": str(models[1]),
        "images": len(first),
        "scores": [asdict(one) for one in compared],
    }
    write_atomic(folder / "comparison.csv", text.getvalue())
    write_atomic(folder / COMPARISON, json.dumps(_finite(about), indent=2) + "\n")
    return folder


def report_to_json(test: ReportData) -> dict[str, Any]:
    """The report as a program reads it."""
    before, after = test.scores.calibration()
    found = test.quality_agreement
    return _finite(
        {
            "model": test.name,
            "split": test.split,
            "images": len(test.scores.images),
            "times_scored": test.times_scored,
            "command": test.command,
            "scores": scores_to_json(test.scores),
            "classes": test.scores.per_class(),
            "slices": {
                title: [
                    {
                        "slice": one.name,
                        "images": one.images,
                        "mean_dice": one.mean_dice,
                        "interval": one.interval,
                    }
                    for one in rows
                ]
                for title, rows in score_subgroups(test.scores, test.columns).items()
            },
            "calibration_error": {
                "before": expected_calibration_error(before),
                "after": expected_calibration_error(after),
            },
            "predicted_dice": found and {name: getattr(found, name) for name in found.__slots__},
            "unusual": [image.id for image in test.scores.images if (image.unusualness or 0) > 1],
            "card": [dict(_card(model)) for model in test.models],
        }
    )


def _table(scores: Scores) -> str:
    """A row for each image."""
    rows = scores.per_image()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", *rows, "predicted_dice", "unusualness", "mask_share", "brightness"])
    for i, image in enumerate(scores.images):
        about = (image.predicted_dice, image.unusualness, image.truth_share, image.brightness)
        writer.writerow(
            [
                image.id,
                *(float(values[i]) for values in rows.values()),
                *("" if value is None else value for value in about),
            ]
        )
    return text.getvalue()


def _page(test: ReportData, progress: Callable[[Iterable[Any], int], Iterable[Any]]) -> str:
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    template = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(
        resources.files("limner.inference").joinpath("report.html").read_text(encoding="utf-8")
    )
    scores, order = test.scores, test.scores.ranked()
    middle = max(0, (len(order) - SHOWN) // 2)
    groups = {
        "worst": order[:SHOWN],
        "median": order[middle : middle + SHOWN],
        "best": order[::-1][:SHOWN],
    }
    wanted = list(dict.fromkeys(i for rows in groups.values() for i in rows))
    by_id = {sample.id: sample for sample in test.samples}
    cases = {
        i: _case(
            test.predictor,
            by_id[scores.images[i].id],
            scores.images[i],
            float(scores.per_image()["dice"][i]),
        )
        for i in progress(wanted, len(wanted))
    }
    before, after = scores.calibration()
    dice = scores.per_image()["dice"]
    known = np.array([image.predicted_dice is not None for image in scores.images]) & ~np.isnan(
        dice
    )
    predicted = np.array([image.predicted_dice or 0.0 for image in scores.images])
    summary = scores.summary()
    return template.render(
        test=test,
        headline=summary["dice"],
        rows=[(_name(name, test), statistic) for name, statistic in summary.items()],
        per_class=scores.per_class(),
        histogram=Markup(histogram(dice[~np.isnan(dice)], "Dice"))
        if (~np.isnan(dice)).any()
        else "",
        groups={title: [cases[i] for i in rows] for title, rows in groups.items()},
        legend=[
            (name, "#{:02x}{:02x}{:02x}".format(*scores.labels.colour(index)))
            for index, name in enumerate(scores.labels.names)
            if index in scores.labels.scored
        ],
        slices=score_subgroups(scores, test.columns),
        calibration=Markup(reliability_curve(before, after)),
        errors=(expected_calibration_error(before), expected_calibration_error(after)),
        trust=test.quality_agreement,
        scatter=Markup(scatter(predicted[known], dice[known], "predicted Dice", "true Dice"))
        if known.any()
        else "",
        unusual=[image for image in scores.images if (image.unusualness or 0) > 1],
        curve=Markup(test.curve_svg),
        cards=[(_card(model), dump_recipe(model.recipe, {})) for model in test.models],
        resamples=RESAMPLES,
    )


def _case(predictor: Predictor, sample: Sample, scored: ImageScore, dice: float) -> _Case:
    image, truth = sample.read_image(), sample.class_index(predictor.labels)
    drawn = predictor.predict(image).mask
    small, small_truth = shrink_pair(image, truth, SIDE_PX)
    small_drawn = shrink_pair(image, drawn, SIDE_PX)[1]
    labels = predictor.labels
    pictures = {
        "image": small,
        "truth": draw_overlay(small, small_truth, labels),
        "prediction": draw_overlay(small, small_drawn, labels),
        "errors": draw_errors(small, small_drawn, small_truth, labels),
    }
    return _Case(
        sample.id,
        dice,
        scored.predicted_dice,
        (scored.unusualness or 0) > 1,
        {name: _jpeg(pixels) for name, pixels in pictures.items()},
    )


def _card(model: ModelMetadata) -> list[tuple[str, str]]:
    """What a person should know of a model before using it."""
    recipe, receipt, sides = model.recipe, model.receipt, model.split
    network, choices = recipe.model, model.inference
    post = choices.postprocessing.enabled
    height, width = model.preprocessing.size_px
    return [
        ("classes", ", ".join(model.labels.names)),
        (
            "network",
            f"{network.encoder or network.preset}, widths {', '.join(map(str, network.widths))}",
        ),
        (
            "input",
            (
                f"{width}x{height} px, {recipe.data.channels} channels, "
                f"{model.preprocessing.resize_mode}"
            ),
        ),
        (
            "standardised by",
            (
                f"mean {_spelled(model.preprocessing.mean)}, standard deviation "
                f"{_spelled(model.preprocessing.std)} in units of 0..1"
            ),
        ),
        ("loss", recipe.train.loss),
        ("images", ", ".join(f"{name} {len(ids)}" for name, ids in sides.items())),
        (
            "chosen on validation",
            (
                f"threshold {choices.threshold:.3g}, test-time augmentation {choices.tta}, "
                f"post-processing {', '.join(post) or 'none'}"
            ),
        ),
        *((name.replace("_", " "), str(receipt[name])) for name in RECEIPT if name in receipt),
        ("limits", LIMITS),
        (
            "licence",
            LICENCE
            + (
                f" The encoder's weights came from {network.encoder}, whose licence holds as well."
                if network.encoder
                else ""
            ),
        ),
    ]


def _name(name: str, test: ReportData) -> str:
    return NAMES[name].format(threshold=test.scores.jaccard_threshold, tolerance=test.tolerance_px)


def _spelled(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)


def _finite(content: Any) -> Any:
    """JSON has no number that is not finite: null stands for it."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _jpeg(pixels: UInt8[ndarray, "h w 3"]) -> str:
    return base64.b64encode(encode_jpeg(pixels, quality=80)).decode("ascii")
