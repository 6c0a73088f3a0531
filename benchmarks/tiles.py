"""Tiles and bands against the whole image, for every preset and EfficientNet-Lite 0, at random
sizes of images, tiles and bands. Tiles are of torch, bands of ONNX Runtime.

python benchmarks/tiles.py [COUNT]

The networks have random weights, and narrow levels of the true depth. So the receptive field is the
true one. Prints the largest difference of a logit, and how many mask pixels differ. The exit status
is 1 where a logit differs by more than 1e-4, or more than one pixel in a million does.
"""

import random
import sys
import time
from dataclasses import dataclass

import numpy as np
import torch

from limner.data.large_images import ArrayImage
from limner.data.preprocess import Preprocessing
from limner.inference import streaming, tile_grid, tiling
from limner.inference.engines import ReceptiveField
from limner.inference.export_formats import to_onnx
from limner.inference.onnx_engine import OnnxEngine
from limner.inference.streaming import OpenSegments, no_segments
from limner.inference.tta import TtaTransform
from limner.model.presets import PRESETS, resolve_settings
from limner.model.receptive_field import measure_halo
from limner.model.unet import UNet
from limner.recipe import parse_recipe

COUNT = 200
LITE0 = "tf_efficientnet_lite0"
MOST_SIDE_PX = 700
WHOLE_PX = 10_000
"""A tile's core that is larger than every image."""
ALLOWED_DIFFERENCE, ALLOWED_SHARE = 1e-4, 1e-6


@dataclass(slots=True)
class Comparison:
    """What differs between tiles and the whole image, over several images."""

    largest: float = 0.0
    differing: int = 0
    pixels: int = 0
    tiles: int = 0

    @property
    def failed(self) -> bool:
        share = self.differing / self.pixels
        return self.largest > ALLOWED_DIFFERENCE or share > ALLOWED_SHARE


def main(count: int) -> bool:
    """Compare all presets. True where tiles differ too much from the whole."""
    # The merged values are the logits themselves
    tiling.to_probabilities = lambda logits: logits  # type: ignore[assignment]
    print(
        f"{'network':22} {'way':5} {'halo px':>8} {'images':>7} {'tiles':>7} "
        f"{'largest difference':>19} {'pixels that differ':>22} {'s':>5}"
    )
    failed = False
    for preset in (*PRESETS, LITE0):
        network = build_narrow(preset)
        halo_px = measure_halo(network, 3)
        assert halo_px is not None
        engine = OnnxEngine(to_onnx(network, 3))
        for way, segmented in (("tiles", None), ("bands", engine.segmented)):
            start = time.monotonic()
            result = compare(network, ReceptiveField(network.stride, halo_px), count, segmented)
            failed |= result.failed
            print(
                f"{preset:22} {way} {halo_px:8} {count:7} {result.tiles:7} {result.largest:19.2e} "
                f"{result.differing:8} of {result.pixels:,} {time.monotonic() - start:5.0f}",
                flush=True,
            )
    return failed


def build_narrow(preset: str) -> UNet:
    widths = [4, 8, 8, 16] if preset == "resunet" else [4, 8, 8, 16, 16]
    torch.manual_seed(0)
    named = {"encoder": preset} if preset == LITE0 else {"preset": preset}
    recipe = parse_recipe({"model": {**named, "widths": widths}})
    network = UNet.from_settings(resolve_settings(recipe.model), 3, 1).eval()
    with torch.no_grad():
        # Logits of some size
        network.head.weight *= 20
    return network


def compare(
    network: UNet,
    receptive_field: ReceptiveField,
    count: int,
    segmented: OpenSegments | None = None,
) -> Comparison:
    """Compare an image in tiles, or in bands where the network is in segments, with the whole."""
    result, chance = Comparison(), random.Random(0)
    for number in range(count):
        size_px = chance.randint(1, MOST_SIDE_PX), chance.randint(1, MOST_SIDE_PX)
        rng = np.random.default_rng(number)
        image = ArrayImage(rng.integers(0, 255, (*size_px, 3)).astype(np.uint8))
        whole, _ = predict(network, receptive_field, image, WHOLE_PX)
        streaming.BAND_PIXELS = chance.randint(5_000, 100_000)
        streaming.REGION_PIXELS = chance.randint(20_000, 200_000)
        core_px = chance.randint(16, 400)
        tiled, tiles = predict(network, receptive_field, image, core_px, segmented)
        result.tiles += tiles
        result.largest = max(result.largest, float(np.abs(whole - tiled).max()))
        result.differing += int(((whole >= 0) != (tiled >= 0)).sum())
        result.pixels += whole.size
    return result


def predict(
    network: UNet,
    receptive_field: ReceptiveField,
    image: ArrayImage,
    core_px: int,
    segmented: OpenSegments | None = None,
) -> tuple[np.ndarray, int]:
    """Return the logits of an image, and how many tiles it was cut into."""
    tile_grid.CORE_PX, tile_grid.WHOLE_PIXELS = core_px, 0
    preprocessing = Preprocessing((64, 64), (0.5,) * 3, (0.25,) * 3, "tile")

    def engine(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            logits: np.ndarray = network(torch.from_numpy(images)).numpy()
        return logits

    cut = tiling.TiledNetwork(engine, receptive_field, segmented or no_segments)
    tiles = list(tiling.predict_tiles(image, cut, preprocessing, [TtaTransform()]))
    return np.concatenate(list(tiling.merge_tiles(tiles, image.size_px)), axis=1), len(tiles)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT))
