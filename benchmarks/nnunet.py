"""nnU-Net's own trainer, of the widths, patch and batch of the other loops; train_speed.py takes it
where it is installed.

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

NUMBER = 501


def measure(
    pairs: Sequence[tuple[Path, Path]], widths: Sequence[int], size: int, batch: int
) -> dict[str, float]:
    """Images per second of one of its steps alone, and of two epochs after one to warm up,
    validation left out.

    It prepares the images beforehand, which is not counted, and augments in two processes; on a CPU
    it computes in float32.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        for name in ("raw", "preprocessed", "results"):
            os.environ[f"nnUNet_{name}"] = f"{folder}/{name}"
        os.environ |= {"nnUNet_n_proc_DA": "2"}
        trainer = prepared(Path(folder), pairs, widths, size, batch)
        device = trainer.device.type
        trainer.num_iterations_per_epoch = len(pairs) // batch
        trainer.on_train_start()
        trainer.on_train_epoch_start()
        same = next(trainer.dataloader_train)
        seconds = []
        for _ in range(8):
            began = time.perf_counter()
            trainer.train_step(same)
            seconds.append(time.perf_counter() - began)
        for epoch in range(3):
            if epoch == 1:
                began = time.perf_counter()
            for _ in range(trainer.num_iterations_per_epoch):
                trainer.train_step(next(trainer.dataloader_train))
        if device == "cuda":
            torch.cuda.synchronize()
        taken = time.perf_counter() - began
        for loader in (trainer.dataloader_train, trainer.dataloader_val):
            loader._finish()
    return {
        "step": batch / min(seconds),
        "epoch": 2 * trainer.num_iterations_per_epoch * batch / taken,
    }


def prepared(
    folder: Path, pairs: Sequence[tuple[Path, Path]], widths: Sequence[int], size: int, batch: int
) -> Any:
    """Its trainer, after its own fingerprint, plan and preprocessing of the images at `size`; the
    plan's network and batch are changed to ours.
    """
    from nnunetv2.dataset_conversion.generate_dataset_json import generate_dataset_json
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess,
    )
    from nnunetv2.run.run_training import get_trainer_from_args

    raw = folder / "raw" / f"Dataset{NUMBER}_Benchmark"
    for name in ("imagesTr", "labelsTr"):
        (raw / name).mkdir(parents=True)
    for index, (image, mask) in enumerate(pairs):
        with Image.open(image) as picture, Image.open(mask) as drawn:
            picture.convert("RGB").resize((size, size)).save(
                raw / "imagesTr" / f"case_{index:04}_0000.png"
            )
            drawn.convert("L").resize((size, size), Image.Resampling.NEAREST).point(
                lambda value: value > 127
            ).save(raw / "labelsTr" / f"case_{index:04}.png")
    generate_dataset_json(
        str(raw), {0: "R", 1: "G", 2: "B"}, {"background": 0, "object": 1}, len(pairs), ".png"
    )
    extract_fingerprints([NUMBER], num_processes=2)
    plan_experiments([NUMBER])
    plan = folder / "preprocessed" / raw.name / "nnUNetPlans.json"
    plans = json.loads(plan.read_text())
    chosen = plans["configurations"]["2d"]
    chosen |= {"patch_size": [size, size], "batch_size": batch}
    stages = len(widths)
    chosen["architecture"]["arch_kwargs"] |= {
        "n_stages": stages,
        "features_per_stage": list(widths),
        "kernel_sizes": [[3, 3]] * stages,
        "strides": [[1, 1], *[[2, 2]] * (stages - 1)],
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
    }
    plan.write_text(json.dumps(plans))
    preprocess([NUMBER], configurations=("2d",), num_processes=(2,))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer = get_trainer_from_args(str(NUMBER), "2d", "all", device=device)
    trainer.initialize()
    return trainer
