"""limner without any setting against its peers, on test images that nobody trained on.

    python benchmarks/zero_config.py nuclei=DIR isic2018=DIR camvid=DIR vessels=DIR --minutes 2 5
    python benchmarks/zero_config.py --table

Two more sets, "thin" and "small", are drawn. Each set is split once into a training folder and a
test folder; ISIC's few near copies may lie on both sides. A contestant gets the training folder
and some minutes, from the start of its command to its model. Preparing the data counts; predicting
the test images does not. It writes a mask for each test image, and one scorer takes them all.

limner has no setting but the seed. "limner from scratch" has one more: no pretrained encoder. It
keeps a fifth of the training folder for a test of its own, since nobody told it not to. The peers
run the loop of zero_peers.py, with their best epoch by validation. nnU-Net plans and trains itself
(zero_nnunet.py); it is left out unless `--nnunet-python` gives the Python that has it. So is an
earlier build of limner, unless `--before` gives its `src` folder.

Each run adds a row to the CSV, and one that has a row of this kind of processor is not made again:
only rows of one processor are compared. Train on a machine that has nothing else to do: all
contestants have torch's own number of threads, and the clock decides how much they see.
pip install segmentation-models-pytorch monai
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np
from drawn_sets import DRAWN_SETS
from zero_sets import Coding, prepare_set, read_coding, read_pairs

LIMNER = ("limner", "limner from scratch")
BEFORE = ("limner before", "limner before from scratch")
"""An earlier build, where `--before` gives its `src` folder."""
LOOPS = ("smp 128", "smp 256", "monai unet 256", "monai dynunet 256")
CONTESTANTS = (*LIMNER, *BEFORE, *LOOPS, "nnunet")
NNUNET_SETS = ("nuclei", "vessels")
"""nnU-Net takes long to prepare and to predict, and is measured on these alone."""
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Job:
    """One run: what a row is known by."""

    set: str
    contestant: str
    minutes: str
    seed: str

    def folder(self, work: Path) -> Path:
        """The folder of the masks."""
        name = f"{self.contestant.replace(' ', '-')}-{self.minutes}-{self.seed}"
        return work / self.set / name


@dataclass(frozen=True)
class Training:
    """What a contestant says of its run."""

    seconds: float
    """From the start of its command to its model."""
    shown: int | None
    """Images that the network was shown in all, where that is known."""
    size: str
    peer: str
    """Name and version of the library."""
    torch: str


@dataclass(frozen=True)
class Row(Job):
    dice: float
    seconds: float
    shown: int | None
    size: str
    peer: str
    torch: str
    processor: str


@dataclass(frozen=True)
class Runner:
    """Makes runs and scores them."""

    work: Path
    pythons: Mapping[str, str] = field(default_factory=dict)
    """The Python of "peers" and of "nnunet"."""
    before: Path | None = None
    """The `src` folder of an earlier build."""

    def __call__(self, job: Job) -> Row:
        """Train, predict the test images, and score the masks."""
        data, masks = self.work / job.set, job.folder(self.work)
        # What a run left that did not end
        for folder in (masks, run_folder(masks)):
            shutil.rmtree(folder, ignore_errors=True)
        if job.contestant in (*LIMNER, *BEFORE):
            training = run_limner(job, data, masks, self.before)
        else:
            training = run_peer(job, data, masks, self.pythons)
        dice = score_folder(data / "test", masks, read_coding(data / "train"))
        return Row(
            **asdict(job), dice=round(dice, 4), **asdict(training), processor=processor_text()
        )


def main() -> None:
    """Make the runs that have no row yet, or print the table."""
    arguments = parse_arguments()
    if arguments.table:
        print(format_table(read_rows(arguments.csv)))
        return
    folders = {name: Path(folder) for name, folder in (e.split("=", 1) for e in arguments.data)}
    names = arguments.sets or [*folders, *DRAWN_SETS]
    if unknown := [name for name in names if name not in folders and name not in DRAWN_SETS]:
        raise SystemExit(f"no folder was given for {', '.join(unknown)}: add NAME=FOLDER")
    contestants = [name for name in CONTESTANTS if not arguments.only or name in arguments.only]
    if "nnunet" in contestants and not arguments.nnunet_python:
        print("nnunet is left out: --nnunet-python gives no Python that has it", flush=True)
        contestants.remove("nnunet")
    if not arguments.before:
        contestants = [name for name in contestants if name not in BEFORE]
    for name in names:
        prepare_set(name, folders.get(name), arguments.work)
    pythons = {"peers": arguments.peers_python, "nnunet": arguments.nnunet_python}
    minutes = [f"{value:g}" for value in arguments.minutes]
    seeds = [str(seed) for seed in range(arguments.seeds)]
    jobs = [
        Job(name, contestant, budget, seed)
        for name, budget, seed, contestant in product(names, minutes, seeds, contestants)
        if contestant != "nnunet" or name in NNUNET_SETS
    ]
    failed = run_jobs(jobs, arguments.csv, Runner(arguments.work, pythons, arguments.before))
    if failed:
        raise SystemExit(f"{failed} of {len(jobs)} runs failed; the same command tries them again")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="*", metavar="NAME=FOLDER")
    parser.add_argument("--csv", type=Path, default=HERE / "zero_config.csv")
    parser.add_argument("--table", action="store_true", help="print the rows as a table")
    parser.add_argument("--sets", nargs="+", help="all that are given, and thin and small")
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, metavar="CONTESTANT")
    parser.add_argument("--minutes", nargs="+", type=float, default=[2.0, 5.0])
    parser.add_argument("--seeds", type=int, default=1, help="how many, from 0 on")
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "limner-zero-config"
    )
    parser.add_argument("--peers-python", default=sys.executable, metavar="PATH")
    parser.add_argument("--nnunet-python", default="", metavar="PATH")
    parser.add_argument("--before", type=Path, metavar="SRC")
    return parser.parse_args()


def run_jobs(jobs: Sequence[Job], table: Path, run: Callable[[Job], Row]) -> int:
    """Make each run of which the table has no row of this processor, and add its row at once.

    Returns how many failed. Each failure is printed, and the others are made all the same.
    """
    here = processor_text()
    present = {
        Job(*(row[key.name] for key in fields(Job)))
        for row in read_rows(table)
        if row["processor"] == here
    }
    failed = 0
    for job in jobs:
        if job in present:
            continue
        try:
            append_row(table, run(job))
        except (subprocess.CalledProcessError, OSError, AssertionError) as error:
            failed += 1
            output = getattr(error, "output", "") or ""
            print(f"failed: {job}\n{output[-3000:]}\n{error}", flush=True)
    return failed


def run_limner(job: Job, data: Path, masks: Path, before: Path | None) -> Training:
    """`limner train` of the training folder, then `limner predict` of the test images."""
    run = run_folder(masks)
    settings = [f"train.seed={job.seed}"]
    if job.contestant.endswith("from scratch"):
        settings.append("model.encoder=")
    source = before if job.contestant in BEFORE else None
    started = time.monotonic()
    limner(
        *("train", data / "train", "--minutes", job.minutes, "--out", run),
        *(f"--set={setting}" for setting in settings),
        source=source,
    )
    seconds = time.monotonic() - started
    # A training that is told to stop saves itself and ends well
    assert json.loads((run / "state.json").read_text())["finished"], f"{run} was stopped"
    model = run / "model.safetensors" if source else run
    limner("predict", model, data / "test" / "images", "--out", masks, source=source)
    receipt = json.loads((run / "receipt.json").read_text())
    recipe = tomllib.loads((run / "recipe.toml").read_text())["data"]
    height, width = recipe["size_px"]
    return Training(
        seconds=round(seconds, 1),
        shown=receipt["sittings"][-1]["images"],
        # The first build had another name for it
        size=f"{height}x{width} {recipe.get('resize_mode') or recipe['geometry']}",
        peer="an earlier limner" if source else f"limner {version('limner')}",
        torch=version("torch"),
    )


def limner(*arguments: object, source: Path | None = None) -> None:
    """Run a command of limner, of the build whose `src` folder is given, if any."""
    environment = {"PYTHONPATH": str(source)} if source else {}
    execute([sys.executable, "-m", "limner", *map(str, arguments)], **environment)


def run_peer(job: Job, data: Path, masks: Path, pythons: Mapping[str, str]) -> Training:
    """Another contestant in a process of its own, whose clock starts with the process."""
    nnunet = job.contestant == "nnunet"
    masks.mkdir(parents=True)
    command = [
        pythons["nnunet" if nnunet else "peers"],
        str(HERE / ("zero_nnunet.py" if nnunet else "zero_peers.py")),
        *(job.contestant, str(data / "train"), str(data / "test"), str(masks)),
        *("--minutes", job.minutes, "--seed", job.seed, "--started", str(time.time())),
    ]
    execute(command)
    training = Training(**json.loads((masks / "run.json").read_text()))
    assert training.shown, "the time was over before the first step"
    return training


def run_folder(masks: Path) -> Path:
    """Where the run of limner lies: beside its masks."""
    return masks.with_name(f"{masks.name}-run")


def execute(command: Sequence[str], **environment: str) -> None:
    """Run a command. Raises CalledProcessError with all that it printed."""
    subprocess.run(
        command,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **environment},
    )


def score_folder(test: Path, masks: Path, coding: Coding) -> float:
    """Mean over the test images of their Dice. Every image must have a mask of its own size."""
    scores = []
    for name, (_, truth) in read_pairs(test).items():
        scores.append(image_dice(coding.read(truth), coding.read(masks / f"{name}.png"), coding))
    return float(np.nanmean(scores))


def image_dice(truth: np.ndarray, predicted: np.ndarray, coding: Coding) -> float:
    """Dice of one image.

    Args:
        truth: Class indices (h, w).
        predicted: Class indices (h, w).
        coding: Classes and void.

    Returns:
        Of two classes that of the foreground, 1 where both are empty. Of more the mean over those
        that the truth or the prediction has, void pixels left out; NaN where all are void.
    """
    assert truth.shape == predicted.shape, f"a mask of {predicted.shape} for one of {truth.shape}"
    if coding.void is not None:
        counted = truth != coding.void
        truth, predicted = truth[counted], predicted[counted]
    scores = []
    for index in range(1 if coding.binary else 0, coding.classes):
        in_truth, in_predicted = truth == index, predicted == index
        area = int(in_truth.sum()) + int(in_predicted.sum())
        if area:
            scores.append(2 * int((in_truth & in_predicted).sum()) / area)
    if coding.binary and not scores:
        return 1.0
    return float(np.mean(scores)) if scores else float("nan")


def processor_text() -> str:
    """The processor, whether it computes bfloat16 natively, and the threads."""
    import torch

    from limner.processor import FAST_BFLOAT16, processor_flags, processor_name

    fast = [flag for flag in FAST_BFLOAT16 if flag in processor_flags()]
    bfloat16 = " and ".join(fast) or "no avx512_bf16 or amx_bf16"
    return f"{processor_name()}, {bfloat16}, {torch.get_num_threads()} threads"


def read_rows(table: Path) -> list[dict[str, str]]:
    """The rows of the table; none where there is no file."""
    if not table.exists():
        return []
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def append_row(table: Path, row: Row) -> None:
    """Add a row to the table, and print it."""
    new = not table.exists()
    with table.open("a", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        if new:
            writer.writeheader()
        writer.writerow(asdict(row))
    print(asdict(row), flush=True)


def format_table(rows: Sequence[Mapping[str, str]]) -> str:
    """A markdown table: for each set, time and processor the mean Dice, with its range over seeds.

    The last columns name the first, and divide limner's mean by that of the best peer.
    """
    dice: dict[tuple[str, float, str], dict[str, list[float]]]
    dice = defaultdict(lambda: defaultdict(list))
    for row in rows:
        key = row["set"], float(row["minutes"]), row["processor"]
        dice[key][row["contestant"]].append(float(row["dice"]))
    present = [name for name in CONTESTANTS if any(name in scores for scores in dice.values())]
    head = ["set", "minutes", *present, "first", "limner / best peer", "processor"]
    lines = [head, ["---"] * len(head)]
    for (name, minutes, processor), scores in sorted(dice.items()):
        means = {contestant: float(np.mean(values)) for contestant, values in scores.items()}
        others = means.keys() - {*LIMNER, *BEFORE}
        peers = [means[contestant] for contestant in others]
        ratio = f"{means['limner'] / max(peers):.3f}" if "limner" in means and peers else ""
        cells = [range_text(scores.get(contestant, [])) for contestant in present]
        first = max(means, key=lambda contestant: means[contestant])
        lines.append([name, f"{minutes:g}", *cells, first, ratio, processor])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def range_text(values: Sequence[float]) -> str:
    """The mean and, of several values, the lowest and the highest."""
    if not values:
        return ""
    mean = f"{np.mean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.3f}–{max(values):.3f})"


if __name__ == "__main__":
    main()
