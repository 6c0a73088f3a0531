"""The data.yaml of a YOLO set: where its splits lie, and how its classes are called.

Only the form of YAML that such files have is read: keys at the left, with a text, a list or
numbered names.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from limner.data.sample import Split
from limner.data.tables import read_text_lines
from limner.errors import LimnerError

FILE_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
SPLIT_KEYS: dict[str, Split] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "test": "test",
}
_KEY = re.compile(r"([A-Za-z_][\w-]*)\s*:(?:\s+(.*))?$")
_NUMBERED = re.compile(r"(\d+)\s*:\s+(.*)")
_DOUBLE, _SINGLE = r'"((?:[^"\\]|\\.)*)"', r"'((?:[^']|'')*)'"
_PLAIN = r"""([^,\[\]{}"'][^,\[\]{}]*?)"""
_ITEM = re.compile(rf"\s*(?:(\d+)\s*:\s*)?(?:{_DOUBLE}|{_SINGLE}|{_PLAIN})\s*(?:,|$)")
"""A member of a list or a map in brackets: its number, if any, and its text in one of three forms.
"""


@dataclass(frozen=True, slots=True)
class DataYaml:
    """What a data.yaml says."""

    file: Path
    names: Sequence[str]
    """The classes by their numbers."""
    splits: Mapping[Split, Sequence[str]]
    """Folders of images, or lists of them, by split."""


def read_data_yaml(root: Path) -> DataYaml | None:
    """Read the data.yaml at the top of a set; None where there is none.

    Raises LimnerError where the names or the splits are in a form that is not read.
    """
    path = next((root / name for name in FILE_NAMES if (root / name).is_file()), None)
    if path is None:
        return None
    entries = dict(_entries(read_text_lines(path)))
    names = _values(path, "names", entries.get("names", []))
    splits = {
        split: _values(path, key, entries[key])
        for key, split in SPLIT_KEYS.items()
        if key in entries
    }
    return DataYaml(path, names, splits)


def _entries(lines: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """The keys at the left with the lines that belong to each, without comments."""
    key, members = "", list[str]()
    for line in lines:
        text = _without_comment(line).rstrip()
        if not text.strip():
            continue
        match = _KEY.match(text)
        if match and not line[0].isspace():
            if key:
                yield key, members
            key, members = match[1], [match[2]] if match[2] else []
        else:
            members.append(text.strip())
    if key:
        yield key, members


def _without_comment(line: str) -> str:
    """Cut off what follows a # that begins a word and is in no quotes."""
    quote = ""
    for index, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and (index == 0 or line[index - 1] in " \t[{,:"):
            quote = character
        elif character == "#" and (index == 0 or line[index - 1].isspace()):
            return line[:index]
    return line


def _values(path: Path, key: str, lines: Sequence[str]) -> list[str]:
    """A text, a list, or numbered names in the order of their numbers."""
    if not lines:
        return []
    text = " ".join(lines)
    if text[0] in "[{":
        items = _flow_items(path, key, text)
    elif all(line.startswith("- ") for line in lines):
        items = [(None, _scalar(line[2:])) for line in lines]
    elif all(_NUMBERED.fullmatch(line) for line in lines):
        matches = [_NUMBERED.fullmatch(line) for line in lines]
        items = [(int(match[1]), _scalar(match[2])) for match in matches if match]
    elif len(lines) == 1:
        return [_scalar(lines[0])]
    else:
        raise _not_understood(path, key, lines[0])
    if text[0] == "{" and any(number is None for number, _ in items):
        raise _not_understood(path, key, text)
    if any(number is None for number, _ in items):
        return [value for _, value in items]
    numbered = {number: value for number, value in items if number is not None}
    if sorted(numbered) != list(range(len(items))):
        raise LimnerError(
            f"{path} numbers its {key} {', '.join(map(str, sorted(numbered)))}. They are counted "
            "from 0, and none is left out."
        )
    return [numbered[number] for number in range(len(items))]


def _flow_items(path: Path, key: str, text: str) -> list[tuple[int | None, str]]:
    """The members of a list or a map in brackets."""
    if text[-1] != {"[": "]", "{": "}"}[text[0]]:
        raise _not_understood(path, key, text)
    inner, position, items = text[1:-1].strip(), 0, list[tuple[int | None, str]]()
    while position < len(inner):
        match = _ITEM.match(inner, position)
        if match is None:
            raise _not_understood(path, key, inner[position:])
        number, double, single, plain = match.groups()
        value = (
            _unescape(double)
            if double is not None
            else single.replace("''", "'")
            if single is not None
            else plain
        )
        items.append((int(number) if number else None, value))
        position = match.end()
    return items


def _scalar(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        return _unescape(text[1:-1])
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    return text


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _not_understood(path: Path, key: str, text: str) -> LimnerError:
    return LimnerError(
        f"{path} has {key} in a form that is not read: {text[:60]!r}. Write a list, such as "
        f"{key}: [first, second]."
    )
