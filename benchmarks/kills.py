"""A storm of SIGKILLs: a run that is killed and resumed must end with the same weights.

They are compared with those of a run that never was. Runs are killed at random moments, half of
them while they save.

python benchmarks/kills.py [--kills 50] [--seed 0]
"""

import argparse
import hashlib
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.context import ForkProcess
from pathlib import Path

# Imported with torch before the runs are forked, so that this is paid once
import limner.training.pipeline  # noqa: F401
from limner.cli import app
from limner.data.synthetic import write_synthetic

FORK = multiprocessing.get_context("fork")
KILLS_A_RUN = 5
PRECISIONS = ("float32", "bfloat16")
SETTINGS = (
    "data.size_px=[32,32]",
    "model.widths=[4,8,16]",
    "model.dropout=0.1",
    "train.patience=99",
    "train.batch_size=8",
    "train.checkpoint_seconds=0.001",
    "train.compile=false",
)


@dataclass
class Storm:
    """Runs in a folder, and the weights and seconds of one that was not killed, by precision."""

    work: Path
    epochs: int
    rng: random.Random
    weights: dict[str, str]
    seconds: dict[str, float]

    def train_undisturbed(self, precision: str) -> None:
        """Train one run to its end and keep its weights and its time."""
        started = time.monotonic()
        folder = self.work / f"whole-{precision}"
        finish(begin(self.work, folder.name, precision, self.epochs), folder)
        self.weights[precision], self.seconds[precision] = (
            weights(folder),
            time.monotonic() - started,
        )
        print(
            f"{precision}: undisturbed in {self.seconds[precision]:.1f} s, "
            f"{self.weights[precision][:16]}",
            flush=True,
        )

    def train_under_fire(self, folder: Path, precision: str, most: int) -> tuple[int, int, bool]:
        """Kill and resume one run up to so many times, then let it end.

        Returns the kills, how many of them left a file half written, and whether the weights are
        those of the undisturbed run.
        """
        process, kills, torn = begin(self.work, folder.name, precision, self.epochs), 0, 0
        for _ in range(most):
            if self.rng.random() < 0.5:
                time.sleep(self.rng.uniform(0, 1.2 * self.seconds[precision]))
            else:
                wait_for_a_save(process, folder)
            if not process.is_alive():
                break
            process.kill()
            process.join()
            kills += 1
            torn += bool(list(folder.glob("**/*.part")))
            process = (
                resume(folder)
                if (folder / "receipt.json").exists()
                else begin(self.work, folder.name, precision, self.epochs, again=True)
            )
        finish(process, folder)
        return kills, torn, weights(folder) == self.weights[precision]


def main() -> None:
    """Train undisturbed, then under fire; exit status 1 where the weights differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=40)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        os.environ["LIMNER_CACHE"] = str(work / "cache")
        write_synthetic(work / "data", count=60, size_px=48, seed=1)
        storm = Storm(work, arguments.epochs, random.Random(arguments.seed), {}, {})
        killed = same = torn = number = 0
        while killed < arguments.kills:
            precision, folder = PRECISIONS[number % 2], work / f"run-{number}"
            if precision not in storm.weights:
                storm.train_undisturbed(precision)
            most = min(KILLS_A_RUN, arguments.kills - killed)
            kills, torn_files, equal = storm.train_under_fire(folder, precision, most)
            killed, same, torn = killed + kills, same + kills * equal, torn + torn_files
            print(
                f"run {number}, {precision}: {kills} kills, "
                f"{'the same weights' if equal else 'OTHER WEIGHTS'}; {killed} kills so far",
                flush=True,
            )
            number += 1
        print(f"{same} of {killed} kills: the same weights; {torn} of them in the middle of a save")
        sys.exit(same != killed)


def wait_for_a_save(process: ForkProcess, folder: Path) -> None:
    """Wait until a file is being written, or the process has ended."""
    while process.is_alive() and not any(folder.glob("last/*.part")):
        time.sleep(0.0005)


def begin(
    work: Path, name: str, precision: str, epochs: int, *, again: bool = False
) -> ForkProcess:
    """Start a run in a process of its own.

    With `again` what is there is removed: the run was killed before its folder was complete.
    """
    folder = work / name
    if again and folder.exists():
        shutil.rmtree(folder)
    sets = [
        f"--set={value}"
        for value in (
            *SETTINGS,
            f"train.precision={precision}",
            f"train.epochs={epochs}",
            "train.device=cpu",
            "train.trackers=[]",
        )
    ]
    return spawn(output_of(folder), "train", str(work / "data"), *sets, "--out", str(folder))


def resume(folder: Path) -> ForkProcess:
    return spawn(output_of(folder), "train", "--resume", str(folder))


def output_of(folder: Path) -> Path:
    """The file of what a run prints."""
    return folder.with_suffix(".txt")


def spawn(output: Path, *arguments: str) -> ForkProcess:
    """Run a command in a fork of this process, which prints into a file."""
    process = FORK.Process(target=run_command, args=(output, arguments))
    process.start()
    return process


def run_command(output: Path, arguments: tuple[str, ...]) -> None:
    with output.open("w") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    app(list(arguments), prog_name="limner")


def finish(process: ForkProcess, folder: Path) -> None:
    """Let a process come to its end. Raises SystemExit where that is a failure."""
    process.join()
    if process.exitcode:
        sys.exit(f"a run failed:\n{output_of(folder).read_text()}")


def weights(folder: Path) -> str:
    """The SHA-256 of the best model and of the last checkpoint."""
    last = max((folder / "last").glob("[0-9]*.safetensors"))
    return hashlib.sha256(
        (folder / "model.safetensors").read_bytes() + last.read_bytes()
    ).hexdigest()


if __name__ == "__main__":
    main()
