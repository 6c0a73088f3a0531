"""Measure the test Dice against time, size and network: what the plan's rules are fitted on.

    python benchmarks/dice_against_time.py TABLE.csv vessels=DIR nuclei=DIR [--minutes 2 5]

Each run is a `limner train` of a fixed size, then a `limner test` of its test split at the masks'
own size. It adds a row to the table at once, and a run that has a row is not made again, so the
measurement may be stopped and goes on. Sets of the name "thin" and "small" are drawn: thin lines,
and many small discs. Train on a machine that has nothing else to do.

    python benchmarks/dice_against_time.py TABLE.csv --fit

prints the numbers of `training/expected_dice.py`: the Dice of a dataset is a constant of its own,
plus a share of the ceiling, less what is lost where little is shown.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import product
from pathlib import Path

import numpy as np
from drawn_sets import DRAWN_SETS, draw
from scipy.optimize import least_squares

from limner.data.check import check
from limner.data.resize_ceiling import ResizeCeiling
from limner.data.sample_info import SampleInfo
from limner.data.scan import scan
from limner.training.working_size import candidate_sizes

SIDES_PX, TILES_PX = (64, 96, 128, 192, 256, 384), (128, 192, 256)


@dataclass(frozen=True)
class Setting:
    """One run, but for its seed."""

    data: str
    network: str
    resize_mode: str
    height: int
    width: int
    minutes: float


@dataclass(frozen=True)
class Row(Setting):
    seed: int
    training_images: int
    shown: int
    """Canvases that the network was shown in all."""
    images_per_s: float
    ceiling: float
    """Mean over classes of the best Dice that the size allows."""
    validation_dice: float
    test_dice: float
    tta: str
    processor: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("data", nargs="*", metavar="NAME=FOLDER")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--minutes", nargs="+", type=float, default=[2.0, 5.0])
    parser.add_argument("--sides", nargs="*", type=int, default=list(SIDES_PX))
    parser.add_argument("--tiles", nargs="*", type=int, default=list(TILES_PX))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], help="as for limner train")
    parser.add_argument("--network", default="lite0", help="what --set makes of it, in a word")
    arguments = parser.parse_args()
    if arguments.fit:
        fit(arguments.table, arguments.network)
        return
    folders = dict(entry.split("=", 1) for entry in arguments.data)
    present = set(read_keys(arguments.table))
    with tempfile.TemporaryDirectory() as work:
        for name, folder in folders.items():
            data = Path(folder)
            if name in DRAWN_SETS and not data.exists():
                draw(name, data)
            dataset = scan(data)
            result = check(dataset)
            assert result.labels
            ceiling = ResizeCeiling(dataset.samples, result.labels)
            for minutes, (mode, size), seed in product(
                arguments.minutes, sizes(result.sample_info, arguments), range(arguments.seeds)
            ):
                setting = Setting(name, arguments.network, mode, *size, minutes)
                if (*map(str, asdict(setting).values()), str(seed)) in present:
                    continue
                limit = 1.0 if mode == "tile" else float(np.mean([*ceiling(size, mode).values()]))
                row = measure(setting, seed, data, limit, Path(work), arguments.set)
                append(arguments.table, row)


def sizes(
    samples: Sequence[SampleInfo], arguments: argparse.Namespace
) -> Iterator[tuple[str, tuple[int, int]]]:
    """The sizes to try: of the images' shape and these areas, and square tiles."""
    candidates = candidate_sizes(samples)
    for side in arguments.sides:
        yield "resize", min(candidates, key=lambda size: abs(size[0] * size[1] - side**2))
    for side in arguments.tiles:
        yield "tile", (side, side)


def measure(
    setting: Setting, seed: int, data: Path, ceiling: float, work: Path, more: list[str]
) -> Row:
    """Train and test once."""
    run = work / "-".join(map(str, [*asdict(setting).values(), seed]))
    keys = [
        f"data.size_px=[{setting.height},{setting.width}]",
        f"data.resize_mode={setting.resize_mode}",
        f"train.seed={seed}",
        *more,
    ]
    if setting.data == "vessels":
        keys.append("data.group_pattern=CHASE_(..)")
    limner("train", str(data), "--minutes", str(setting.minutes), "--out", str(run), *set_(keys))
    split = json.loads((run / "split.json").read_text())
    # A set without a test split is scored on the split that chose the epoch
    held_out = "test" if split["test"] else "val"
    limner("test", str(run), str(data), "--split", held_out, "--out", str(run / "scored"))
    receipt = json.loads((run / "receipt.json").read_text())
    report = json.loads((run / "scored" / "report.json").read_text())
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    best = max((e["mean_dice"] for e in events if e["event"] == "validation"), default=0.0)
    from limner.model.bundle import Bundle

    return Row(
        **asdict(setting),
        seed=seed,
        training_images=len(split["train"]),
        shown=receipt["sittings"][-1]["images"],
        images_per_s=receipt["sittings"][-1]["images_per_second"],
        ceiling=round(ceiling, 4),
        validation_dice=round(best, 4),
        test_dice=round(report["scores"]["dice"]["mean"], 4),
        tta=Bundle.load(run / "model.safetensors").inference.tta,
        processor=f"{receipt['processor']} {receipt['threads']} threads",
    )


def set_(keys: list[str]) -> list[str]:
    return [f"--set={key}" for key in keys]


def limner(*arguments: str) -> None:
    command = [sys.executable, "-m", "limner", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def read_keys(table: Path) -> Iterator[tuple[str, ...]]:
    """The setting and the seed of each row that is there."""
    if table.exists():
        names = [field.name for field in fields(Setting)]
        with table.open(newline="") as file:
            for row in csv.DictReader(file):
                yield (*(row[name] for name in names), row["seed"])


def append(table: Path, row: Row) -> None:
    new = not table.exists()
    with table.open("a", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        if new:
            writer.writeheader()
        writer.writerow(asdict(row))
    print(asdict(row), flush=True)


def fit(table: Path, network: str) -> None:
    """Fit the numbers of `expected_dice` by least squares, with a constant for each set."""
    with table.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["network"] == network]
    names = sorted({row["data"] for row in rows})
    group = np.array([names.index(row["data"]) for row in rows])
    ceiling, shown, dice = (
        np.array([float(row[key]) for row in rows]) for key in ("ceiling", "shown", "test_dice")
    )
    tiles = np.array([row["resize_mode"] == "tile" for row in rows], float)

    def residuals(parameters: np.ndarray) -> np.ndarray:
        share, missing, penalty = parameters[:3]
        lost = missing * 100 / shown + penalty * tiles
        return parameters[3:][group] + share * ceiling - lost - dice

    start = [0.7, 0.5, 0.1, *([0.1] * len(names))]
    bounds = ([0.3, 0, 0, *([-1] * len(names))], [1.0, 50, 1, *([1] * len(names))])
    result = least_squares(residuals, start, bounds=bounds, loss="soft_l1", f_scale=0.02)
    share, missing, penalty = result.x[:3]
    print(f"{len(rows)} runs of {network} on {', '.join(names)}")
    print(f"share {share:.2f}, missing after one canvas {100 * missing:.0f}, tiles {penalty:.2f}")
    for row, residual in zip(rows, residuals(result.x), strict=True):
        print(
            f"{row['data']:10s} {row['resize_mode']:7s} {row['height']:>4s}x{row['width']:4s} "
            f"{row['minutes']:>4s} min  {row['shown']:>6s} shown  Dice {row['test_dice']}  "
            f"fitted {float(row['test_dice']) + residual:.3f}"
        )


if __name__ == "__main__":
    main()
