"""The tables that `limner test` prints: the scores of a model, and the comparison of two."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from limner.cli.console import console
from limner.name_list import list_some
from limner.plurals import count_noun

if TYPE_CHECKING:
    from limner.inference.scores import Scores
    from limner.metrics.intervals import PairedDifference

TITLES = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "hausdorff_95_px": "95 % Hausdorff, px",
    "surface_distance_px": "surface distance, px",
}


def print_comparison(
    comparisons: "Mapping[str, PairedDifference]", models: Sequence[Path], images: int, title: str
) -> None:
    """Print a row for each score: both means, and the difference with its interval."""
    from limner.metrics.intervals import format_interval

    first, second = (escape(model.resolve().parent.name) for model in models)
    headings = ("mean", first, second, "difference", "95 % interval", "won", "lost", "same")
    table = Table(*headings, box=None, pad_edge=False)
    for name, row in comparisons.items():
        cells = [f"{row.first:.4f}", f"{row.second:.4f}", f"{row.difference:+.4f}"]
        cells.append(format_interval(row.interval, 4, signed=True))
        if row.is_gain or row.is_loss:
            cells = [f"[bold]{cell}[/]" for cell in cells]
        counts = map(str, (row.wins, row.losses, row.ties))
        table.add_row(name.replace("_", " "), *cells, *counts)
    console.print(
        f"{count_noun(images, 'image')} of {escape(title)}; the difference is the second less "
        "the first, bold where its interval leaves out 0."
    )
    console.print(table)
    if doubt := comparisons["dice"].doubt:
        console.print(doubt)


def print_scores(scores: "Scores", title: str) -> None:
    """Print every score with its interval, the classes, and the worst images."""
    from limner.metrics.intervals import format_interval

    with_score = len(scores.ids) - len(scores.unscored)
    titled = f"{count_noun(len(scores.ids), 'image')} of {escape(title)}"
    if scores.unscored:
        titled += f", {with_score} with a score"
    headings = ("", "mean over images", "95 % interval", "pooled pixels")
    table = Table(*headings, box=None, pad_edge=False, title=titled, title_justify="left")
    titles = {**TITLES, "thresholded_jaccard": f"Jaccard, 0 below {scores.jaccard_threshold:g}"}
    for name, row in scores.summary().items():
        digits = 2 if name.endswith("_px") else 4
        mean = _number(row.mean, digits)
        pooled = "" if row.pooled is None else _number(row.pooled, digits)
        table.add_row(
            titles.get(name, name.replace("_", " ")),
            f"[bold]{mean}[/]" if name == "dice" else mean,
            format_interval(row.interval, digits - 1),
            pooled,
        )
    console.print(table)
    if with_score < 2:
        console.print("There is no interval: it takes two images with a score.")
    groups = len(set(scores.groups) - {None})
    if groups:
        console.print(
            f"The intervals are over groups of images ({groups}), such as patients: images of one "
            "group are not independent."
        )
    if scores.unscored:
        console.print(
            f"{count_noun(len(scores.unscored), 'image has', 'images have')} no score: void "
            "everywhere, or without a scored class in mask and prediction: "
            + escape(list_some(scores.unscored))
        )
    per_class = {name: row["dice"] for name, row in scores.per_class().items()}
    if len(per_class) > 1:
        texts = (
            f"{escape(name)} {_number(dice, 3, 'has no pixels')}"
            for name, dice in per_class.items()
        )
        console.print("Pooled Dice by class: " + ", ".join(texts))
    if with_score:
        worst = (f"{escape(id)} ({dice:.3f})" for id, dice in scores.worst(5))
        console.print("Worst images: " + ", ".join(worst))


def _number(value: float, digits: int, absent: str = "no score") -> str:
    """A score, or why there is none."""
    return absent if math.isnan(value) else f"{value:.{digits}f}"
