"""Tables of measures: columns of equal length, as CSV and as Parquet."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

from limner.data.readers.pixel_size import UM_PER, PixelSize
from limner.errors import requires_extra
from limner.files import atomic_file, write_atomic
from limner.measures.parts import EXTRA

DIGITS = 8
"""Significant digits of a number in CSV. Parquet holds all of them."""

Table = dict[str, Shaped[ndarray, " _"]]
"""Columns by their names, all of one length."""


def join_tables(tables: Sequence[Table]) -> Table:
    """Put tables below each other.

    A column that some of them lack is empty there: NaN, or an empty text.
    """
    names = dict.fromkeys(name for table in tables for name in table)
    return {
        name: np.concatenate([_column(table, name, tables) for table in tables]) for name in names
    }


def _column(table: Table, name: str, tables: Sequence[Table]) -> Shaped[ndarray, " _"]:
    if name in table:
        return table[name]
    example = next(other[name] for other in tables if name in other)
    length = len(next(iter(table.values())))
    return np.full(length, "" if example.dtype.kind == "U" else np.nan)


def write_table(folder: Path, name: str, table: Table) -> None:
    """Write a table as `NAME.csv` and as `NAME.parquet`."""
    write_atomic(folder / f"{name}.csv", _to_csv(table))
    with requires_extra("limner measure", EXTRA):
        import pyarrow as arrow
        from pyarrow import parquet
    with atomic_file(folder / f"{name}.parquet") as part:
        parquet.write_table(arrow.table({key: arrow.array(table[key]) for key in table}), part)


def _to_csv(table: Table) -> str:
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*(map(_cell, table[name].tolist()) for name in table), strict=True))
    return content.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.{DIGITS}g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def choose_unit(sizes: Iterable[PixelSize | None]) -> str | None:
    """Choose the unit of length that most of the images have; None where none has one."""
    units = Counter(size.unit for size in sizes if size and size.unit in UM_PER)
    return units.most_common(1)[0][0] if units else None


def summarise(values: Shaped[ndarray, " n"]) -> Mapping[str, float]:
    """Compute the median and the quartiles of what is a number."""
    present = values[~np.isnan(values)]
    if not len(present):
        return dict.fromkeys(("low", "median", "high"), float("nan"))
    low, median, high = np.quantile(present, (0.25, 0.5, 0.75)).tolist()
    return {"low": low, "median": median, "high": high}
