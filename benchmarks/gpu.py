"""What a GPU is asked for, in one run of at most eight minutes.

    python benchmarks/gpu.py isic2018

1. `limner train --minutes 1` of ISIC 2018 and its test Dice: 0.89 is asked for.
2. Images per second of whole epochs against the plain loop (3 times) and against the bare passes
   of the same network (70 %).

Each line says what was reached. The exit status is 1 where any of them falls short, and 2 without
a GPU.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

MIN_DICE, MIN_AGAINST_PLAIN, MIN_AGAINST_BARE = 0.89, 3.0, 0.7
SPEED_LIMIT_S = 300


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--images", type=int, default=960)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU is here: nothing was measured", file=sys.stderr)
        return 2
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    reached = [train_for_a_minute(arguments.data), compare_speeds(arguments)]
    return 0 if all(reached) else 1


def train_for_a_minute(data: Path) -> bool:
    """Train, test, and tell whether the Dice is enough."""
    with tempfile.TemporaryDirectory() as work:
        run = Path(work) / "run"
        started = time.monotonic()
        limner("train", str(data), "--minutes", "1", "--out", str(run))
        seconds = time.monotonic() - started
        limner("test", str(run), str(data), "--out", str(run / "scored"))
        report = json.loads((run / "scored" / "report.json").read_text())
        shown = json.loads((run / "receipt.json").read_text())["sittings"][-1]["images"]
        recipe = (run / "recipe.toml").read_text()
    dice = report["scores"]["dice"]["mean"]
    sizes = re.findall("(?m)^(?:size_px|batch_size|compile|precision) = .*", recipe)
    print(f"test Dice {dice:.4f} (asked: {MIN_DICE}) after {seconds:.0f} s, {shown:,} images shown")
    print("\n".join(f"  {line}" for line in sizes), flush=True)
    return dice >= MIN_DICE


def compare_speeds(arguments: argparse.Namespace) -> bool:
    """Run `train_speed.py`, and tell whether limner's epochs are fast enough."""
    speed = Path(__file__).with_name("train_speed.py")
    options = ["--size", str(arguments.size), "--images", str(arguments.images), "--rounds", "1"]
    done = subprocess.run(
        [sys.executable, str(speed), str(arguments.data), *options, "--only", "limner, compiled"],
        capture_output=True,
        text=True,
        timeout=SPEED_LIMIT_S,
        check=False,
    )
    print(done.stdout, done.stderr[-2000:], sep="\n")
    rows = {
        cells[0]: cells[1:]
        for line in done.stdout.splitlines()
        if len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 5
    }
    if not {"limner, compiled", "bare passes"} <= set(rows):
        print("the speeds were not measured")
        return False
    _, epochs, against_plain, _ = rows["limner, compiled"]
    against_bare = float(epochs) / float(rows["bare passes"][0])
    print(f"{float(against_plain):.2f} times the plain loop (asked: {MIN_AGAINST_PLAIN})")
    print(f"{against_bare:.0%} of the bare passes (asked: {MIN_AGAINST_BARE:.0%})")
    return float(against_plain) >= MIN_AGAINST_PLAIN and against_bare >= MIN_AGAINST_BARE


def limner(*arguments: str) -> None:
    command = [sys.executable, "-m", "limner", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


if __name__ == "__main__":
    sys.exit(main())
