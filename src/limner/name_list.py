"""The first names or lines of many, and how many more there are."""

from collections.abc import Sequence

LISTED = 5
"""How many a message lists before it counts the rest."""


def list_some(names: Sequence[str], limit: int = LISTED, *, count: int | None = None) -> str:
    """Join the first names, as in "a, b and 3 more".

    Args:
        names: All of them, or at least the first `limit`.
        limit: How many are listed.
        count: How many there are in all; by default the number of `names`.
    """
    rest = (len(names) if count is None else count) - limit
    listed = ", ".join(names[:limit])
    return f"{listed} and {rest} more" if rest > 0 else listed


def list_some_lines(lines: Sequence[str], limit: int = LISTED) -> str:
    """Join the first lines, indented, and count the rest in a last line.

    Args:
        lines: All of them.
        limit: How many are listed.
    """
    rest = len(lines) - limit
    listed = [*lines[:limit], f"and {rest} more"] if rest > 0 else lines
    return "\n".join(f"  {line}" for line in listed)
