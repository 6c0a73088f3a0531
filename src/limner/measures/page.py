"""The page of measures: how they are distributed, by class or by a column, and the pictures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from limner.data.html_page import css_colour, embed_jpeg, render_page
from limner.data.large_images import open_large_image
from limner.data.overlays import draw_overlay, shrink_pair
from limner.errors import LimnerError
from limner.labels import PALETTE
from limner.measures.distribution import draw_distribution
from limner.measures.parts import unit_suffix
from limner.measures.table import Table, summarise
from limner.review.predictions import Entry, Predictions

PICTURES = 24
PICTURE_PX = 320
MOST_GROUPS = 8
"""That charts show; the tables hold all of them."""
SHOWN = ("area", "equivalent_diameter", "feret_diameter", "perimeter")
"""Measures of a unit that the page shows."""
NOT_STATED = "not stated"
SHOWN_RATIOS = ("circularity", "eccentricity", "solidity", "intensity_mean_1")


@dataclass(frozen=True, slots=True)
class _Group:
    """A row of the summary."""

    name: str
    colour: str
    images: int
    parts: int
    parts_per_image: Mapping[str, float]
    """Median and quartiles."""
    measures: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class _Picture:
    name: str
    jpeg: str
    parts: int


def render_measures(
    predictions: Predictions,
    entries: Sequence[Entry],
    parts: Table,
    images: Table,
    said: tuple[str | None, str | None, Sequence[str]],
) -> str:
    """Render the page.

    Args:
        predictions: The folder of masks.
        entries: All of them, in the order of the tables.
        parts: A row for each part.
        images: A row for each image and class.
        said: The column that groups are made by, the unit of length, and the notes.
    """
    # It is installed with Jinja
    from markupsafe import Markup

    by, unit, notes = said
    columns = _shown_columns(parts, unit)
    groups = _groups(predictions, images, by)
    of_parts = {name: _rows(parts, cells) for name, cells in groups.items()}
    summary = [
        _summarise(index, name, parts, images, (groups[name], columns))
        for index, name in enumerate(groups)
    ]
    shown = list(groups)[:MOST_GROUPS]
    charts = [
        draw_distribution({name: parts[column][of_parts[name]] for name in shown}, title)
        for column, title in columns.items()
    ]
    return render_page(
        "limner.measures",
        "page.html",
        name=predictions.folder.resolve().name,
        images=len(entries),
        parts=len(parts["part"]),
        by=by,
        notes=notes,
        groups=summary,
        columns=columns,
        charts=[Markup(chart) for chart in charts if chart],
        left_out=len(groups) - len(shown),
        pictures=list(_pictures(predictions, entries, images)),
    )


def _shown_columns(parts: Table, unit: str | None) -> dict[str, str]:
    """The columns that the page shows, and what it calls them."""
    suffix = unit_suffix(unit) if unit else "px"
    columns = {}
    for name in SHOWN:
        square = name == "area"
        column = f"{name}_{suffix}{'2' if square and unit else ''}"
        title = name.replace("_", " ").replace("feret", "Feret")
        columns[column] = f"{title} ({unit or 'px'}{'²' if square and unit else ''})"
    columns |= {name: name.replace("_", " ") for name in SHOWN_RATIOS}
    return {column: title for column, title in columns.items() if column in parts}


def _groups(
    predictions: Predictions, images: Table, by: str | None
) -> Mapping[str, Mapping[str, str]]:
    """The cells that the rows of each group have, by the group's name."""
    labels = predictions.labels
    classes = [labels.names[index] for index in labels.scored]
    if by is None:
        return {name: {"class": name} for name in classes}
    values = sorted(set(images[by].tolist()))
    if len(classes) == 1:
        return {value or NOT_STATED: {by: value} for value in values}
    return {
        f"{name}, {value or NOT_STATED}": {"class": name, by: value}
        for name in classes
        for value in values
    }


def _rows(table: Table, cells: Mapping[str, str]) -> Bool[ndarray, " n"]:
    """The rows of a table that have these cells."""
    rows = np.ones(len(table["class"]), bool)
    for column, value in cells.items():
        rows &= table[column] == value
    return rows


def _summarise(
    index: int,
    name: str,
    parts: Table,
    images: Table,
    shown: tuple[Mapping[str, str], Mapping[str, str]],
) -> _Group:
    cells, columns = shown
    of_parts, of_images = _rows(parts, cells), _rows(images, cells)
    return _Group(
        name,
        css_colour(PALETTE[index % len(PALETTE)]),
        len(set(images["image"][of_images].tolist())),
        int(of_parts.sum()),
        summarise(images["parts"][of_images].astype(float)),
        {column: summarise(parts[column][of_parts].astype(float)) for column in columns},
    )


def _pictures(
    predictions: Predictions, entries: Sequence[Entry], images: Table
) -> Iterator[_Picture]:
    """The images with the most parts, the fewest and those between, with their masks."""
    names = [predictions.sample_id(entry) for entry in entries]
    counts = {name: int(images["parts"][images["image"] == name].sum()) for name in names}
    order = sorted(range(len(entries)), key=lambda index: (counts[names[index]], names[index]))
    chosen = np.unique(np.linspace(0, len(order) - 1, PICTURES).round().astype(int))
    for index in (order[place] for place in chosen.tolist()):
        if jpeg := _draw(predictions, entries[index]):
            yield _Picture(names[index], jpeg, counts[names[index]])


def _draw(predictions: Predictions, entry: Entry) -> str:
    """An image with its mask; an empty text where it is gone, or too large for a picture."""
    try:
        with predictions.image_file(entry) as path:
            if open_large_image(path) is not None:
                return ""
        image, mask = predictions.image(entry), predictions.mask(entry)
    except LimnerError:
        return ""
    small, small_mask = shrink_pair(image, mask, PICTURE_PX)
    return embed_jpeg(draw_overlay(small, small_mask, predictions.labels))
