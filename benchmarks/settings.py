"""What a setting of the recipe brings with the same number of images: test Dice of each choice.

    python benchmarks/settings.py WORK SET --size 144,176 --epochs 7 --seeds 1 2 3 \\
        --choice train.lr_schedule=schedule-free --choice train.lr_schedule=cosine

WORK is the folder that `zero_config.py` has prepared, SET one of its sets. Each run trains on the
training folder and predicts the test folder, which the neutral script scores. Rows are appended to
`settings.csv` beside this script, one a run; a repeated call does what is missing.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from zero_config import score_folder
from zero_sets import read_coding

TABLE = Path(__file__).with_name("settings.csv")
COLUMNS = ("set", "size_px", "epochs", "seed", "choice", "images", "test_dice")


def run(data: Path, size: str, epochs: int, seed: int, choice: str) -> tuple[int, float]:
    """Train and predict once: the images that were shown, and the test Dice."""
    with tempfile.TemporaryDirectory() as name:
        folder, masks = Path(name) / "run", Path(name) / "masks"
        fixed = [f"data.size_px=[{size}]", f"train.epochs={epochs}", f"train.seed={seed}"]
        settings = [*fixed, "train.trackers=[]", choice]
        _limner("train", str(data / "train"), "--out", str(folder), *_each("--set", settings))
        _limner("predict", str(folder), str(data / "test" / "images"), "--out", str(masks))
        shown = json.loads((folder / "receipt.json").read_text())["sittings"][-1]["images"]
        return int(shown), score_folder(data / "test", masks, read_coding(data / "train"))


def _each(option: str, values: list[str]) -> list[str]:
    return [part for value in values for part in (option, value)]


def _limner(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "limner", *arguments], check=True, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("set")
    parser.add_argument("--size", required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--choice", action="append", required=True)
    arguments = parser.parse_args()
    known = set()
    if TABLE.is_file():
        with TABLE.open(newline="") as file:
            known = {tuple(row[name] for name in COLUMNS[:5]) for row in csv.DictReader(file)}
    else:
        TABLE.write_text(",".join(COLUMNS) + "\n")
    for seed in arguments.seeds:
        for choice in arguments.choice:
            size = arguments.size.replace(",", "x")
            key = arguments.set, size, str(arguments.epochs), str(seed), choice
            if key in known:
                continue
            data = arguments.work / arguments.set
            shown, dice = run(data, arguments.size, arguments.epochs, seed, choice)
            with TABLE.open("a", newline="") as file:
                csv.writer(file, lineterminator="\n").writerow([*key, shown, f"{dice:.4f}"])
            print(*key, shown, f"{dice:.4f}", flush=True)


if __name__ == "__main__":
    main()
