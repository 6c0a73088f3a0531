"""Scores by slice: images alike in the size of their mask, in brightness, or in a column of a table
about them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from limner.data.images import IMAGE_SUFFIXES
from limner.data.groups import ids_by_name
from limner.data.sample import Sample
from limner.data.scan import Dataset
from limner.data.tables import read_table
from limner.errors import LimnerError
from limner.inference.scores import Scores
from limner.metrics.bootstrap import bootstrap_mean_interval

KEYS = ("image", "id", "image_id", "isic_id", "name", "file", "filename")
"""Columns that may say which image a row is about."""
QUARTERS = 4
MOST_VALUES = 12
"""A column of more distinct texts tells images apart, not groups of them."""


@dataclass(frozen=True, slots=True)
class Subgroup:
    """The images that share something, and their mean Dice with its 95 % interval."""

    name: str
    images: int
    mean_dice: float
    interval: tuple[float, float]


def score_subgroups(
    scores: Scores, columns: Mapping[str, Sequence[str]] | None = None
) -> dict[str, list[Subgroup]]:
    """By mask size, by brightness, and by each column that groups the images; columns hold a text
    for each image, empty where there is none.
    """
    dice = scores.per_image()["dice"]
    groups: dict[str, list[tuple[str, list[int]]]] = {
        "share of the image that the mask covers": _quarters(
            np.array([image.mask_share for image in scores.images]), as_percent=True
        ),
        "brightness of the image": _quarters(
            np.array([image.brightness for image in scores.images]), as_percent=True
        ),
        **{name: _grouped(values) for name, values in (columns or {}).items()},
    }
    return {
        title: [_slice(name, dice[rows]) for name, rows in group]
        for title, group in groups.items()
        if len(group) > 1
    }


def read_metadata(path: Path, dataset: Dataset, samples: Sequence[Sample]) -> dict[str, list[str]]:
    """The columns of a table about samples of a dataset, in their order; it may be about others
    too.

    Raises LimnerError where it cannot be read, is about none of them, names one twice, or by what
    several images bear.
    """
    rows = read_table(path)
    header = list(rows[0]) if rows else []
    key = next((name for name in header if name.lower() in KEYS), None)
    if key is None:
        raise LimnerError(
            f"{path} has the columns {', '.join(header) or 'none'}. One of them must name the "
            f"image: {', '.join(KEYS)}."
        )
    ids, files = (
        ids_by_name(dataset.root, dataset.samples),
        {sample.id: sample.image for sample in dataset.samples},
    )
    about: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, start=2):
        name = PurePosixPath(
            row[key].replace("\\", "/")
            # A table of another machine has its paths
        )
        meant = next(
            (
                ids[one]
                for one in (
                    row[key],
                    name.name,
                    *([name.stem] if name.suffix.lower() in IMAGE_SUFFIXES else []),
                )
                if one in ids
            ),
            set(),
        )
        if len({files[id] for id in meant}) > 1:
            raise LimnerError(
                f"{path}, line {number}: several images bear the name {row[key]!r}. Give its "
                f"path in the dataset, such as {samples[0].id}."
            )
        if twice := [id for id in meant if id in about and about[id] != row]:
            raise LimnerError(
                f"{path}, line {number}: {twice[0]} was named before, with other values. Keep "
                "one line for each image."
            )
        about |= dict.fromkeys(meant, row)
    found = [about.get(sample.id) for sample in samples]
    if not any(found):
        raise LimnerError(
            f"{path} is about none of these images: its {key} is, for example, "
            f"{rows[0][key]!r}, and theirs {samples[0].id!r}."
        )
    return {name: [row[name] if row else "" for row in found] for name in header if name != key}


def _grouped(values: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Quarters of numbers, or images of the same text; nothing where the texts are too many."""
    known = [value for value in values if value]
    try:
        numbers = np.array([float(value) if value else np.nan for value in values])
    except ValueError:
        numbers = np.zeros(0)
    if len(numbers) and len(set(known)) > MOST_VALUES:
        return _quarters(numbers)
    distinct = sorted(
        set(known), key=lambda value: (float(value), value) if len(numbers) else (0.0, value)
    )
    if len(distinct) > MOST_VALUES:
        return []
    return [
        (value, [i for i, one in enumerate(values) if one == value])
        for value in (*distinct, *[""] * (len(known) < len(values)))
    ]


def _quarters(
    values: Float64[ndarray, " n"], *, as_percent: bool = False
) -> list[tuple[str, list[int]]]:
    """The lowest quarter of the images to the highest; equal values stay together."""
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
        return []
    cuts = np.quantile(values[known], np.arange(1, QUARTERS) / QUARTERS)
    places = np.searchsorted(cuts, values[known], side="left")
    groups = [known[places == place] for place in range(QUARTERS) if (places == place).any()]
    factor, form, unit = (100, "f", " %") if as_percent else (1, "g", "")
    ends = [(factor * values[rows].min(), factor * values[rows].max()) for rows in groups]
    for digits in (
        range(1, 12) if as_percent else range(6, 17)
        # As many as tell the quarters apart
    ):
        names = [f"{low:.{digits}{form}} to {high:.{digits}{form}}{unit}" for low, high in ends]
        if len(set(names)) == len(names):
            break
    return [(name, rows.tolist()) for name, rows in zip(names, groups, strict=True)]


def _slice(name: str, dice: Float64[ndarray, " n"]) -> Subgroup:
    known = dice[~np.isnan(dice)]
    low, high = bootstrap_mean_interval(known[:, None])[0] if len(known) else (np.nan, np.nan)
    return Subgroup(
        name or "not stated",
        len(dice),
        float(known.mean()) if len(known) else float("nan"),
        (float(low), float(high)),
    )
