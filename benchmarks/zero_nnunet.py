"""nnU-Net for zero_config.py, as its users run it, from its start to its masks.

It makes its own fingerprint, plan and preprocessing, and trains its own 2-D network with its own
trainer and augmentation, on all of the training folder (its fold "all"). Only the end is set: the
polynomial schedule follows the clock to the end of the time, in place of 1000 epochs of 250 steps.
The epochs' validation is left out, since fold "all" holds nothing out. Predictions are mirrored, as
its command does.

pip install nnunetv2, in an environment of its own: it wants an older timm than limner.
zero_config.py runs it: zero_nnunet.py NAME TRAIN TEST MASKS --minutes M --seed S --started TIME
"""

import json
import os
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunet import DATASET_ID
from PIL import Image
from zero_sets import Coding, Pairs, contestant_arguments, read_coding, read_pairs

CHECKPOINT = "checkpoint_final.pth"


def main() -> None:
    """Train, and write the masks of the test images and what zero_config.py wants to know."""
    arguments = contestant_arguments(__doc__)
    torch.manual_seed(arguments.seed)
    np.random.seed(arguments.seed)
    work = arguments.masks.with_name(f"{arguments.masks.name}-run")
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str(work / name)
    coding = read_coding(arguments.train)
    assert coding.binary, "nnU-Net is measured on two classes alone"
    trainer = prepare_trainer(work, read_pairs(arguments.train), coding)
    shown = train(trainer, arguments.started, arguments.minutes * 60)
    height, width = trainer.configuration_manager.patch_size
    facts = {
        "seconds": round(time.time() - arguments.started, 1),
        "shown": shown,
        "size": f"{height}x{width} tile",
        "peer": f"nnunetv2 {version('nnunetv2')}",
        "torch": torch.__version__,
    }
    predict(trainer, read_pairs(arguments.test), arguments.masks, coding)
    (arguments.masks / "run.json").write_text(json.dumps(facts))


def prepare_trainer(work: Path, pairs: Pairs, coding: Coding) -> Any:
    """Its trainer, after its own fingerprint, plan and preprocessing."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess,
    )
    from nnunetv2.run.run_training import get_trainer_from_args

    write_dataset(work / "raw" / f"Dataset{DATASET_ID}_ZeroConfig", pairs, coding)
    extract_fingerprints([DATASET_ID], num_processes=2)
    plan_experiments([DATASET_ID])
    preprocess([DATASET_ID], configurations=("2d",), num_processes=(2,))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer = get_trainer_from_args(str(DATASET_ID), "2d", "all", device=device)
    trainer.initialize()
    return trainer


def write_dataset(raw: Path, pairs: Pairs, coding: Coding) -> None:
    """Write images and masks in nnU-Net's layout, at their own size."""
    from nnunetv2.dataset_conversion.generate_dataset_json import generate_dataset_json

    for folder in ("imagesTr", "labelsTr"):
        (raw / folder).mkdir(parents=True)
    for name, (image, mask) in pairs.items():
        write_image(image, raw / "imagesTr" / f"{name}_0000.png")
        Image.fromarray(coding.read(mask)).save(raw / "labelsTr" / f"{name}.png")
    generate_dataset_json(
        str(raw), {0: "R", 1: "G", 2: "B"}, {"background": 0, "object": 1}, len(pairs), ".png"
    )


def write_image(image: Path, target: Path) -> None:
    """Write an image as an RGB PNG."""
    with Image.open(image) as file:
        file.convert("RGB").save(target)


def train(trainer: Any, started: float, seconds: float) -> int:
    """Train with nnU-Net's steps until the time is up, and save its checkpoint.

    Returns how many patches the network was shown.
    """
    trainer.on_train_start()
    trainer.on_train_epoch_start()
    shown, step_s = 0, 0.0
    while True:
        began = time.time()
        if began + step_s > started + seconds:
            break
        # Its schedule goes by epochs; the clock says which part of them is over
        trainer.lr_scheduler.step(trainer.num_epochs * (began - started) / seconds)
        trainer.train_step(next(trainer.dataloader_train))
        shown += trainer.batch_size
        step_s = time.time() - began
        print(f"{time.time() - started:.1f} s: {shown} patches", flush=True)
    trainer.save_checkpoint(str(Path(trainer.output_folder) / CHECKPOINT))
    for loader in (trainer.dataloader_train, trainer.dataloader_val):
        loader._finish()
    return shown


def predict(trainer: Any, pairs: Pairs, masks: Path, coding: Coding) -> None:
    """Write the mask of each test image by nnU-Net's own predictor."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    inputs, outputs = masks.with_name(f"{masks.name}-run") / "test", masks / "nnunet"
    for folder in (inputs, outputs):
        folder.mkdir()
    for name, (image, _) in pairs.items():
        write_image(image, inputs / f"{name}_0000.png")
    predictor = nnUNetPredictor(device=trainer.device, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(
        trainer.output_folder_base, use_folds=("all",), checkpoint_name=CHECKPOINT
    )
    predictor.predict_from_files_sequential(
        [[str(inputs / f"{name}_0000.png")] for name in pairs],
        [str(outputs / name) for name in pairs],
    )
    for name in pairs:
        coding.write(coding.read(outputs / f"{name}.png"), masks / f"{name}.png")


if __name__ == "__main__":
    main()
