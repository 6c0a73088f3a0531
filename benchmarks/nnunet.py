"""nnU-Net's own trainer, with the widths, patch and batch of the other loops.

train_speed.py measures it where it is installed.

pip install nnunetv2, in an environment of its own: it wants an older timm than limner.
"""

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

DATASET_ID = 501


def measure(
    pairs: Sequence[tuple[Path, Path]], widths: Sequence[int], size: int, batch: int
) -> dict[str, float]:
    """Images per second of a step alone, and of two epochs after one to warm up.

    Validation is left out. It prepares the images beforehand, which is not counted, and augments in
    two processes. On a CPU it computes in float32.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        for name in ("raw", "preprocessed", "results"):
            os.environ[f"nnUNet_{name}"] = f"{folder}/{name}"
        os.environ |= {"nnUNet_n_proc_DA": "2"}
        trainer = prepare_trainer(Path(folder), pairs, widths, size, batch)
        device = trainer.device.type
        trainer.num_iterations_per_epoch = len(pairs) // batch
        trainer.on_train_start()
        trainer.on_train_epoch_start()
        repeated = next(trainer.dataloader_train)
        seconds = []
        for _ in range(8):
            started = time.perf_counter()
            trainer.train_step(repeated)
            seconds.append(time.perf_counter() - started)
        for epoch in range(3):
            if epoch == 1:
                started = time.perf_counter()
            for _ in range(trainer.num_iterations_per_epoch):
                trainer.train_step(next(trainer.dataloader_train))
        if device == "cuda":
            torch.cuda.synchronize()
        elapsed = time.perf_counter() - started
        for loader in (trainer.dataloader_train, trainer.dataloader_val):
            loader._finish()
    return {
        "step": batch / min(seconds),
        "epoch": 2 * trainer.num_iterations_per_epoch * batch / elapsed,
    }


def prepare_trainer(
    folder: Path, pairs: Sequence[tuple[Path, Path]], widths: Sequence[int], size: int, batch: int
) -> Any:
    """Its trainer, after its own fingerprint, plan and preprocessing of the images at `size`.

    The plan's network and batch are changed to ours.
    """
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess,
    )
    from nnunetv2.run.run_training import get_trainer_from_args

    raw = folder / "raw" / f"Dataset{DATASET_ID}_Benchmark"
    write_dataset(raw, pairs, size)
    extract_fingerprints([DATASET_ID], num_processes=2)
    plan_experiments([DATASET_ID])
    plan_path = folder / "preprocessed" / raw.name / "nnUNetPlans.json"
    plans = json.loads(plan_path.read_text())
    configuration = plans["configurations"]["2d"]
    configuration |= {"patch_size": [size, size], "batch_size": batch}
    stages = len(widths)
    configuration["architecture"]["arch_kwargs"] |= {
        "n_stages": stages,
        "features_per_stage": list(widths),
        "kernel_sizes": [[3, 3]] * stages,
        "strides": [[1, 1], *[[2, 2]] * (stages - 1)],
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
    }
    plan_path.write_text(json.dumps(plans))
    preprocess([DATASET_ID], configurations=("2d",), num_processes=(2,))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer = get_trainer_from_args(str(DATASET_ID), "2d", "all", device=device)
    trainer.initialize()
    return trainer


def write_dataset(raw: Path, pairs: Sequence[tuple[Path, Path]], size: int) -> None:
    """Write images and masks in nnU-Net's layout, resized to a square."""
    from nnunetv2.dataset_conversion.generate_dataset_json import generate_dataset_json

    for name in ("imagesTr", "labelsTr"):
        (raw / name).mkdir(parents=True)
    for index, (image_path, mask_path) in enumerate(pairs):
        with Image.open(image_path) as image, Image.open(mask_path) as mask:
            image.convert("RGB").resize((size, size)).save(
                raw / "imagesTr" / f"case_{index:04}_0000.png"
            )
            mask.convert("L").resize((size, size), Image.Resampling.NEAREST).point(
                lambda value: value > 127
            ).save(raw / "labelsTr" / f"case_{index:04}.png")
    generate_dataset_json(
        str(raw), {0: "R", 1: "G", 2: "B"}, {"background": 0, "object": 1}, len(pairs), ".png"
    )
