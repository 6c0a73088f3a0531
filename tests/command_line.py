"""The command line in this process: torch's import, three seconds of each process, is paid once."""

import io
import os
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from limner.cli import app, refuse_key_values

TINY_TRAINING = (
    "data.size_px=[16,16]",
    "model.widths=[2,4,8]",
    "train.epochs=2",
    "train.batch_size=4",
    "train.device=cpu",
    "train.precision=float32",
    "train.compile=false",
)
"""Settings of a training that takes a second."""


@dataclass(frozen=True)
class Output:
    """What a command printed, and its exit status."""

    returncode: int
    stdout: str
    stderr: str


def limner(*arguments: object, cwd: Path = Path()) -> Output:
    """Run a command as `python -m limner` does. An error that it does not catch is the test's."""
    stdout, stderr = io.StringIO(), io.StringIO()
    status: int | str | None = 0
    with chdir(cwd), redirect_stdout(stdout), redirect_stderr(stderr):
        try:
            refuse_key_values(list(map(str, arguments)))
            app(list(map(str, arguments)), prog_name="limner")
        except SystemExit as end:
            status = end.code
    assert isinstance(status, int), status
    return Output(status, stdout.getvalue(), stderr.getvalue())


def run_limner(*arguments: object) -> str:
    """Run a command that must succeed; what it printed, without its line breaks."""
    done = limner(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return " ".join(done.stdout.split())


# Consoles take their width when they are made
assert os.environ["COLUMNS"] == "200", "conftest.py sets the width before limner.cli is imported"
