"""Images per second and peak memory of training: limner beside the loops that people use instead,
in the same run, on the same files.

Of each a step alone (the batch is there already) and whole epochs (files, augmentation and all), in
processes of their own, several rounds in turn, the best of each. Beside them what the machine can
do at all: the same network's bare forward and backward pass, a large matrix product, a large copy.

nnU-Net's trainer stands among them where it is installed (see nnunet.py).

pip install segmentation-models-pytorch monai && python benchmarks/train_speed.py DATA [--size 128]
[--rounds 2] [--images 480]
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
from pathlib import Path

import nnunet
import torch
from peers import PEERS, WIDTHS, Pairs, train_step

BATCH = 16


def main() -> None:
    """Run every contestant in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--images", type=int, default=480)
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one, given.data, given.size, given.images)))
        return
    names = [
        "limner",
        "limner, compiled",
        "limner, float32",
        *PEERS,
        *["nnU-Net"] * bool(importlib.util.find_spec("nnunetv2")),
        "bare passes",
    ]
    best: dict[str, dict[str, float]] = {}
    for _ in range(given.rounds):
        for name in names:
            command = [
                sys.executable,
                "-W",
                "ignore",
                __file__,
                str(given.data),
                "--size",
                str(given.size),
                "--images",
                str(given.images),
                "--one",
                name,
            ]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                print(f"{name} failed: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
                continue
            found = json.loads(done.stdout.splitlines()[-1])
            before = best.get(name, found)
            best[name] = {
                key: (min if key == "peak_mb" else max)(value, before[key])
                for key, value in found.items()
            }
    device = "cuda" if torch.cuda.is_available() else "cpu"
    where = (
        torch.cuda.get_device_name()
        if device == "cuda"
        else f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
    )
    print(
        f"{where}; torch {torch.__version__}; widths {WIDTHS}, {given.size}x{given.size} px, "
        f"batch {BATCH}, {given.images} files;"
    )
    print(f"the best of {given.rounds} rounds\n")
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
    limits(device, best["bare passes"])


def limits(device: str, bare: dict[str, float]) -> None:
    """How far the network's passes are from what a large matrix product and a large copy reach."""
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


def best_of(call: object, device: str) -> float:
    """Seconds of the fastest of several calls."""
    seconds = []
    for _ in range(8):
        began = time.perf_counter()
        call()  # type: ignore[operator]
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def measure(name: str, data: Path, size: int, images: int) -> dict[str, float]:
    """One contestant's rates and its peak memory."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "bare passes":
        found = bare_passes(size, device)
    elif name.startswith("limner"):
        found = limner(
            data,
            size,
            images,
            device,
            compiled="compiled" in name,
            precision="float32" if "float32" in name else "bfloat16",
        )
    else:
        found = peer(name, data, size, images, device)
    memory = (
        torch.cuda.max_memory_allocated() / 1e6
        if device == "cuda"
        else (
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        )
        / 1e3
    )
    return {**found, "peak_mb": memory}


def limner(
    data: Path, size: int, images: int, device: str, *, compiled: bool, precision: str
) -> dict[str, float]:
    """Two epochs of limner's own loop after one to warm up; validation is left out, as in the
    others.
    """
    from limner.data.scan import scan
    from limner.losses import LOSSES
    from limner.model.unet import UNet
    from limner.recipe import Recipe
    from limner.training.distributed import SINGLE_PROCESS
    from limner.training.events import TrainingStep
    from limner.training.pipeline import start_run
    from limner.training.step import TrainStep, initial_state

    keys = {
        "data.size_px": (size, size),
        "model.widths": WIDTHS,
        "train.epochs": 3,
        "train.batch_size": BATCH,
        "train.device": device,
    }
    keys |= {
        "train.precision": precision,
        "train.compile": compiled,
        "train.validate_every": 99,
        "train.trackers": (),
    }
    recipe = Recipe().replace(keys)
    settings = recipe.train
    stepper = TrainStep(
        initial_state(UNet.from_settings(recipe.model, 3, 1), settings),
        LOSSES[settings.loss],
        settings,
        SINGLE_PROCESS,
        compiled=compiled,
    )
    batch = torch.rand(BATCH, 3, size, size, device=device).contiguous(
        memory_format=torch.channels_last
    )
    masks = torch.zeros(BATCH, size, size, dtype=torch.uint8, device=device)
    step = BATCH / best_of(lambda: float(stepper.step(batch, masks, 1e-3)[0]), device)
    with tempfile.TemporaryDirectory() as folder:
        fewer = subset(
            Path(folder) / "data",
            [(s.image, s.mask) for s in scan(data).samples][: images * 10 // 9],
            BATCH,
        )  # type: ignore[misc]
        _, events = start_run(fewer, recipe, Path(folder) / "run")
        moments = [
            (event.epoch, time.perf_counter(), event.images)
            for event in events
            if isinstance(event, TrainingStep)
        ]
    first = max(moment for epoch, moment, _ in moments if epoch == 1)
    shown = sum(count for epoch, _, count in moments if epoch > 1)
    return {"step": step, "epoch": shown / (moments[-1][1] - first)}


def subset(folder: Path, pairs: Pairs, validation: int) -> Path:
    """A folder whose list names some files of another one; the last few are for validation."""
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
    made = PEERS[name](pairs, pairs[:BATCH], size, BATCH)
    made.network.to(device).train()
    optimiser = torch.optim.AdamW(made.network.parameters(), 1e-3)
    batch, masks = torch.rand(BATCH, 3, size, size), torch.zeros(BATCH, 1, size, size)
    step = BATCH / best_of(lambda: train_step(made, optimiser, batch, masks, device), device)
    shown, began = 0, 0.0
    for epoch in range(3):
        for some, truth in made.training:
            train_step(made, optimiser, some, truth, device)
            shown += len(some) * (epoch > 0)
        if epoch == 0:
            began = time.perf_counter()
    return {"step": step, "epoch": shown / (time.perf_counter() - began)}


def bare_passes(size: int, device: str) -> dict[str, float]:
    """Forward and backward of the same network on a batch that is there, in bfloat16, channels
    last, with the sum as the loss.
    """
    from limner.model.unet import UNet
    from limner.recipe import ModelSettings

    network = (
        UNet.from_settings(ModelSettings(widths=WIDTHS), 3, 1)
        .to(device)
        .to(memory_format=torch.channels_last)
    )
    batch = torch.rand(BATCH, 3, size, size, device=device).contiguous(
        memory_format=torch.channels_last
    )
    counts = {"operations": 0.0, "bytes": 0.0}

    def count(layer: torch.nn.Module, given: tuple[torch.Tensor], made: torch.Tensor) -> None:
        counts["bytes"] += (
            3 * 2 * made.numel() / BATCH
            # Written, read, and as much again of gradients, at two bytes: each once at the least
        )
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            pixels = given[0] if isinstance(layer, torch.nn.ConvTranspose2d) else made
            counts["operations"] += (
                3 * 2 * layer.weight.numel() * pixels.shape[2] * pixels.shape[3]
                # Forward, and backward twice
            )

    hooks = [
        layer.register_forward_hook(count)
        for layer in network.modules()
        if not list(layer.children())
    ]
    network(batch)
    for hook in hooks:
        hook.remove()

    def passes() -> None:
        with torch.autocast(device, torch.bfloat16):
            network(batch).float().sum().backward()
        network.zero_grad(set_to_none=True)

    return {"step": BATCH / best_of(passes, device), **counts}


if __name__ == "__main__":
    main()
