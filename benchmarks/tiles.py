"""Tiles against the whole image, for every preset, at random sizes of images and tiles.

python benchmarks/tiles.py [COUNT]

Random weights, narrow levels of the true depth, so that the reach is the true one. Prints the
largest difference of a logit and how many mask pixels differ; exit status 1 where a logit differs
by more than 1e-4 or more than one pixel in a million does.
"""

import random
import sys
import time

import numpy as np
import torch

from limner.data.large_images import ArrayImage
from limner.data.preprocess import Preprocessing
from limner.inference import tile_grid, tiling
from limner.inference.engines import ReceptiveField
from limner.inference.tta import TtaTransform
from limner.model.presets import PRESETS
from limner.model.unet import UNet
from limner.model.receptive_field import measure_halo
from limner.recipe import parse_recipe

COUNT = 200


def main(count: int) -> bool:
    # What is joined are the logits themselves
    tiling.to_probabilities = lambda logits: logits  # type: ignore[assignment]
    print(
        f"{'preset':18} {'reach px':>8} {'images':>7} {'tiles':>7} {'largest difference':>19} "
        f"{'pixels that differ':>22} {'s':>5}"
    )
    wrong = False
    for preset in PRESETS:
        widths = [4, 8, 8, 16] if preset == "resunet" else [4, 8, 8, 16, 16]
        torch.manual_seed(0)
        network = UNet.from_settings(
            parse_recipe({"model": {"preset": preset, "widths": widths}}).model, 3, 1
        ).eval()
        with torch.no_grad():
            # Logits of some size
            network.head.weight *= 20
        began, margin, chance = time.monotonic(), measure_halo(network, 3), random.Random(0)
        assert margin is not None
        largest, differ, pixels, cut = 0.0, 0, 0, 0
        preprocessing = Preprocessing((64, 64), (0.5,) * 3, (0.25,) * 3, "tile")

        def engine(images: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                logits: np.ndarray = network(torch.from_numpy(images)).numpy()  # noqa: B023
            return logits

        for number in range(count):
            size = chance.randint(1, 700), chance.randint(1, 700)
            image = ArrayImage(
                np.random.default_rng(number).integers(0, 255, (*size, 3)).astype(np.uint8)
            )
            drawn = []
            for core in (10_000, chance.randint(16, 400)):
                tile_grid.CORE_PX = core
                found = list(
                    tiling.predict_tiles(
                        image,
                        engine,
                        preprocessing,
                        ReceptiveField(network.stride, margin),
                        [TtaTransform()],
                    )
                )
                drawn.append(np.concatenate(list(tiling.merge_tiles(found, size)), axis=1))
            cut += len(found)
            largest = max(largest, float(np.abs(drawn[0] - drawn[1]).max()))
            differ += int(((drawn[0] >= 0) != (drawn[1] >= 0)).sum())
            pixels += drawn[0].size
        wrong |= largest > 1e-4 or differ > pixels / 1e6
        print(
            (
                f"{preset:18} {margin:8} {count:7} {cut:7} {largest:19.2e} {differ:8} of "
                f"{pixels:,} {time.monotonic() - began:5.0f}"
            ),
            flush=True,
        )
    return wrong


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT))
