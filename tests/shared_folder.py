"""Folders that are costly to make: one for all processes that run tests."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def shared_folder(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder of a name; the first process that asks for it makes it, with a cache of its own.
    Tests only read it.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, made = base / f"shared-{name}", base / f"shared-{name}.made"
    with FileLock(base / f"shared-{name}.lock"):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            with pytest.MonkeyPatch.context() as environment:
                environment.setenv("LIMNER_CACHE", str(base / f"shared-{name}.cache"))
                make(folder)
            made.touch()
    return folder
