"""The tables that `limner test` prints: the scores of a model, and the comparison of two."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from limner.cli.console import console
from limner.name_list import list_some

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
        f"{images} images of {escape(title)}; the difference is the second less the first, bold "
        "where its interval leaves out 0."
    )
    console.print(table)
    if doubt := comparisons["dice"].doubt:
        console.print(doubt)


def print_scores(scores: "Scores", title: str) -> None:
    """Print every score with its interval, the classes, and the worst images."""
    from limner.metrics.intervals import format_interval

    titled = f"{len(scores.ids)} images of {escape(title)}"
    headings = ("", "mean over images", "95 % interval", "pooled pixels")
    table = Table(*headings, box=None, pad_edge=False, title=titled, title_justify="left")
    titles = {**TITLES, "thresholded_jaccard": f"Jaccard, 0 below {scores.jaccard_threshold:g}"}
    for name, row in scores.summary().items():
        digits = 2 if name.endswith("_px") else 4
        mean = f"{row.mean:.{digits}f}"
        pooled = "" if row.pooled is None else f"{row.pooled:.{digits}f}"
        table.add_row(
            titles.get(name, name.replace("_", " ")),
            f"[bold]{mean}[/]" if name == "dice" else mean,
            format_interval(row.interval, digits - 1),
            pooled,
        )
    console.print(table)
    if len(scores.ids) - len(scores.unscored) < 2:
        console.print("There is no interval: it takes two images with a score.")
    groups = len(set(scores.groups) - {None})
    if groups:
        console.print(
            f"The intervals are over groups of images ({groups}), such as patients: images of one "
            "group are not independent."
        )
    if scores.unscored:
        console.print(
            f"{len(scores.unscored)} images have no score, since they are void everywhere or "
            "neither their mask nor the prediction has a scored class: "
            + escape(list_some(scores.unscored))
        )
    per_class = {name: row["dice"] for name, row in scores.per_class().items()}
    if len(per_class) > 1:
        texts = (f"{escape(name)} {dice:.3f}" for name, dice in per_class.items())
        console.print("Pooled Dice by class: " + ", ".join(texts))
    worst = (f"{escape(id)} ({dice:.3f})" for id, dice in scores.worst(5))
    console.print("Worst images: " + ", ".join(worst))
