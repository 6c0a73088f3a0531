"""Wall-clock from a command's start until the mean validation Dice passes a target: limner beside
the loops that people use instead.

All train on the same images and validate on the same others at the same size; each runs in a
process of its own, one after another, until it passes the target or its time is up. pip install
segmentation-models-pytorch monai

python benchmarks/time_to_dice.py DATA [--target 0.862] [--minutes 8] [--size 128] [--only "limner;MONAI"]
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
    parser.add_argument("--one", nargs=2, metavar=("NAME", "LISTS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        follow(given.one[0], Path(given.one[1]), given)
        return
    names = [
        "limner with an encoder",
        "limner",
        *PEERS,
        "segmentation-models-pytorch with an encoder",
    ]
    print("| loop | seconds to the target | best Dice | seconds in all |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as work:
        lists = split(given.data, Path(work) / "lists.json")
        for name in given.only.split(";") if given.only else names:
            began = time.monotonic()
            curve = (
                limner(name, Path(work), lists, given, began)
                if name.startswith("limner")
                else other(name, lists, began)
            )
            passed = next(
                (f"{seconds:.0f}" for seconds, dice in curve if dice >= given.target), "not reached"
            )
            print(
                (
                    f"| {name} | {passed} | {max((dice for _, dice in curve), default=0.0):.4f} | "
                    f"{time.monotonic() - began:.0f} |"
                ),
                flush=True,
            )
            print(
                f"<!-- {name}: "
                + ", ".join(f"{seconds:.0f} s {dice:.3f}" for seconds, dice in curve)
                + " -->",
                flush=True,
            )


def split(data: Path, target: Path) -> Path:
    """limner's own split of the data, as lists of files."""
    from limner.data.check import check
    from limner.data.scan import scan
    from limner.recipe import Recipe
    from limner.training.pipeline import split_dataset

    dataset = scan(data)
    sides = split_dataset(dataset.samples, check(dataset), Recipe())
    target.write_text(
        json.dumps(
            {
                name: [(str(sample.image.resolve()), str(sample.mask.resolve())) for sample in side]
                for name, side in sides.items()
            }
        )
    )  # type: ignore[union-attr]
    return target


def limner(
    name: str, work: Path, lists: Path, given: argparse.Namespace, began: float
) -> list[tuple[float, float]]:
    """The command, and when its log had which validation Dice."""
    from limner.training.event_log import validations

    data = work / "data"
    if not data.exists():
        data.mkdir()
        rows = [
            "image,mask,split",
            *(
                f"{image},{mask},{side}"
                for side, pairs in json.loads(lists.read_text()).items()
                if side != "test"
                for image, mask in pairs
            ),
        ]
        (data / "list.csv").write_text("\n".join(rows) + "\n")
    run = work / name.replace(" ", "-")
    encoded = "encoder" in name
    keys = [
        f"data.size_px=[{given.size},{given.size}]",
        f"model.encoder={ENCODER}" if encoded else f"model.widths={list(WIDTHS)}",
    ]
    minutes = given.encoder_minutes if encoded else given.limner_minutes
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
    offset = time.time() - time.monotonic() + began
    subprocess.run(command, check=True, capture_output=True)
    return [(row["time"] - offset, row["mean_dice"]) for row in validations(run)]


def other(name: str, lists: Path, began: float) -> list[tuple[float, float]]:
    """What another loop says of each epoch, until it passes or its time is up."""
    command = [sys.executable, "-W", "ignore", __file__, *sys.argv[1:], "--one", name, str(lists)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout
        return [(time.monotonic() - began, float(line)) for line in process.stdout]


def follow(name: str, lists: Path, given: argparse.Namespace) -> None:
    """Train another loop on a one-cycle schedule of the whole time, and print the validation Dice
    of each epoch.
    """
    began, sides = time.monotonic(), json.loads(lists.read_text())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pairs = {
        side: [(Path(image), Path(mask)) for image, mask in sides[side]]
        for side in ("train", "val")
    }
    encoded = "with an encoder" in name
    peer = PEERS[name.removesuffix(" with an encoder")](
        pairs["train"], pairs["val"], given.size, BATCH, ENCODER if encoded else ""
    )
    peer.network.to(device).train()
    optimiser = torch.optim.AdamW(peer.network.parameters(), 1e-3)
    while True:
        for images, masks in peer.training:
            done = min((time.monotonic() - began) / (given.minutes * 60), 1.0)
            for group in (
                optimiser.param_groups
                # One cycle: up for a tenth of the time, then down to nothing
            ):
                group["lr"] = 2e-3 * min(done / 0.1, (1 - done) / 0.9) + 1e-6
            train_step(peer, optimiser, images, masks, device)
            if done >= 1:
                break
        dice = validation_dice(peer, device)
        print(dice, flush=True)
        if dice >= given.target or time.monotonic() - began > given.minutes * 60:
            return


if __name__ == "__main__":
    main()
