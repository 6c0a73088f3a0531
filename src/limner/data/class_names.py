"""Class-name files, such as classes.txt: pixel values or colours with the names of classes."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from limner.data.tables import read_lines
from limner.errors import LimnerError

ClassNames = Sequence[tuple[int, str]]
"""Pixel values, or colours as 0xRRGGBB, each with the name of its class."""

CLASS_NAME_FILES = (
    "classes.txt",
    "labels.txt",
    "class_dict.csv",
    "label_colors.txt",
    "labelmap.txt",
    "objectInfo150.txt",
    "_classes.csv",
)
"""Looked for at the top of a dataset, in this order: the last three are CVAT's, ADE's and
Roboflow's.
"""
ADE_HEAD = "Idx"
"""The first column of ADE's table, whose last one has the names. 0 is what has no class."""

_COMMENT_OR_HEAD = re.compile(
    r"#(?![0-9a-fA-F]{6}\b)|name\s*,\s*r\s*,|pixel value\s*,", re.IGNORECASE
)
_NAME_THEN_VALUE = re.compile(r"([^\d,;#]+?)[\s:=]+(\d+)")
_HEX_COLOUR = re.compile(r"#([0-9a-fA-F]{6})[\s,:;=]+(.+)")
_RGB_THEN_NAME = re.compile(r"(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\D.*)")
_NAME_THEN_RGB = re.compile(r"(.*\D)\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})")
_CVAT_LABEL = re.compile(r"([^:]+):(\d{1,3}),(\d{1,3}),(\d{1,3}):.*")
_VALUE_THEN_NAME = re.compile(r"(\d+)[\s,:;=]+(.+)")


def read_class_names(root: Path, folders: Iterable[Path] = ()) -> ClassNames:
    """Read the class-name file of a dataset; nothing where there is none.

    A line is `name`, `7 name`, `name 7`, `#804080 name`, `128 64 128 name`, `name,128,64,128` or
    `name:128,64,128::`. Roboflow has the same file in each of the `folders` at the top.

    Raises LimnerError where two lines have one value, a colour is above ffffff, or the files of
    two folders differ.
    """
    path = next((root / name for name in CLASS_NAME_FILES if (root / name).is_file()), None)
    if path is not None:
        return _read(path)
    candidates = (folder / CLASS_NAME_FILES[-1] for folder in folders)
    files = sorted(path for path in candidates if path.is_file())
    if not files:
        return ()
    first, *others = (_read(file) for file in files)
    for file, other in zip(files[1:], others, strict=True):
        if other != first:
            raise LimnerError(
                f"{files[0]} and {file} give other classes. Each split has the same: mend one."
            )
    return first


def _read(path: Path) -> ClassNames:
    if path.name == CLASS_NAME_FILES[-2]:
        return _read_ade(path)
    lines = [
        line
        for line in read_lines(path)
        if not _COMMENT_OR_HEAD.match(line) and line != "__ignore__"
    ]
    class_names = _names_then_values(lines) or tuple(
        _parse_line(number, line) for number, line in enumerate(lines)
    )
    values = [value for value, _ in class_names]
    if len(set(values)) < len(values) or max(values, default=0) > 0xFFFFFF:
        raise LimnerError(
            f"{path} gives a pixel value twice, or a colour above ffffff. Each line holds a "
            "value and its class name."
        )
    return class_names


def _read_ade(path: Path) -> ClassNames:
    """Read ADE's table: a number, shares and counts, and names, of which the first is taken."""
    rows = [line.split("\t") for line in read_lines(path) if not line.startswith(ADE_HEAD)]
    if not all(len(row) > 1 and row[0].strip().isdigit() for row in rows):
        raise LimnerError(
            f"{path} is not ADE's table of a number and names in each line. Write a classes.txt "
            "with lines such as 1 wall."
        )
    named = ((int(row[0]), row[-1].split(",")[0].split(";")[0].strip()) for row in rows)
    return ((0, "void"), *named)


def _names_then_values(lines: list[str]) -> ClassNames:
    """Lines of a name and then its value; nothing where the lines are not all of that form.

    "class 1" and "class 2" are names without values: there the first words are the same.
    """
    matches = [match for line in lines if (match := _NAME_THEN_VALUE.fullmatch(line))]
    first_words = {re.split(r"[\s:=]+", line)[0] for line in lines}
    if not len(matches) == len(first_words) == len(lines):
        return ()
    return tuple((int(match[2]), match[1].strip()) for match in matches)


def _parse_line(number: int, line: str) -> tuple[int, str]:
    """The value and the name of a line; a line that is only a name has its number as value."""
    if match := _HEX_COLOUR.fullmatch(line):
        return int(match[1], 16), match[2].strip()
    if match := _RGB_THEN_NAME.fullmatch(line):
        return _colour(match[1], match[2], match[3]), match[4].strip()
    if match := _NAME_THEN_RGB.fullmatch(line):
        return _colour(match[2], match[3], match[4]), match[1].strip()
    if match := _CVAT_LABEL.fullmatch(line):
        return _colour(match[2], match[3], match[4]), match[1].strip()
    if match := _VALUE_THEN_NAME.fullmatch(line):
        return int(match[1]), match[2].strip()
    return number, line


def _colour(red: str, green: str, blue: str) -> int:
    return int(red) << 16 | int(green) << 8 | int(blue)
