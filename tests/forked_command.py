"""A command in a process of its own that has its imports already: a fork of a process with them."""

import multiprocessing
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from limner.cli import app

FORK_SERVER = multiprocessing.get_context("forkserver")
# All that `limner review`, `serve`, `studio` and `train` import; its seconds are paid once
FORK_SERVER.set_forkserver_preload(
    [
        "forked_command",
        "limner.inference.engine_choice",
        "limner.review.verdicts",
        "limner.training.pipeline",
        "limner.web.server",
        "limner.web.service.app",
        "limner.web.studio.app",
        "onnxruntime",
    ]
)


def run(
    arguments: tuple[str, ...],
    environment: Mapping[str, str],
    stdout: Path,
    stderr: Path,
    cwd: Path | None,
) -> None:
    os.chdir(cwd or Path.cwd())
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, path in ((1, stdout), (2, stderr)):
        with path.open("w") as file:
            os.dup2(file.fileno(), descriptor)
    app(list(arguments), prog_name="limner")


class ForkedCommand:
    """What tests use of `subprocess.Popen`."""

    def __init__(
        self,
        *arguments: str,
        environment: Mapping[str, str],
        stdout: Path,
        stderr: Path,
        cwd: Path | None = None,
    ) -> None:
        self._process = FORK_SERVER.Process(
            target=run, args=(arguments, dict(environment), stdout, stderr, cwd), daemon=True
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        if self.poll() is None:
            self.send_signal(signal.SIGKILL)

    def wait(self, timeout_s: float) -> int:
        self._process.join(timeout_s)
        status = self.poll()
        assert status is not None, f"it runs still after {timeout_s} s"
        return status
