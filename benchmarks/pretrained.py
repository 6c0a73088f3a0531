"""A pretrained encoder against the same network from scratch, trained for the same time.

Both are trained on few and on many images.

python benchmarks/pretrained.py DATA --minutes 3 [--encoder tf_efficientnet_lite0] [--size 128]
[--images 50,200,0] [--out pretrained.json]
"""

import argparse
import csv
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from limner.data.check import check
from limner.data.sample import Sample
from limner.data.scan import scan
from limner.data.splits import SplitSamples
from limner.inference.evaluate import evaluate
from limner.inference.predictor import Predictor
from limner.metrics.intervals import paired_difference
from limner.recipe import Recipe
from limner.training.pipeline import split_dataset, train


def main() -> None:
    """Train and test both for every number of images, and print the gain with its interval."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--encoder", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--images", default="50,200,0", help="0 is all of them")
    parser.add_argument("--out", type=Path, default=Path("pretrained.json"))
    arguments = parser.parse_args()
    done: dict[str, dict[str, float]] = (
        json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    )
    dataset = scan(arguments.data)
    sides = split_dataset(dataset.samples, check(dataset), Recipe())
    settings = {
        "train.minutes": arguments.minutes,
        "data.size_px": [arguments.size, arguments.size],
        "model.encoder": arguments.encoder,
        "train.patience": 10**6,
    }
    for count in map(int, arguments.images.split(",")):
        if str(count) not in done:
            scratch, pretrained = (
                dice(sides, count, Recipe().replace({**settings, "model.encoder_weights": weights}))
                for weights in ("none", "hub")
            )
            done[str(count)] = asdict(paired_difference(scratch, pretrained))
            arguments.out.write_text(json.dumps(done, indent=2))
        row = done[str(count)]
        images = count or len(sides["train"])
        print(
            (
                f"| {images} | {row['first']:.3f} | {row['second']:.3f} | "
                f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f}) |"
            ),
            flush=True,
        )


def dice(sides: SplitSamples, count: int, recipe: Recipe) -> np.ndarray:
    """Dice of each test image after training on `count` images.

    The validation and test images are the same for every number.
    """
    order = np.random.default_rng(0).permutation(len(sides["train"]))
    chosen = {**sides, "train": [sides["train"][i] for i in order[: count or None]]}
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "list.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "mask", "split"])
            writer.writerows(
                [sample.image.resolve(), mask_of(sample), side]
                for side, samples in chosen.items()
                for sample in samples
            )
        run = train(Path(folder), recipe, Path(folder) / "run")
        return evaluate(Predictor.load(run.model), sides["test"]).per_image()["dice"]


def mask_of(sample: Sample) -> Path:
    assert isinstance(sample.mask, Path)
    return sample.mask.resolve()


if __name__ == "__main__":
    main()
