"""A storm of SIGKILLs: a run that is killed at random moments, half of them while it saves, and
resumed each time must end with the weights of one that never was.

python benchmarks/kills.py [--kills 50] [--seed 0]
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from limner.data.synthetic import write_synthetic

KILLS_A_RUN = 5
PRECISIONS = ("float32", "bfloat16")
SETTINGS = (
    "data.size_px=[32,32]",
    "model.widths=[4,8,16]",
    "model.dropout=0.1",
    "train.patience=99",
    "train.batch_size=8",
    "train.checkpoint_seconds=0.001",
)


def main() -> None:
    """Train undisturbed, then under fire; exit status 1 where the weights differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=40)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        os.environ["LIMNER_CACHE"] = str(work / "cache")
        write_synthetic(work / "data", count=60, size_px=48, seed=1)
        whole, seconds = {}, {}
        for precision in PRECISIONS:
            began = time.monotonic()
            finish(begin(work, f"whole-{precision}", precision, given.epochs))
            whole[precision], seconds[precision] = (
                weights(work / f"whole-{precision}"),
                time.monotonic() - began,
            )
            print(
                f"{precision}: undisturbed in {seconds[precision]:.1f} s, {whole[precision][:16]}",
                flush=True,
            )
        killed = same = torn = number = 0
        while killed < given.kills:
            precision, folder = PRECISIONS[number % 2], work / f"run-{number}"
            process, hits = begin(work, folder.name, precision, given.epochs), 0
            for _ in range(min(KILLS_A_RUN, given.kills - killed)):
                if chance.random() < 0.5:
                    time.sleep(chance.uniform(0, 1.2 * seconds[precision]))
                else:
                    wait_for_a_save(process, folder)
                if process.poll() is not None:
                    break
                process.send_signal(signal.SIGKILL)
                process.wait()
                hits += 1
                torn += bool(list(folder.glob("**/*.part")))
                process = (
                    resume(folder)
                    if (folder / "receipt.json").exists()
                    else begin(work, folder.name, precision, given.epochs, again=True)
                )
            finish(process)
            equal = weights(folder) == whole[precision]
            killed, same, number = killed + hits, same + hits * equal, number + 1
            print(
                (
                    f"run {number}, {precision}: {hits} kills, "
                    f"{'the same weights' if equal else 'OTHER WEIGHTS'}; {killed} kills so far"
                ),
                flush=True,
            )
        print(f"{same} of {killed} kills: the same weights; {torn} of them in the middle of a save")
        sys.exit(same != killed)


def wait_for_a_save(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Until a file is being written, or the process has ended."""
    while process.poll() is None and not any(folder.glob("last/*.part")):
        time.sleep(0.0005)


def begin(
    work: Path, name: str, precision: str, epochs: int, *, again: bool = False
) -> subprocess.Popen[bytes]:
    """Start a run in a process of its own; one that was killed before its folder was whole begins
    anew.
    """
    folder = work / name
    if again and folder.exists():
        subprocess.run(["rm", "-r", str(folder)], check=True)
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
    return spawn("train", str(work / "data"), *sets, "--out", str(folder))


def resume(folder: Path) -> subprocess.Popen[bytes]:
    return spawn("train", "--resume", str(folder))


def spawn(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "limner", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    """Let a process come to its end. Raises SystemExit where that is a failure."""
    said = process.communicate()[0].decode()
    if process.returncode:
        sys.exit(f"a run failed:\n{said}")


def weights(folder: Path) -> str:
    """The SHA-256 of the best model and of the last checkpoint."""
    last = max((folder / "last").glob("[0-9]*.safetensors"))
    return hashlib.sha256(
        (folder / "model.safetensors").read_bytes() + last.read_bytes()
    ).hexdigest()


if __name__ == "__main__":
    main()
