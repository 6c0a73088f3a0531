"""Canvases whose true mask is known, for the tests of the confidence model."""

import numpy as np

from limner.inference.confidence import CanvasPrediction


def disc_canvas(
    certainty: float, seed: int = 0, size_px: int = 48
) -> tuple[CanvasPrediction, np.ndarray]:
    """A predicted disc and its true mask, which differs the more the less certain it is."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size_px, :size_px] - size_px / 2
    distance = rng.uniform(8, 16) - np.hypot(y, x)
    error = rng.normal(0, 6 * (1 - certainty))
    probabilities = 1 / (1 + np.exp(-distance * (0.1 + 2 * certainty)))
    image = np.stack([distance] * 3, axis=2).clip(-1, 1) * 60 + 120
    canvas = CanvasPrediction(image.astype(np.uint8), probabilities[None].astype(np.float32))
    return canvas, distance + error > 0


def varied_images(count: int, seed: int) -> np.ndarray:
    """Images of discs in light of many colours, with noise."""
    rng = np.random.default_rng(seed)
    images = [
        disc_canvas(0.5, seed + i)[0].pixels * rng.uniform(0.7, 1.2, 3)
        + rng.normal(0, 6, (48, 48, 3))
        for i in range(count)
    ]
    return np.clip(images, 0, 255).astype(np.uint8)
