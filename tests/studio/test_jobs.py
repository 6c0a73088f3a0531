"""Jobs with real processes."""

import json
import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.errors import LimnerError
from limner.studio.jobs import KEPT, Job, JobQueue, read_job
from waiting import wait_until

SMALL = ("sample", "set", "--count", "4", "--size", "32")
LONG = ("sample", "long", "--count", "1000000", "--size", "32")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def queue(tmp_path: Path) -> JobQueue:
    return JobQueue(tmp_path / "jobs")


def add(queue: JobQueue, work: Path, *arguments: str, after: str | None = None) -> Job:
    return queue.add(arguments[0], arguments, work / "set", work, after)


def end(queue: JobQueue, job: Job) -> Job:
    """Wait until a job has ended."""
    wait_until(lambda: not queue.read(job.id).is_active)
    return queue.read(job.id)


def is_running(queue: JobQueue, job: Job) -> bool:
    return queue.read(job.id).state == "running"


def test_jobs_run_one_after_the_other_in_their_folder(queue: JobQueue, work: Path) -> None:
    first = add(queue, work, *SMALL)
    second = add(queue, work, "check", "set")
    assert end(queue, second).state == "done"
    assert queue.read(first.id).state == "done" and (work / "checks" / "set").is_dir()
    assert [job.id for job in queue.all()] == [second.id, first.id]
    assert "4 images of 32x32 px" in queue.output(first.id)[0].replace("\n", " ")
    assert first.command == "limner sample set --count 4 --size 32"


def test_a_job_that_fails_shows_the_message_of_the_command(queue: JobQueue, work: Path) -> None:
    failed = end(queue, add(queue, work, "train", "set"))
    after = end(queue, add(queue, work, "check", "set", after=failed.id))
    assert (failed.state, failed.status) == ("failed", 1)
    assert "error: set is not there. Give a folder" in queue.output(failed.id)[0]
    assert after.state == "failed" and "was not begun" in queue.output(after.id)[0]


def test_jobs_are_stopped_and_those_that_wait_never_begin(queue: JobQueue, work: Path) -> None:
    long = add(queue, work, *LONG)
    waiting = add(queue, work, *SMALL)
    wait_until(lambda: is_running(queue, long))
    assert queue.read(waiting.id).state == "waiting"
    # Its process may have no number yet
    wait_until(lambda: not queue.stop(waiting.id).is_active)
    queue.stop(long.id)
    assert (end(queue, long).state, queue.read(waiting.id).state) == ("stopped", "stopped")
    assert not (work / "set").exists()


def test_a_job_goes_on_when_whoever_asked_for_it_has_died(tmp_path: Path, work: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from limner.studio.jobs import JobQueue\n"
        "root, work = map(Path, sys.argv[1:])\n"
        f"JobQueue(root).add('sample', {SMALL}, work, work)\n"
        "os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", script, tmp_path / "jobs", work]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    queue = JobQueue(tmp_path / "jobs")
    assert end(queue, queue.all()[0]).state == "done"


def test_a_job_whose_process_was_killed_is_lost_and_the_next_begins(
    queue: JobQueue, tmp_path: Path, work: Path
) -> None:
    long, waiting = add(queue, work, *LONG), add(queue, work, *SMALL)
    wait_until(lambda: is_running(queue, long))
    started = json.loads((tmp_path / "jobs" / long.id / "started.json").read_text())
    os.kill(started["pid"], signal.SIGKILL)
    assert end(queue, long).state == "lost"
    assert end(queue, waiting).state == "done"


def test_a_job_that_never_began_is_lost_after_a_minute(tmp_path: Path) -> None:
    place = tmp_path / "000001"
    place.mkdir()
    at = datetime(2026, 1, 1, 12)
    record = {"kind": "check", "arguments": [], "project": "", "folder": "", "after": None}
    (place / "job.json").write_text(json.dumps({**record, "at": at.isoformat()}))
    assert read_job(place, lambda: at + timedelta(seconds=30)).state == "waiting"
    assert read_job(place, lambda: at + timedelta(seconds=90)).state == "lost"


def test_records_of_old_jobs_are_removed(queue: JobQueue, tmp_path: Path, work: Path) -> None:
    first = end(queue, add(queue, work, *SMALL))
    for number in range(2, KEPT + 2):
        place = tmp_path / "jobs" / f"{number:06}"
        place.mkdir()
        for name in ("job.json", "ended.json", "output.txt"):
            (place / name).write_bytes((tmp_path / "jobs" / first.id / name).read_bytes())
    end(queue, add(queue, work, "check", "set"))
    assert len(queue.all()) == KEPT + 1
    with pytest.raises(LimnerError, match=r"there is no job 000001\."):
        queue.read(first.id)


@pytest.mark.parametrize("id", ["7", "x", "../jobs", ""])
def test_other_jobs_than_there_are_cannot_be_read(queue: JobQueue, id: str) -> None:
    with pytest.raises(LimnerError, match="there is no job"):
        queue.output(id)


@given(st.text(), st.lists(st.integers(0, 40), max_size=6))
def test_output_in_parts_is_the_whole(text: str, cuts: list[int]) -> None:
    from tempfile import TemporaryDirectory

    content = text.encode("utf-8", "ignore")
    with TemporaryDirectory() as folder:
        queue, place = JobQueue(Path(folder)), Path(folder) / "000001"
        place.mkdir()
        (place / "job.json").touch()
        parts, start = [], 0
        for length in (*sorted(cuts), len(content)):
            (place / "output.txt").write_bytes(content[:length])
            part, start = queue.output("000001", start)
            parts.append(part)
    assert "".join(parts) == content.decode()
