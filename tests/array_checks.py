"""Check the shapes and types of arrays at run time, in the functions of limner that state them.

The others would cost a third of the time of the tests and state nothing that mypy does not know.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jaxtyping
from jaxtyping import install_import_hook, jaxtyped

SOURCE = Path(__file__).parent.parent / "src"
ARRAYS = ("jaxtyping", "Pixels")


def states_arrays(checked: Any) -> bool:
    """Whether a function or a dataclass has an array among its annotations."""
    hints = getattr(checked, "__annotations__", {})
    return any("jaxtyping" in repr(hint) for hint in hints.values())


def checked_if_arrays(checked: Any = None, *, typechecker: Callable[..., Any]) -> Any:
    """A decorator: a function or a dataclass with its arrays checked, where it states any."""
    if checked is None:
        return partial(checked_if_arrays, typechecker=typechecker)
    stated = getattr(checked, "__func__", None) or getattr(checked, "fget", None) or checked
    return jaxtyped(checked, typechecker=typechecker) if states_arrays(stated) else checked


# The import hook decorates every function of a module with it
jaxtyping.jaxtyped = checked_if_arrays
install_import_hook(
    [
        ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        for path in sorted(SOURCE.rglob("*.py"))
        if any(word in path.read_text(encoding="utf-8") for word in ARRAYS)
    ],
    "beartype.beartype",
)
