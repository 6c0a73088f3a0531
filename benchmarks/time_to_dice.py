"""Wall-clock from a command's start until the mean validation Dice passes a target.

limner stands beside the loops that people use instead. All train on the same images and validate on
the same others at the same size. Each runs in a process of its own, one after another, until it
passes the target or its time is up. pip install segmentation-models-pytorch monai

python benchmarks/time_to_dice.py DATA [--target 0.862] [--minutes 8] [--size 128]
[--only "limner;MONAI"] [--set train.validate_every=1]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from peers import PEERS, WIDTHS, train_step, validation_dice

ENCODER = "tf_efficientnet_lite0"
BATCH = 16
Curve = list[tuple[float, float]]
"""Seconds since the start, and the validation Dice."""


def main() -> None:
    """Time every contestant and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--target", type=float, default=0.862)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--limner-minutes", type=float, default=5.0)
    parser.add_argument("--encoder-minutes", type=float, default=2.0)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--only", default="")
    parser.add_argument("--set", action="append", default=[], help="further settings of limner")
    parser.add_argument("--one", nargs=2, metavar=("NAME", "LISTS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, lists = arguments.one
        train_peer(name, Path(lists), arguments)
        return
    names = [
        "limner with an encoder",
        "limner",
        *PEERS,
        "segmentation-models-pytorch with an encoder",
    ]
    print("| loop | seconds to the target | best Dice | seconds in all |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as work:
        lists = split(arguments.data, Path(work) / "lists.json")
        for name in arguments.only.split(";") if arguments.only else names:
            started = time.monotonic()
            curve = (
                run_limner(name, Path(work), lists, arguments)
                if name.startswith("limner")
                else run_peer(name, lists)
            )
            print_row(name, curve, arguments.target, time.monotonic() - started)


def print_row(name: str, curve: Curve, target: float, seconds_in_all: float) -> None:
    """Print a contestant's row, and its curve as a comment."""
    passed = next((f"{seconds:.0f}" for seconds, dice in curve if dice >= target), "not reached")
    best = max((dice for _, dice in curve), default=0.0)
    points = ", ".join(f"{seconds:.0f} s {dice:.3f}" for seconds, dice in curve)
    print(f"| {name} | {passed} | {best:.4f} | {seconds_in_all:.0f} |", flush=True)
    print(f"<!-- {name}: {points} -->", flush=True)


def split(data: Path, target: Path) -> Path:
    """Write limner's own split of the data as lists of files."""
    from limner.data.check import check
    from limner.data.scan import scan
    from limner.recipe import Recipe
    from limner.training.pipeline import split_dataset

    dataset = scan(data)
    splits = split_dataset(dataset.samples, check(dataset), Recipe())
    files = {
        name: [(str(sample.image.resolve()), str(sample.mask.resolve())) for sample in samples]
        for name, samples in splits.items()
    }
    target.write_text(json.dumps(files))
    return target


def run_limner(name: str, work: Path, lists: Path, arguments: argparse.Namespace) -> Curve:
    """Run the command, and read the curve from its log."""
    from limner.training.run_record import validations

    started, data = time.time(), work / "data"
    if not data.exists():
        data.mkdir()
        rows = [
            "image,mask,split",
            *(
                f"{image},{mask},{name}"
                for name, pairs in json.loads(lists.read_text()).items()
                if name != "test"
                for image, mask in pairs
            ),
        ]
        (data / "list.csv").write_text("\n".join(rows) + "\n")
    run = work / name.replace(" ", "-")
    with_encoder = "encoder" in name
    keys = [
        f"data.size_px=[{arguments.size},{arguments.size}]",
        f"model.encoder={ENCODER}" if with_encoder else f"model.widths={list(WIDTHS)}",
        *arguments.set,
    ]
    minutes = arguments.encoder_minutes if with_encoder else arguments.limner_minutes
    command = [
        sys.executable,
        "-m",
        "limner",
        "train",
        str(data),
        "--minutes",
        str(minutes),
        "--out",
        str(run),
        *(f"--set={key}" for key in keys),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return [(row["time"] - started, row["mean_dice"]) for row in validations(run)]


def run_peer(name: str, lists: Path) -> Curve:
    """Run another loop in a process, and take the Dice that it prints after each epoch."""
    started = time.monotonic()
    command = [sys.executable, "-W", "ignore", __file__, *sys.argv[1:], "--one", name, str(lists)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout
        return [(time.monotonic() - started, float(line)) for line in process.stdout]


def train_peer(name: str, lists: Path, arguments: argparse.Namespace) -> None:
    """Train another loop on a one-cycle schedule, and print the validation Dice of each epoch."""
    started, files = time.monotonic(), json.loads(lists.read_text())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pairs = {
        split: [(Path(image), Path(mask)) for image, mask in files[split]]
        for split in ("train", "val")
    }
    encoder = ENCODER if "with an encoder" in name else ""
    peer = PEERS[name.removesuffix(" with an encoder")](
        pairs["train"], pairs["val"], arguments.size, BATCH, encoder
    )
    peer.network.to(device).train()
    optimiser = torch.optim.AdamW(peer.network.parameters(), 1e-3)
    while True:
        for images, masks in peer.training:
            progress = min((time.monotonic() - started) / (arguments.minutes * 60), 1.0)
            # One cycle: up for a tenth of the time, then down to nothing
            for group in optimiser.param_groups:
                group["lr"] = 2e-3 * min(progress / 0.1, (1 - progress) / 0.9) + 1e-6
            train_step(peer, optimiser, images, masks, device)
            if progress >= 1:
                break
        dice = validation_dice(peer, device)
        print(dice, flush=True)
        if dice >= arguments.target or time.monotonic() - started > arguments.minutes * 60:
            return


if __name__ == "__main__":
    main()
