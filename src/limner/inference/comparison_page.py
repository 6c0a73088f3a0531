"""The page of a comparison of two models: scores, a chart, and the images that differ most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from limner.data.html_page import css_colour, embed_jpeg, render_page
from limner.data.overlays import draw_overlay, shrink_pair
from limner.data.parallel import Progress, with_progress
from limner.inference.charts import scatter
from limner.inference.predictor import Predictor
from limner.inference.report_page import GALLERY_IMAGES, JPEG_QUALITY, SIDE_PX
from limner.inference.scored_data import ScoredData
from limner.inference.scores import Scores
from limner.labels import Labels
from limner.metrics.intervals import PairedDifference
from limner.plurals import count_noun


@dataclass(frozen=True, slots=True)
class ComparisonData:
    """Two models and their scores on the same images."""

    models: Sequence[Path]
    """The files of the two."""
    predictors: Sequence[Predictor]
    scored: ScoredData
    truth_labels: Labels
    """How the masks of the images hold the models' classes."""
    scores: Sequence[Scores]
    """Of both, on the same images."""
    differences: Mapping[str, PairedDifference]
    """What `compare_models` made of the scores."""
    command: str
    """The command line that gives this comparison again."""


@dataclass(frozen=True, slots=True)
class _GalleryImage:
    """An image of the gallery; its pictures are JPEGs in base64, by their captions."""

    id: str
    dice: tuple[float, float]
    pictures: Mapping[str, str]


def render_comparison(data: ComparisonData, progress: Progress | None = None) -> str:
    """Render the page; `progress` wraps the images of the gallery."""
    from markupsafe import Markup

    names = model_names(data.models)
    first, second = (each.per_image()["dice"] for each in data.scores)
    present = ~np.isnan(first) & ~np.isnan(second)
    labels = data.predictors[0].labels
    return render_page(
        "limner.inference",
        "comparison.html",
        data=data,
        names=names,
        count=len(data.scores[0].ids),
        dice=data.differences["dice"],
        verdict=_verdict(names, data.differences["dice"]),
        rows=[(name.replace("_", " "), row) for name, row in data.differences.items()],
        groups=_gallery(data, names, progress),
        legend=[(labels.names[index], css_colour(labels.colour(index))) for index in labels.scored],
        scatter=Markup(scatter(first[present], second[present], "Dice of the first", "second"))
        if present.any()
        else "",
        signed=lambda value, digits=3: f"{value:+.{digits}f}",
        count_noun=count_noun,
    )


def model_names(models: Sequence[Path]) -> tuple[str, str]:
    """What the page calls two models: their runs, with their parents where those are the same."""
    first, second = (model.resolve().parent for model in models)
    if first.name == second.name and first != second:
        return f"{first.parent.name}/{first.name}", f"{second.parent.name}/{second.name}"
    return first.name, second.name


def _verdict(names: tuple[str, str], dice: PairedDifference) -> str:
    """Which of the two is better, in a sentence."""
    if dice.is_gain or dice.is_loss:
        better = names[1] if dice.is_gain else names[0]
        return f"{better} is better by more than chance explains."
    return dice.doubt or "Chance alone explains the difference."


def _gallery(
    data: ComparisonData, names: tuple[str, str], progress: Progress | None
) -> dict[str, list[_GalleryImage]]:
    """The images on which each of the two is most ahead of the other."""
    first, second = (each.per_image()["dice"] for each in data.scores)
    difference = np.nan_to_num(second - first)
    order = np.argsort(difference, kind="stable").tolist()
    groups = {
        f"{names[1]} is better": [row for row in order[::-1] if difference[row] > 0],
        f"{names[0]} is better": [row for row in order if difference[row] < 0],
    }
    shown = {title: rows[:GALLERY_IMAGES] for title, rows in groups.items() if rows}
    rows = [row for group in shown.values() for row in group]
    samples = {sample.id: sample for sample in data.scored.samples}
    ids, images = data.scores[0].ids, dict[int, _GalleryImage]()
    for row in with_progress(iter(rows), len(rows), progress):
        sample = samples[ids[row]]
        image = sample.read_image(channels=data.predictors[0].channels)
        small, truth = shrink_pair(image, sample.class_index(data.truth_labels), SIDE_PX)
        drawn = {"image": small, "truth": draw_overlay(small, truth, data.predictors[0].labels)}
        for name, predictor in zip(names, data.predictors, strict=True):
            mask = shrink_pair(image, predictor.predict(image).mask, SIDE_PX)[1]
            drawn[name] = draw_overlay(small, mask, predictor.labels)
        images[row] = _GalleryImage(
            sample.id,
            (float(first[row]), float(second[row])),
            {caption: embed_jpeg(pixels, JPEG_QUALITY) for caption, pixels in drawn.items()},
        )
    return {title: [images[row] for row in group] for title, group in shown.items()}
