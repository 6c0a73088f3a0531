"""Arguments as Ultralytics has them, and paths that fell apart: answered with the line to type."""

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

KEY_VALUE = re.compile(r"([a-z_]+)=(.*)", re.DOTALL)
OPTIONS = {
    "epochs": "--epochs",
    "imgsz": "--size",
    "batch": "--batch-size",
    "device": "--device",
    "name": "--name",
    "conf": "--threshold",
    "minutes": "--minutes",
    "encoder": "--encoder",
    "resume": "--resume",
    "out": "--out",
}
"""Options of limner by their keys there."""
POSITIONS = {"model": 0, "weights": 0, "data": 1, "source": 1}
"""What stands without a name, in this order."""
MOST_WORDS = 8
"""Of a path that its spaces took apart."""
WITHOUT_MODEL = frozenset({"train", "check", "audit", "loop"})
"""Commands whose model is none that another tool trained."""


def line_to_type(arguments: Sequence[str]) -> str | None:
    """The command that is meant, where some arguments are a key and a value; None where none is.

    Args:
        arguments: Of limner, the command's name first.

    Example:
        >>> line_to_type(["train", "data=lesions", "epochs=40"])
        'limner train lesions --epochs 40'
    """
    if not arguments:
        return None
    command, *rest = arguments
    positions: list[tuple[int, str]] = []
    options: list[str] = []
    has_any = False
    for number, argument in enumerate(rest):
        match = KEY_VALUE.fullmatch(argument)
        follows_option = number > 0 and rest[number - 1].startswith("-")
        key = match[1] if match else ""
        is_known = key in OPTIONS or key in POSITIONS
        if match is None or follows_option or not is_known or Path(argument).exists():
            options.append(argument)
            continue
        has_any = True
        if key in OPTIONS:
            options += [OPTIONS[key], match[2]]
        elif not (POSITIONS[key] == 0 and command in WITHOUT_MODEL):
            positions.append((POSITIONS[key], match[2]))
    if not has_any:
        return None
    return shlex.join(["limner", command, *(text for _, text in sorted(positions)), *options])


def line_with_quotes(arguments: Sequence[str]) -> str | None:
    """The command with a path in quotes that its spaces took apart; None where none is.

    Example:
        >>> line_with_quotes(["check", "my photos"])  # It was in quotes
    """
    start = 1
    for end in range(2, len(arguments) + 1):
        if arguments[end - 1].startswith("-") or os.path.lexists(arguments[end - 1]):
            start = end
            continue
        for first in range(max(start, end - MOST_WORDS), end - 1):
            path = " ".join(arguments[first:end])
            if os.path.lexists(path):
                words = [*arguments[:first], path, *arguments[end:]]
                return shlex.join(["limner", *words])
    return None
