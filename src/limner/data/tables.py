"""Small text files of a dataset: CSV tables, lists of lines, and JSON objects."""

import codecs
import csv
import io
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from limner.errors import LimnerError

Row = dict[str, str]
"""One line of a table: the cell of each column, by the column's name."""
HEAD_BYTES = 4096
"""Of a table, in which its column names are."""

# The run lengths of a large mask are longer than the 131,072 characters that csv allows a cell
csv.field_size_limit(sys.maxsize)


def read_table(path: Path) -> list[Row]:
    """Read a CSV table with a line of column names.

    Columns are separated by commas, semicolons or tabs, whichever the first line has most of.
    Cells and names lose the spaces around them. Raises LimnerError for a file that cannot be read.
    """
    try:
        text = _read_text(path)
        head = text.partition("\n")[0]
        reader = csv.DictReader(
            io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count)
        )
        return [
            {str(name).strip(): (cell or "").strip() for name, cell in row.items() if name}
            for row in reader
        ]
    except (OSError, ValueError, csv.Error, AttributeError) as error:
        raise LimnerError(
            f"{path} cannot be read: {error}. Give a table in UTF-8 with a line of column names."
        ) from error


def lower_case_columns(rows: Iterable[Row]) -> list[Row]:
    """Spell the column names of a table in lower case."""
    return [{name.lower(): cell for name, cell in row.items()} for row in rows]


def read_column_names(path: Path) -> list[str]:
    """Read the column names of a table in lower case, also of one that is not in UTF-8.

    Lines before them that are comments are passed over. A file that cannot be opened has none.
    """
    try:
        if not path.is_file():
            return []
        with path.open("rb") as file:
            start = file.read(HEAD_BYTES)
    except OSError:
        return []
    is_utf_16 = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = start.decode("utf-16" if is_utf_16 else "utf-8-sig", errors="replace")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    head = lines[0].replace("\0", "") if lines else ""
    cells = next(csv.reader([head], delimiter=max(",;\t", key=head.count)), [])
    return [cell.strip().lower() for cell in cells]


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text, without empty ones and without the spaces around them.

    Raises LimnerError for a file that cannot be read, or is neither in UTF-8 nor in UTF-16 with
    its mark.
    """
    return [line.strip() for line in read_text_lines(path) if line.strip()]


def read_text_lines(path: Path) -> list[str]:
    """Read all lines of a text as they are. Raises LimnerError as `read_lines` does."""
    try:
        return _read_text(path).splitlines()
    except (OSError, ValueError) as error:
        raise LimnerError(f"{path} cannot be read: {error}. Save it as UTF-8.") from error


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; an empty one where the file holds no JSON object.

    A dataset may hold JSON files of other programs, so that is not an error.
    """
    content = read_json(path)
    return content if isinstance(content, dict) else {}


def read_json(path: Path) -> Any:
    """Read a JSON file; None where the file holds no JSON."""
    try:
        return json.loads(_read_text(path))
    except (OSError, ValueError, RecursionError):
        return None


def _read_text(path: Path) -> str:
    """A text in UTF-8, or in UTF-16 where its first bytes are the mark of that.

    Raises OSError, or ValueError for another coding.
    """
    # To open a pipe is to wait for who writes into it
    if path.exists() and not path.is_file():
        raise ValueError("it is not a file")
    content = path.read_bytes()
    is_utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = content.decode("utf-16" if is_utf_16 else "utf-8-sig")
    # Such as UTF-32, or UTF-16 without its mark
    if "\0" in text:
        raise ValueError("it is not a text in UTF-8")
    return text
