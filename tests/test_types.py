"""The checks of the whole source that take a minute: types, and which module imports which."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("check", ["mypy", "lint-imports"])
def test_the_source_passes(check: str) -> None:
    command = Path(sys.executable).with_name(check)
    done = subprocess.run([command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
