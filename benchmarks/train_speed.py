"""Images per second and peak memory of training: limner beside the loops that people use instead.

All run on the same files. Of each there is a step alone (the batch is there already) and whole
epochs (files, augmentation and all). Each runs in a process of its own, several rounds in turn, and
the best counts. Beside them stands what the machine can do at all: the same network's bare forward
and backward pass, a large matrix product, a large copy.

nnU-Net's trainer stands among them where it is installed (see nnunet.py).

pip install segmentation-models-pytorch monai && python benchmarks/train_speed.py DATA [--size 128]
[--rounds 2] [--images 480] [--only "limner;MONAI"]

The plain loop and the bare passes are always there.
"""

import argparse
import importlib.util
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import nnunet
import torch
from peers import PEERS, WIDTHS, Pairs, train_step

if TYPE_CHECKING:
    from limner.recipe import Recipe

BATCH = 16


def main() -> None:
    """Run every contestant in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--images", type=int, default=480)
    parser.add_argument("--only", default="")
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments)))
        return
    names = [
        "limner",
        "limner, compiled",
        "limner, float32",
        *PEERS,
        *["nnU-Net"] * bool(importlib.util.find_spec("nnunetv2")),
        "bare passes",
    ]
    if arguments.only:
        wanted = {*arguments.only.split(";"), "plain PyTorch", "bare passes"}
        names = [name for name in names if name in wanted]
    best: dict[str, dict[str, float]] = {}
    for _ in range(arguments.rounds):
        for name in names:
            if (rates := measure_in_process(name, arguments)) is not None:
                before = best.get(name, rates)
                best[name] = {
                    key: (min if key == "peak_mb" else max)(value, before[key])
                    for key, value in rates.items()
                }
    print_table(best, arguments)
    print_limits("cuda" if torch.cuda.is_available() else "cpu", best["bare passes"])


def measure_in_process(name: str, arguments: argparse.Namespace) -> dict[str, float] | None:
    """Measure one contestant in a process of its own; None where it fails."""
    options = ["--size", str(arguments.size), "--images", str(arguments.images), "--one", name]
    command = [sys.executable, "-W", "ignore", __file__, str(arguments.data), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"{name} failed: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def print_table(best: dict[str, dict[str, float]], arguments: argparse.Namespace) -> None:
    """Print a row for each contestant, beside the plain loop."""
    machine = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
    )
    size = arguments.size
    print(
        f"{machine}; torch {torch.__version__}; widths {WIDTHS}, {size}x{size} px, "
        f"batch {BATCH}, {arguments.images} files;"
    )
    print(f"the best of {arguments.rounds} rounds\n")
    reference = best["plain PyTorch"]
    print(
        "| loop | step, images/s | epochs, images/s | against the plain loop | peak memory, "
        "MB |\n|---|---|---|---|---|"
    )
    for name, row in best.items():
        epochs = (
            f"{row['epoch']:.1f} | {row['epoch'] / reference['epoch']:.2f}"
            if "epoch" in row
            else " | "
        )
        print(f"| {name} | {row['step']:.1f} | {epochs} | {row['peak_mb']:.0f} |")


def print_limits(device: str, bare: dict[str, float]) -> None:
    """Print how far the network's passes are from a large matrix product and a large copy."""
    precision = torch.bfloat16
    a = torch.randn(4096, 4096, device=device, dtype=precision)
    product = 2 * 4096**3 / best_of(lambda: a @ a, device)
    block = torch.empty(2**28, dtype=torch.uint8, device=device)
    copied = 2 * 2**28 / best_of(lambda: block.clone(), device)
    achieved = bare["step"] * bare["operations"]
    print(
        f"\nA product of 4096x4096 in bfloat16: {product / 1e12:.2f} TFLOP/s; a copy of 256 "
        f"MiB: {copied / 1e9:.1f} GB/s read and written."
    )
    print(
        f"The bare passes: {achieved / 1e12:.3f} TFLOP/s, {achieved / product:.0%} of the "
        f"product, and {bare['step'] * bare['bytes'] / 1e9:.1f} GB/s of"
    )
    print(
        f"activations and gradients at least, {bare['step'] * bare['bytes'] / copied:.0%} of "
        "the copy."
    )


def best_of(call: Callable[[], object], device: str) -> float:
    """Seconds of the fastest of several calls."""
    seconds = []
    for _ in range(8):
        started = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def measure(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """One contestant's rates and its peak memory."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    data, size, images = arguments.data, arguments.size, arguments.images
    if name == "bare passes":
        rates = bare_passes(size, device)
    elif name.startswith("limner"):
        rates = limner(data, images, limner_recipe(name, size, device))
    else:
        rates = peer(name, data, size, images, device)
    memory = (
        torch.cuda.max_memory_allocated() / 1e6
        if device == "cuda"
        else (
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        )
        / 1e3
    )
    return {**rates, "peak_mb": memory}


def limner_recipe(name: str, size: int, device: str) -> "Recipe":
    """Three epochs without validation or trackers; the name says what differs."""
    from limner.recipe import Recipe

    return Recipe().replace(
        {
            "data.size_px": (size, size),
            "model.widths": WIDTHS,
            "train.epochs": 3,
            "train.batch_size": BATCH,
            "train.device": device,
            "train.precision": "float32" if "float32" in name else "bfloat16",
            "train.compile": "compiled" in name,
            "train.validate_every": 99,
            "train.trackers": (),
        }
    )


def limner(data: Path, images: int, recipe: "Recipe") -> dict[str, float]:
    """Two epochs of limner's own loop after one to warm up, and its step alone.

    Validation is left out, as in the others.
    """
    from limner.data.scan import scan
    from limner.training.events import TrainingStep
    from limner.training.pipeline import start_run

    with tempfile.TemporaryDirectory() as folder:
        pairs = [(sample.image, sample.mask) for sample in scan(data).samples]
        fewer = subset(Path(folder) / "data", pairs[: images * 10 // 9], BATCH)
        step = limner_step(recipe)
        _, events = start_run(fewer, recipe, Path(folder) / "run")
        steps = [
            (event.epoch, time.perf_counter(), event.images)
            for event in events
            if isinstance(event, TrainingStep)
        ]
    warm_up_ended = max(moment for epoch, moment, _ in steps if epoch == 1)
    shown = sum(count for epoch, _, count in steps if epoch > 1)
    return {"step": step, "epoch": shown / (steps[-1][1] - warm_up_ended)}


def limner_step(recipe: "Recipe") -> float:
    """Images per second of a step alone."""
    from limner.losses import LOSSES
    from limner.model.unet import UNet
    from limner.training.distributed import SINGLE_PROCESS
    from limner.training.state import initial_state
    from limner.training.step import TrainStep

    settings, (height, width) = recipe.train, recipe.data.size_px
    state = initial_state(UNet.from_settings(recipe.model, 3, 1), settings)
    train = TrainStep(
        state, LOSSES[settings.loss], settings, SINGLE_PROCESS, compiled=settings.compile
    )
    images = torch.rand(BATCH, 3, height, width, device=settings.device)
    images = images.contiguous(memory_format=torch.channels_last)
    masks = torch.zeros(BATCH, height, width, dtype=torch.uint8, device=settings.device)
    return BATCH / best_of(lambda: float(train.step(images, masks, 1e-3)[0]), settings.device)


def subset(folder: Path, pairs: Pairs, validation: int) -> Path:
    """Make a folder whose list names some files of another; the last few are for validation."""
    import csv

    folder.mkdir()
    with (folder / "list.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "mask", "split"])
        writer.writerows(
            [image.resolve(), mask.resolve(), "val" if i >= len(pairs) - validation else "train"]
            for i, (image, mask) in enumerate(pairs)
        )
    return folder


def peer(name: str, data: Path, size: int, images: int, device: str) -> dict[str, float]:
    """Two epochs of another loop after one to warm up."""
    from limner.data.scan import scan

    pairs = [(sample.image, sample.mask) for sample in scan(data).samples if sample.mask][:images]
    if name == "nnU-Net":
        return nnunet.measure(pairs, WIDTHS, size, BATCH)
    loop = PEERS[name](pairs, pairs[:BATCH], size, BATCH)
    loop.network.to(device).train()
    optimiser = torch.optim.AdamW(loop.network.parameters(), 1e-3)
    batch, masks = torch.rand(BATCH, 3, size, size), torch.zeros(BATCH, 1, size, size)
    step = BATCH / best_of(lambda: train_step(loop, optimiser, batch, masks, device), device)
    shown, started = 0, 0.0
    for epoch in range(3):
        for batch_images, batch_masks in loop.training:
            train_step(loop, optimiser, batch_images, batch_masks, device)
            shown += len(batch_images) * (epoch > 0)
        if epoch == 0:
            started = time.perf_counter()
    return {"step": step, "epoch": shown / (time.perf_counter() - started)}


def bare_passes(size: int, device: str) -> dict[str, float]:
    """Forward and backward of the same network on a batch that is there already.

    In bfloat16, channels last, with the sum as the loss.
    """
    from limner.model.unet import UNet

    network = UNet(classes=1, widths=WIDTHS).to(device).to(memory_format=torch.channels_last)
    batch = torch.rand(BATCH, 3, size, size, device=device).contiguous(
        memory_format=torch.channels_last
    )
    counts = count_work(network, batch)

    def passes() -> None:
        with torch.autocast(device, torch.bfloat16):
            network(batch).float().sum().backward()
        network.zero_grad(set_to_none=True)

    return {"step": BATCH / best_of(passes, device), **counts}


def count_work(network: torch.nn.Module, batch: torch.Tensor) -> dict[str, float]:
    """Operations of the convolutions, and bytes that are moved at least, for each image."""
    counts = {"operations": 0.0, "bytes": 0.0}

    def count(layer: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        # Written, read, and as much again of gradients, at two bytes: each once at the least
        counts["bytes"] += 3 * 2 * output.numel() / BATCH
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            pixels = inputs[0] if isinstance(layer, torch.nn.ConvTranspose2d) else output
            # Forward, and backward twice
            passes = 3 * 2 * layer.weight.numel()
            counts["operations"] += passes * pixels.shape[2] * pixels.shape[3]

    hooks = [
        layer.register_forward_hook(count)
        for layer in network.modules()
        if not list(layer.children())
    ]
    network(batch)
    for hook in hooks:
        hook.remove()
    return counts


if __name__ == "__main__":
    main()
