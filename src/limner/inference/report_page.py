"""The page of a report, in one file that needs no network: tables, charts and a gallery."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from limner.data.html_page import css_colour, embed_jpeg, render_page
from limner.data.overlays import draw_errors, draw_overlay, shrink_pair
from limner.data.parallel import Progress, with_progress
from limner.data.sample import Sample
from limner.inference.calibration import expected_calibration_error
from limner.inference.charts import histogram, reliability_curve, scatter
from limner.inference.model_card import model_card
from limner.inference.report_data import ReportData
from limner.inference.scores import ImageScore, Scores
from limner.inference.subgroups import score_subgroups
from limner.plurals import count_noun
from limner.recipe_file import dump_recipe

GALLERY_IMAGES = 6
"""Images of each group in the gallery."""
SIDE_PX = 380
"""The longer side of a picture in the gallery."""
JPEG_QUALITY = 80
SCORE_TITLES = {
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
"""By the names of `Scores.per_image`."""


@dataclass(frozen=True, slots=True)
class _GalleryImage:
    """One image of the gallery; its pictures are JPEGs in base64, by their captions."""

    id: str
    dice: float
    predicted_dice: float | None
    unusual: bool
    pictures: Mapping[str, str]


def render_report(report: ReportData, progress: Progress | None = None) -> str:
    """Render the page; `progress` wraps the images of the gallery."""
    from markupsafe import Markup

    scores = report.scores
    summary = scores.summary()
    before, after = scores.reliability()
    return render_page(
        "limner.inference",
        "report.html",
        report=report,
        scores=scores,
        headline=summary["dice"],
        rows=[(_title(name, report), each) for name, each in summary.items()],
        per_class=scores.per_class(),
        groups=_gallery(report, progress),
        legend=[
            (scores.labels.names[index], css_colour(scores.labels.colour(index)))
            for index in scores.labels.scored
        ],
        subgroups=score_subgroups(scores, report.columns),
        calibration=Markup(reliability_curve(before, after)),
        errors=(expected_calibration_error(before), expected_calibration_error(after)),
        agreement=report.quality_agreement,
        unusual=[image for image in scores.images if image.unusual],
        curve=Markup(report.curve_svg),
        cards=[(model_card(model), dump_recipe(model.recipe, {})) for model in report.models],
        grouped=any(scores.groups),
        count_noun=count_noun,
        **{name: Markup(chart) for name, chart in _dice_charts(scores).items()},
    )


def _title(name: str, report: ReportData) -> str:
    return SCORE_TITLES[name].format(
        threshold=report.scores.jaccard_threshold, tolerance=report.tolerance_px
    )


def _dice_charts(scores: Scores) -> dict[str, str]:
    """The histogram of the Dice, and the Dice against the predicted one; empty without images."""
    dice = scores.per_image()["dice"]
    present = dice[~np.isnan(dice)]
    predicted = np.array(
        [
            np.nan if image.predicted_dice is None else image.predicted_dice
            for image in scores.images
        ]
    )
    paired = ~np.isnan(predicted) & ~np.isnan(dice)
    return {
        "histogram": histogram(present, "Dice") if len(present) else "",
        "scatter": scatter(predicted[paired], dice[paired], "predicted Dice", "true Dice")
        if paired.any()
        else "",
    }


def _gallery(report: ReportData, progress: Progress | None) -> dict[str, list[_GalleryImage]]:
    """The images with the lowest, the median and the highest Dice; none is shown twice."""
    ranked = report.scores.ranked()
    middle = max(0, (len(ranked) - GALLERY_IMAGES) // 2)
    worst = ranked[:GALLERY_IMAGES]
    best = [row for row in ranked[::-1][:GALLERY_IMAGES] if row not in worst]
    median = [row for row in ranked[middle : middle + GALLERY_IMAGES] if row not in {*worst, *best}]
    groups = {
        title: group
        for title, group in (("worst", worst), ("median", median), ("best", best))
        if group
    }
    rows = [row for group in groups.values() for row in group]
    samples = {sample.id: sample for sample in report.scored.samples}
    dice: Float64[ndarray, " n"] = report.scores.per_image()["dice"]
    images: dict[int, _GalleryImage] = {}
    for row in with_progress(iter(rows), len(rows), progress):
        score = report.scores.images[row]
        images[row] = _gallery_image(report, samples[score.id], score, float(dice[row]))
    return {title: [images[row] for row in group] for title, group in groups.items()}


def _gallery_image(
    report: ReportData, sample: Sample, score: ImageScore, dice: float
) -> _GalleryImage:
    predictor = report.predictor
    labels, image = predictor.labels, sample.read_image(channels=predictor.channels)
    small, truth = shrink_pair(image, sample.class_index(report.truth_labels), SIDE_PX)
    prediction = shrink_pair(image, predictor.predict(image).mask, SIDE_PX)[1]
    pictures = {
        "image": small,
        "truth": draw_overlay(small, truth, labels),
        "prediction": draw_overlay(small, prediction, labels),
        "errors": draw_errors(small, prediction, truth, labels),
    }
    return _GalleryImage(
        id=sample.id,
        dice=dice,
        predicted_dice=score.predicted_dice,
        unusual=score.unusual,
        pictures={
            caption: embed_jpeg(pixels, JPEG_QUALITY) for caption, pixels in pictures.items()
        },
    )
