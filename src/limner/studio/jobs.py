"""Jobs: commands of limner that run as processes of their own, one after the other.

A job lies in a folder: `job.json` says what it is, `output.txt` has what it prints, and
`ended.json` its exit status. Its process waits for the jobs before it, so that all go on when the
server that asked for them has ended, and it holds a lock, by which another server finds it.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from limner.errors import LimnerError
from limner.files import exclusive_lock, try_lock, write_atomic

JobState = Literal["waiting", "running", "done", "failed", "stopped", "lost"]
JOB, OUTPUT, STARTED, ENDED, LOCK = "job.json", "output.txt", "started.json", "ended.json", "lock"
ACTIVE_STATES = frozenset({"waiting", "running"})
START_S = 60
"""A process that has not begun by then never will."""
KEPT = 200
"""Jobs whose record is kept."""
MOST_OUTPUT = 1_000_000
"""Bytes of what a job printed that are given at once: its end."""
INTERRUPTED = 130
POLL_S = 0.01
"""How often a lock that another holds is tried again."""


_processes: list[subprocess.Popen[bytes]] = []
"""Of jobs that this process began. They are asked for their end, so that no zombie stays."""


@dataclass(frozen=True, slots=True)
class Job:
    """A command, and what became of it."""

    id: str
    kind: str
    """Such as "train"."""
    arguments: tuple[str, ...]
    """Of limner, the command's name first."""
    project: str
    """The folder of the project that it belongs to."""
    folder: str
    """Where it runs."""
    at: str
    """When it was asked for."""
    after: str | None = None
    """A job that must have succeeded before."""
    state: JobState = "waiting"
    status: int | None = None
    """Its exit status."""

    @property
    def command(self) -> str:
        """The command as a person types it."""
        return shlex.join(["limner", *self.arguments])

    @property
    def is_active(self) -> bool:
        """Whether it waits or runs."""
        return self.state in ACTIVE_STATES


class JobQueue:
    """The jobs in a folder, of which one runs at a time.

    Args:
        root: The folder; it is created.
        now: Gives the time.
    """

    def __init__(self, root: Path, now: Callable[[], datetime] = datetime.now) -> None:
        self._root, self._now = root, now
        root.mkdir(parents=True, exist_ok=True)

    def add(
        self,
        kind: str,
        arguments: Sequence[str],
        project: Path,
        folder: Path,
        after: str | None = None,
    ) -> Job:
        """Ask for a command to be run in a folder, once those before it have ended."""
        record = {
            "kind": kind,
            "arguments": list(arguments),
            "project": str(project),
            "folder": str(folder),
            "at": self._now().isoformat(timespec="seconds"),
            "after": after,
        }
        place = self._new_place(record)
        _processes[:] = [each for each in _processes if each.poll() is None]
        with (place / OUTPUT).open("wb") as output:
            # Of a session of its own, so that it goes on when this process or its terminal ends
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "limner.studio.job_runner", str(place)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        _processes.append(process)
        return self.read(place.name)

    def all(self) -> list[Job]:
        """All jobs, the newest first."""
        return [read_job(place, self._now) for place in reversed(job_folders(self._root))]

    def of(self, project: Path) -> list[Job]:
        """The jobs of a project, the newest first."""
        return [job for job in self.all() if job.project == str(project)]

    def read(self, id: str) -> Job:
        """One job as it is now. Raises LimnerError where there is none."""
        return read_job(self._place(id), self._now)

    def output(self, id: str, start: int = 0) -> tuple[str, int]:
        """What a job has printed from a byte on, and where that ends."""
        with (self._place(id) / OUTPUT).open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(start, end - MOST_OUTPUT))
            content = file.read()
        # A character may not be whole yet
        whole = len(content) - _cut_off(content)
        return content[:whole].decode("utf-8", "replace"), end - len(content) + whole

    def stop(self, id: str) -> Job:
        """Tell a job to end, as Ctrl-C does; one that waits never begins."""
        job, place = self.read(id), self._place(id)
        if job.is_active and (pid := _process_of(place)):
            os.kill(pid, signal.SIGINT)
        return self.read(id)

    def _new_place(self, record: dict[str, Any]) -> Path:
        """Make the folder of a new job, with the next number, and remove the oldest ones."""
        while True:
            with exclusive_lock(self._root) as held:
                if not held:
                    time.sleep(POLL_S)
                    continue
                places = job_folders(self._root)
                number = 1 + max((int(place.name) for place in places), default=0)
                place = self._root / f"{number:06}"
                place.mkdir()
                write_atomic(place / JOB, json.dumps(record))
                for old in places[:-KEPT]:
                    if not read_job(old).is_active:
                        shutil.rmtree(old, ignore_errors=True)
                return place

    def _place(self, id: str) -> Path:
        place = self._root / id
        if not (id.isascii() and id.isdecimal() and (place / JOB).is_file()):
            raise LimnerError(f"there is no job {id}.")
        return place


def job_folders(root: Path) -> list[Path]:
    """The folders of jobs, the oldest first."""
    return sorted(path for path in root.iterdir() if path.name.isdecimal() and _has_record(path))


def read_job(place: Path, now: Callable[[], datetime] = datetime.now) -> Job:
    """Read the job in a folder. `now` gives the time, by which one that never began is known."""
    record: dict[str, Any] = json.loads((place / JOB).read_text(encoding="utf-8"))
    record["arguments"] = tuple(record["arguments"])
    age_s = (now() - datetime.fromisoformat(record["at"])).total_seconds()
    state, status = _read_state(place, age_s)
    return Job(id=place.name, state=state, status=status, **record)


def _read_state(place: Path, age_s: float) -> tuple[JobState, int | None]:
    if (place / ENDED).is_file():
        status = json.loads((place / ENDED).read_text(encoding="utf-8"))["status"]
        if status == INTERRUPTED:
            return "stopped", status
        return ("failed" if status else "done"), status
    has_started = (place / STARTED).is_file()
    with try_lock(place / LOCK) as is_free:
        pass
    if not is_free:
        return ("running" if _is_running(place) else "waiting"), None
    if (place / ENDED).is_file():
        # It ended between the two looks
        return _read_state(place, age_s)
    return ("lost" if has_started or age_s > START_S else "waiting"), None


def _is_running(place: Path) -> bool:
    return bool(_read_started(place).get("running"))


def _process_of(place: Path) -> int | None:
    return _read_started(place).get("pid")


def _read_started(place: Path) -> dict[str, Any]:
    try:
        started: dict[str, Any] = json.loads((place / STARTED).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return started


def _has_record(place: Path) -> bool:
    return (place / JOB).is_file()


def _cut_off(content: bytes) -> int:
    """How many bytes at the end begin a character of UTF-8 that is not whole."""
    for length in range(1, min(4, len(content) + 1)):
        byte = content[-length]
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return length if length < needed else 0
        if byte < 0x80:
            return 0
    return 0
