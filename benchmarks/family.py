"""Every preset, skip form and loss, and a pretrained encoder, trained for the same time on the same
split: one table.

python benchmarks/family.py DATA --minutes 3 [--base 16] [--size 128] [--only "tutorial;unet"] [--out family.json]
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from limner.data.scan import scan
from limner.data.splits import apply_split
from limner.inference.evaluate import evaluate
from limner.inference.predictor import Predictor
from limner.model.bundle import Bundle
from limner.model.presets import PRESETS, resolve_settings
from limner.model.unet import UNet
from limner.recipe import ModelSettings, Recipe
from limner.training.pipeline import train

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
RESAMPLES = 10_000


def members(base: int) -> dict[str, dict[str, Any]]:
    """The keys of each row; networks of their own are all as wide at full resolution, so that they
    take comparable time.
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
    given = parser.parse_args()
    done: dict[str, dict[str, float]] = (
        json.loads(given.out.read_text()) if given.out.exists() else {}
    )
    rows = members(given.base)
    for name in given.only.split(";") if given.only else rows:
        if name not in done:
            settings = {
                "train.minutes": given.minutes,
                "data.size_px": [given.size, given.size],
                "train.patience": 10**6,
                **rows[name],
            }
            done[name] = row(given.data, Recipe().replace(settings))
            given.out.write_text(json.dumps(done, indent=2))
        print(spelled(name, done[name]), flush=True)


def row(data: Path, recipe: Recipe) -> dict[str, float]:
    """Train, test on the held-out images at their own size, and say what it took."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        run = train(data, recipe, Path(folder) / "run")
        seconds = time.monotonic() - began
        bundle = Bundle.load(run.model)
        events = [
            json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()
        ]
        epochs = sum(event["event"] == "validation" for event in events)
        scores = evaluate(
            Predictor.from_models(bundle), apply_split(scan(data).samples, bundle.split)["test"]
        )
    network = UNet.from_settings(
        bundle.recipe.model, bundle.recipe.data.channels, bundle.labels.out_channels
    )
    per_image, jaccards = (scores.per_image()[name] for name in ("dice", "jaccard"))
    low, high = interval(per_image)
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "images_per_second": epochs * len(bundle.split["train"]) / seconds,
        "dice": float(per_image.mean()),
        "dice_low": low,
        "dice_high": high,
        "jaccard": float(jaccards.mean()),
        "thresholded_jaccard": float(np.where(jaccards >= 0.65, jaccards, 0).mean()),
        "test_images": len(per_image),
    }


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean over images."""
    chance = np.random.default_rng(0)
    means = values[chance.integers(0, len(values), (RESAMPLES, len(values)))].mean(1)
    return float(np.percentile(means, 2.5)), float(np.percentile(means, 97.5))


def spelled(name: str, row: dict[str, float]) -> str:
    """A row of the table in docs/family.md."""
    return (
        f"| {name} | {row['parameters'] / 1e6:.2f} M | {row['images_per_second']:.0f} | {row['dice']:.3f} ({row['dice_low']:.3f} to {row['dice_high']:.3f}) "
        f"| {row['jaccard']:.3f} | {row['thresholded_jaccard']:.3f} |"
    )


if __name__ == "__main__":
    main()
