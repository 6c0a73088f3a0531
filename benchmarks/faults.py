"""A disk that fails: every write call of a resumed run, one after another, gives ENOSPC or EIO.

Each time the process must end with a status other than 0 and one line that says why. The checkpoint
that was there before must be there still, byte for byte. Needs a C compiler and Linux.

python benchmarks/faults.py [--step 1]
"""

import argparse
import ctypes
import errno
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ERRORS = (errno.ENOSPC, errno.EIO)
SETTINGS = (
    "data.size_px=[16,16]",
    "model.widths=[2,4]",
    "train.epochs=2",
    "train.batch_size=8",
    "train.trackers=[]",
    "train.compile=false",
)


@dataclass(frozen=True)
class Attempt:
    """How a process with a failing write call ended."""

    status: int | None
    output: str
    calls: int
    """Write calls that it made."""


def main() -> None:
    """Build the shim and begin again under it; then let one call after another fail."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", type=int, default=1, help="let only each so many-th call fail")
    arguments = parser.parse_args()
    if "LD_PRELOAD" not in os.environ:
        sys.exit(restart_under_shim())
    with tempfile.TemporaryDirectory() as name:
        sys.exit(storm(Path(name), arguments.step))


def restart_under_shim() -> int:
    """Run this script again with the shim loaded. Returns its exit status."""
    with tempfile.TemporaryDirectory() as name:
        shim = Path(name) / "faults.so"
        source = Path(__file__).with_name("faults.c")
        compiler = ["cc", "-shared", "-fPIC", "-o", str(shim), str(source), "-ldl"]
        subprocess.run(compiler, check=True)
        environment = {
            **os.environ,
            "LD_PRELOAD": str(shim),
            "OMP_NUM_THREADS": "1",
            "LIMNER_CACHE": str(Path(name) / "cache"),
        }
        command = [sys.executable, __file__, *sys.argv[1:]]
        return subprocess.run(command, env=environment).returncode


def storm(work: Path, step: int) -> int:
    """The exit status: 0 where every failure was met as it should be."""
    before = write_stopped_run(work)
    failed = wrong = 0
    for number in ERRORS:
        call = 1
        while (attempt := resume_copy(work, call, number)).calls >= call:
            failed += 1
            if problem := find_problem(work, attempt, before):
                wrong += 1
                print(f"call {call}, {errno.errorcode[number]}: {problem}")
            call += step
        print(f"{errno.errorcode[number]}: calls 1 to {call - 1} failed, one in each run")
    print(
        f"{failed - wrong} of {failed} failures: status not 0, one line, every checkpoint "
        "there whole"
    )
    return int(wrong > 0 or failed == 0)


def write_stopped_run(work: Path) -> dict[str, bytes]:
    """Train one step, stop, and give the content of each checkpoint by its name."""
    from limner.data.synthetic import write_synthetic
    from limner.recipe_file import load_recipe
    from limner.training.events import TrainingStep
    from limner.training.pipeline import start_run

    write_synthetic(work / "data", count=24, size_px=32, seed=1)
    run, events = start_run(work / "data", load_recipe(None, SETTINGS), work / "stopped")
    while not isinstance(next(events), TrainingStep):
        pass
    events.close()
    return {path.name: path.read_bytes() for path in run.checkpoints.paths()}


def find_problem(work: Path, attempt: Attempt, before: dict[str, bytes]) -> str:
    """What is wrong with how a failure was met; empty where nothing is."""
    checkpoints = sorted((work / "run" / "last").glob("[0-9]*.safetensors"))
    temporary = list((work / "run").glob("**/*.part"))
    good = (
        attempt.status not in {0, None}
        and len(attempt.output.splitlines()) == 1
        and attempt.output.startswith("error: ")
        and len(temporary) <= 1
    )
    good &= bool(checkpoints) and all(
        whole(path) and path.read_bytes() == before.get(path.name, path.read_bytes())
        for path in checkpoints
    )
    if good:
        return ""
    return f"status {attempt.status}, {len(temporary)} temporary files, output: {attempt.output}"


def whole(path: Path) -> bool:
    """Whether a checkpoint is what was written, by its SHA-256."""
    from limner.errors import LimnerError
    from limner.model.bundle import read_tensors

    try:
        read_tensors(path)
    except LimnerError:
        return False
    return True


def resume_copy(work: Path, call: int, number: int) -> Attempt:
    """Resume a copy of the stopped run in a process whose so many-th write call fails."""
    shutil.rmtree(work / "run", ignore_errors=True)
    shutil.copytree(work / "stopped", work / "run")
    output, counted = work / "output", work / "counted"
    child = os.fork()
    if child == 0:
        shim = ctypes.CDLL(None)
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = 0
        os.environ["COLUMNS"] = "10000"
        from limner.cli import app

        shim.arm(str(work / "run").encode(), call, number)
        try:
            app(["train", "--resume", str(work / "run")])
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        finally:
            shim.calls.restype = ctypes.c_long
            counted.write_text(str(shim.calls()))
            sys.stderr.flush()
            os._exit(status)
    _, waited = os.waitpid(child, 0)
    status = os.waitstatus_to_exitcode(waited)
    return Attempt(status, output.read_text().strip(), int(counted.read_text()))


if __name__ == "__main__":
    main()
