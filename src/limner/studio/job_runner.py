"""Runs one job in a process of its own: python -m limner.studio.job_runner FOLDER."""

import json
import os
import runpy
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from limner.files import try_lock, write_atomic
from limner.operating_system import lower_priority
from limner.studio.jobs import (
    ENDED,
    INTERRUPTED,
    LOCK,
    STARTED,
    Job,
    job_folders,
    read_job,
)

POLL_S = 0.25
NICENESS = 5
"""The page answers while all cores train."""
COLUMNS = "100"


def main(place: Path) -> None:
    """Wait for the job's turn, run its command, and write its exit status."""
    # A shell that starts a server in the background lets its children ignore Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with _held(place / LOCK):
        status = INTERRUPTED
        try:
            _write_started(place, running=False)
            job = read_job(place)
            if _wait_for_turn(place, job):
                _write_started(place, running=True)
                status = _run_command(job)
            else:
                print(f"error: job {job.after} did not succeed, so this one was not begun.")
                status = 1
        except KeyboardInterrupt:
            print("Stopped.")
        finally:
            write_atomic(place / ENDED, json.dumps({"status": status}))


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold a lock, which others take for a moment to see whether it is held."""
    with ExitStack() as stack:
        while not stack.enter_context(try_lock(path)):
            time.sleep(0.01)
        yield


def _write_started(place: Path, *, running: bool) -> None:
    write_atomic(place / STARTED, json.dumps({"pid": os.getpid(), "running": running}))


def _wait_for_turn(place: Path, job: Job) -> bool:
    """Wait until all jobs before have ended. Whether the one that must succeed has done so."""
    while any(
        read_job(other).is_active for other in job_folders(place.parent) if other.name < place.name
    ):
        time.sleep(POLL_S)
    return job.after is None or read_job(place.parent / job.after).state == "done"


def _run_command(job: Job) -> int:
    """Run the command in this process, and give its exit status."""
    os.chdir(job.folder)
    os.environ["COLUMNS"] = COLUMNS
    lower_priority(NICENESS)
    sys.argv[:] = ["limner", *job.arguments]
    try:
        runpy.run_module("limner", run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        return INTERRUPTED
    # What no command should raise is a bug, which the page shows whole
    except Exception:  # noqa: BLE001
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
