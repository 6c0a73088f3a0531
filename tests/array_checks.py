"""Check the shapes and types of arrays at run time, in the modules of limner that state them.

jaxtyping checks every function of a module. The others would cost a third of the time of the tests
and state nothing that mypy does not know.
"""

from pathlib import Path

from jaxtyping import install_import_hook

SOURCE = Path(__file__).parent.parent / "src"
ARRAYS = ("jaxtyping", "Pixels")

install_import_hook(
    [
        ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        for path in sorted(SOURCE.rglob("*.py"))
        if any(word in path.read_text(encoding="utf-8") for word in ARRAYS)
    ],
    "beartype.beartype",
)
