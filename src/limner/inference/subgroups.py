"""Scores by subgroup: images alike in the size of their mask, in brightness, or in a column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from limner.inference.scores import Scores
from limner.metrics.intervals import Groups, mean_interval

QUARTERS = 4
MAX_VALUES = 12
"""A text column of more distinct values names single images, and gives no subgroups."""

Rows = list[int]
"""Indices of images."""


@dataclass(frozen=True, slots=True)
class Subgroup:
    """Images that share something, and their mean Dice with its 95 % interval."""

    name: str
    images: int
    mean_dice: float
    interval: tuple[float, float]


def score_subgroups(
    scores: Scores, columns: Mapping[str, Sequence[str]] | None = None
) -> dict[str, list[Subgroup]]:
    """Score the images by mask size, by brightness, and by each column that groups them.

    Args:
        scores: of the images.
        columns: a text for each image, by the column's name; empty where there is none. Columns of
            many numbers are cut into quarters.

    Returns the subgroups by title. A title with fewer than two subgroups is left out.
    """
    dice = scores.per_image()["dice"]
    mask_shares = np.array([image.mask_share for image in scores.images])
    brightness = np.array([image.brightness for image in scores.images])
    groups = {
        "share of the image that the mask covers": _quarters(mask_shares, as_percent=True),
        "brightness of the image": _quarters(brightness, as_percent=True),
        **{name: _group_values(values) for name, values in (columns or {}).items()},
    }
    return {
        title: [
            _score_subgroup(name, dice[rows], [scores.groups[row] for row in rows])
            for name, rows in group
        ]
        for title, group in groups.items()
        if len(group) > 1
    }


def _group_values(values: Sequence[str]) -> list[tuple[str, Rows]]:
    """Group images by equal values, or many numbers by quarters; no group for many texts."""
    stated = {value for value in values if value}
    numbers = _parse_numbers(values)
    if len(stated) > MAX_VALUES:
        return [] if numbers is None else _quarters(numbers)
    if numbers is None:
        names = sorted(stated)
    else:
        names = sorted(stated, key=lambda value: (float(value), value))
    if "" in values:
        names.append("")
    return [(name, [row for row, value in enumerate(values) if value == name]) for name in names]


def _parse_numbers(values: Sequence[str]) -> Float64[ndarray, " n"] | None:
    """The values as numbers, NaN where there is none; None where one is not a number."""
    try:
        return np.array([float(value) if value else np.nan for value in values])
    except ValueError:
        return None


def _quarters(
    values: Float64[ndarray, " n"], *, as_percent: bool = False
) -> list[tuple[str, Rows]]:
    """Cut the images into quarters, from the lowest to the highest value.

    Equal values stay together. Images of NaN are left out.
    """
    present = np.flatnonzero(~np.isnan(values))
    if not len(present):
        return []
    cuts = np.quantile(values[present], np.arange(1, QUARTERS) / QUARTERS)
    quarters = np.searchsorted(cuts, values[present], side="left")
    groups = [present[quarters == index] for index in range(QUARTERS) if (quarters == index).any()]
    names = _range_names([values[rows] for rows in groups], as_percent=as_percent)
    return [(name, rows.tolist()) for name, rows in zip(names, groups, strict=True)]


def _range_names(groups: Sequence[Float64[ndarray, " _"]], *, as_percent: bool) -> list[str]:
    """Name groups by their lowest and highest value, with as many digits as tell them apart."""
    factor, kind, unit = (100, "f", " %") if as_percent else (1, "g", "")
    names: list[str] = []
    for digits in range(1, 12) if as_percent else range(6, 17):
        names = [
            f"{factor * values.min():.{digits}{kind}} to "
            f"{factor * values.max():.{digits}{kind}}{unit}"
            for values in groups
        ]
        if len(set(names)) == len(names):
            break
    return names


def _score_subgroup(name: str, dice: Float64[ndarray, " n"], groups: Groups) -> Subgroup:
    present = dice[~np.isnan(dice)]
    low, high = mean_interval(dice[:, None], groups, bounds=(0.0, 1.0))[0]
    return Subgroup(
        name=name or "not stated",
        images=len(dice),
        mean_dice=float(present.mean()) if len(present) else float("nan"),
        interval=(float(low), float(high)),
    )
