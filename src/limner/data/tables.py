"""Small text files of a dataset: CSV tables, lists of lines, and JSON objects."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from limner.errors import LimnerError

Row = dict[str, str]
"""One line of a table: the cell of each column, by the column's name."""


def read_table(path: Path) -> list[Row]:
    """Read a CSV table with a line of column names.

    Columns are separated by commas, semicolons or tabs, whichever the first line has most of.
    Cells and names lose the spaces around them. Raises LimnerError for a file that cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            head = file.readline()
            file.seek(0)
            reader = csv.DictReader(file, delimiter=max(",;\t", key=head.count))
            return [
                {str(name).strip(): (cell or "").strip() for name, cell in row.items() if name}
                for row in reader
            ]
    except (OSError, UnicodeDecodeError, csv.Error, AttributeError) as error:
        raise LimnerError(
            f"{path} cannot be read: {error}. Give a table in UTF-8 with a line of column names."
        ) from error


def lower_case_columns(rows: Iterable[Row]) -> list[Row]:
    """Spell the column names of a table in lower case."""
    return [{name.lower(): cell for name, cell in row.items()} for row in rows]


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text, without empty ones and without the spaces around them.

    Raises LimnerError for a file that cannot be read or is not in UTF-8.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LimnerError(f"{path} cannot be read: {error}. Save it as UTF-8.") from error
    return [line.strip() for line in lines if line.strip()]


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; an empty one where the file holds no JSON object.

    A dataset may hold JSON files of other programs, so that is not an error.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
