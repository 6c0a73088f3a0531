"""A disk that fails: every write call of a resumed run, one after another, gives ENOSPC or EIO
until none is left to fail.

Each time the process must end with a status other than 0 and one line that says why, and the
checkpoint that was there before must be there still, byte for byte. Needs a C compiler and Linux.

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


def main() -> None:
    """Build the shim and begin again under it; then let one call after another fail."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", type=int, default=1, help="let only each so many-th call fail")
    given = parser.parse_args()
    if "LD_PRELOAD" not in os.environ:
        with tempfile.TemporaryDirectory() as name:
            shim = Path(name) / "faults.so"
            subprocess.run(
                [
                    "cc",
                    "-shared",
                    "-fPIC",
                    "-o",
                    str(shim),
                    str(Path(__file__).with_name("faults.c")),
                    "-ldl",
                ],
                check=True,
            )
            environment = {
                **os.environ,
                "LD_PRELOAD": str(shim),
                "OMP_NUM_THREADS": "1",
                "LIMNER_CACHE": str(Path(name) / "cache"),
            }
            sys.exit(
                subprocess.run(
                    [sys.executable, __file__, *sys.argv[1:]], env=environment
                ).returncode
            )
    with tempfile.TemporaryDirectory() as name:
        sys.exit(storm(Path(name), given.step))


def storm(work: Path, step: int) -> int:
    """The exit status: 0 where every failure was met as it should be."""
    from limner.data.synthetic import write_synthetic
    from limner.recipe_file import load_recipe
    from limner.training.events import TrainingStep
    from limner.training.pipeline import start_run

    write_synthetic(work / "data", count=24, size_px=32, seed=1)
    run, events = start_run(
        work / "data", load_recipe(None, SETTINGS), work / "stopped"
    )
    while not isinstance(next(events), TrainingStep):
        pass
    events.close()
    before = {path.name: path.read_bytes() for path in run.checkpoints.paths()}
    failed = wrong = 0
    for number in ERRORS:
        call = 1
        while True:
            status, said, happened = one(work, call, number)
            if happened < call:
                break
            kept = sorted((work / "run" / "last").glob("[0-9]*.safetensors"))
            left = list((work / "run").glob("**/*.part"))
            good = (
                status not in {0, None}
                and len(said.splitlines()) == 1
                and said.startswith("error: ")
                and len(left) <= 1
            )
            good &= bool(kept) and all(
                whole(path) and path.read_bytes() == before.get(path.name, path.read_bytes())
                for path in kept
            )
            failed, wrong = failed + 1, wrong + (not good)
            if not good:
                print(
                    f"call {call}, {errno.errorcode[number]}: status {status}, {len(left)} "
                    f"temporary files, said: {said}"
                )
            call += step
        print(f"{errno.errorcode[number]}: calls 1 to {call - 1} failed, one in each run")
    print(
        f"{failed - wrong} of {failed} failures: status not 0, one line, every checkpoint "
        "there whole"
    )
    return int(wrong > 0 or failed == 0)


def whole(path: Path) -> bool:
    """Whether a checkpoint is what was written, by its SHA-256."""
    from limner.errors import LimnerError
    from limner.model.bundle import read_tensors

    try:
        read_tensors(path)
    except LimnerError:
        return False
    return True


def one(work: Path, call: int, number: int) -> tuple[int | None, str, int]:
    """Resume a copy of the stopped run in a process of its own, whose so many-th write call fails;
    its status, what it said, and how many calls it made.
    """
    shutil.rmtree(work / "run", ignore_errors=True)
    shutil.copytree(work / "stopped", work / "run")
    told, counted = work / "said", work / "counted"
    child = os.fork()
    if child == 0:
        shim = ctypes.CDLL(None)
        output = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 2)
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
    return os.waitstatus_to_exitcode(waited), told.read_text().strip(), int(counted.read_text())


if __name__ == "__main__":
    main()
