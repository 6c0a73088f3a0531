"""Scores by slice: images alike in the size of their mask, in brightness, or in a column of a table about them."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from limner.data.samples import Sample
from limner.errors import LimnerError
from limner.inference.evaluate import Scores
from limner.metrics import mean_interval

KEYS = ("image", "id", "image_id", "isic_id", "name", "file", "filename")
"""Columns that may say which image a row is about."""
QUARTERS = 4
MOST_VALUES = 12
"""A column of more distinct texts tells images apart, not groups of them."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The images that share something, and their mean Dice with its 95 % interval."""

    name: str
    images: int
    mean_dice: float
    interval: tuple[float, float]


def slices(scores: Scores, columns: Mapping[str, Sequence[str]] | None = None) -> dict[str, list[Slice]]:
    """By mask size, by brightness, and by each column that groups the images; columns hold a text for each image, empty where there is none."""
    dice = scores.per_image()["dice"]
    groups = {
        "share of the image that the mask covers": _quarters(np.array([image.truth_share for image in scores.images]), as_percent=True),
        "brightness of the image": _quarters(np.array([image.brightness for image in scores.images]), as_percent=True),
        **{name: _grouped(values) for name, values in (columns or {}).items()},
    }
    return {title: [_slice(name, dice[rows]) for name, rows in group.items()] for title, group in groups.items() if len(group) > 1}


def read_columns(path: Path, samples: Sequence[Sample]) -> dict[str, list[str]]:
    """The columns of a CSV about the samples, in their order. Raises LimnerError where it cannot be read or is about other images."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LimnerError(f"{path} cannot be read ({error}). Give a CSV in UTF-8 with a header.") from error
    header = [name for name in (rows[0] if rows else {}) if name]
    key = next((name for name in header if name.lower() in KEYS), None)
    if key is None:
        raise LimnerError(f"{path} has the columns {', '.join(header) or 'none'}. One of them must name the image: {', '.join(KEYS)}.")
    by_name = {Path(row[key] or "").stem: row for row in rows}
    found = [by_name.get(Path(sample.id).name) or by_name.get(sample.image.stem) for sample in samples]
    if not any(found):
        raise LimnerError(f"{path} is about none of these images: its {key} is, for example, {rows[0][key]!r}, and theirs {samples[0].id!r}.")
    return {name: [(row[name] or "") if row else "" for row in found] for name in header if name != key}


def _grouped(values: Sequence[str]) -> dict[str, list[int]]:
    """Quarters of numbers, or images of the same text; nothing where the texts are too many."""
    known = [value for value in values if value]
    try:
        numbers = np.array([float(value) if value else np.nan for value in values])
    except ValueError:
        numbers = np.zeros(0)
    if len(numbers) and len(set(known)) > MOST_VALUES:
        return _quarters(numbers)
    distinct = sorted(set(known), key=lambda value: (float(value), value) if len(numbers) else (0.0, value))
    if len(distinct) > MOST_VALUES:
        return {}
    return {value: [i for i, one in enumerate(values) if one == value] for value in (*distinct, *[""] * (len(known) < len(values)))}


def _quarters(values: Float64[ndarray, " n"], *, as_percent: bool = False) -> dict[str, list[int]]:
    """The lowest quarter of the images to the highest; equal values stay together."""
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
        return {}
    cuts = np.quantile(values[known], np.arange(1, QUARTERS) / QUARTERS)
    places = np.searchsorted(cuts, values[known], side="left")
    groups: dict[str, list[int]] = {}
    for place in range(QUARTERS):
        rows = known[places == place]
        if len(rows):
            low, high = values[rows].min(), values[rows].max()
            groups[f"{100 * low:.1f} to {100 * high:.1f} %" if as_percent else f"{low:g} to {high:g}"] = rows.tolist()
    return groups


def _slice(name: str, dice: Float64[ndarray, " n"]) -> Slice:
    known = dice[~np.isnan(dice)]
    low, high = mean_interval(known[:, None])[0] if len(known) else (np.nan, np.nan)
    return Slice(name or "not stated", len(dice), float(known.mean()) if len(known) else float("nan"), (float(low), float(high)))
