"""Every preset, skip form and loss, and a pretrained encoder, trained for the same time: one table.

All are trained and tested on the same split.

python benchmarks/family.py DATA --minutes 3 [--base 16] [--size 128] [--only "tutorial;unet"]
[--out family.json]
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from limner.inference.evaluate import evaluate
from limner.inference.predictor import Predictor
from limner.metrics.intervals import mean_interval
from limner.model.bundle import Bundle
from limner.model.presets import PRESETS, resolve_settings
from limner.recipe import ModelSettings, Recipe
from limner.training.pipeline import train
from limner.training.run_record import validations

LOSSES = (
    "dice",
    "cross-entropy",
    "focal",
    "dice+focal",
    "tversky",
    "focal-tversky",
    "lovasz",
    "boundary",
    "hausdorff",
)


def members(base: int) -> dict[str, dict[str, Any]]:
    """The recipe keys of each row.

    Networks without a pretrained encoder have the same width at full resolution, so that they take
    comparable time.
    """
    rows: dict[str, dict[str, Any]] = {}
    for preset in PRESETS:
        widths = resolve_settings(ModelSettings(preset=preset)).widths
        rows[preset] = {
            "model.preset": preset,
            "model.widths": [max(1, width * base // widths[0]) for width in widths],
        }
    for skip in ("add", "attention"):
        rows[f"limner, skip {skip}"] = {**rows["limner"], "model.skip": skip}
    for loss in LOSSES:
        rows[f"limner, {loss}"] = {**rows["limner"], "train.loss": loss}
    rows["tf_efficientnet_lite0"] = {"model.encoder": "tf_efficientnet_lite0"}
    rows["tf_efficientnet_lite0 from scratch"] = {
        "model.encoder": "tf_efficientnet_lite0",
        "model.encoder_weights": "none",
    }
    return rows


def main() -> None:
    """Train and test one row after another; a row that is in --out already is kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--base", type=int, default=16)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path, default=Path("family.json"))
    arguments = parser.parse_args()
    done: dict[str, dict[str, float]] = (
        json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    )
    rows = members(arguments.base)
    for name in arguments.only.split(";") if arguments.only else rows:
        if name not in done:
            settings = {
                "train.minutes": arguments.minutes,
                "data.size_px": [arguments.size, arguments.size],
                "train.patience": 10**6,
                **rows[name],
            }
            done[name] = row(arguments.data, Recipe().replace(settings))
            arguments.out.write_text(json.dumps(done, indent=2))
        print(table_row(name, done[name]), flush=True)


def row(data: Path, recipe: Recipe) -> dict[str, float]:
    """Train, and test on the held-out images at their own size."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        run = train(data, recipe, Path(folder) / "run")
        seconds = time.monotonic() - started
        bundle = Bundle.load(run.model)
        epochs = len(validations(run.folder))
        scores = evaluate(Predictor.from_models(bundle), run.test_samples())
    per_image, jaccards = (scores.per_image()[name] for name in ("dice", "jaccard"))
    low, high = mean_interval(per_image[:, None])[0]
    return {
        "parameters": sum(parameter.numel() for parameter in bundle.network().parameters()),
        "images_per_second": epochs * len(bundle.split["train"]) / seconds,
        "dice": float(per_image.mean()),
        "dice_low": float(low),
        "dice_high": float(high),
        "jaccard": float(jaccards.mean()),
        "thresholded_jaccard": float(np.where(jaccards >= 0.65, jaccards, 0).mean()),
        "test_images": len(per_image),
    }


def table_row(name: str, row: dict[str, float]) -> str:
    """A row of the table in docs/family.md."""
    return (
        f"| {name} | {row['parameters'] / 1e6:.2f} M | {row['images_per_second']:.0f} "
        f"| {row['dice']:.3f} ({row['dice_low']:.3f} to {row['dice_high']:.3f}) "
        f"| {row['jaccard']:.3f} | {row['thresholded_jaccard']:.3f} |"
    )


if __name__ == "__main__":
    main()
