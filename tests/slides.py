"""Whole slides, written as Aperio's scanners write them."""

from pathlib import Path

import numpy as np
import tifffile

MPP = 0.25


def write_slide(path: Path, pixels: np.ndarray, tile_px: int = 64) -> Path:
    """Write RGB as a slide in tiles of JPEG, with a smaller level below it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = pixels.shape[:2]
    text = (
        f"Aperio Image Library v12.0.0\r\n{width}x{height} [0,0 {width}x{height}] ({tile_px}x"
        f"{tile_px}) JPEG/RGB Q=95|AppMag = 40|MPP = {MPP}"
    )
    options = {
        "tile": (tile_px, tile_px),
        "photometric": "rgb",
        "compression": "jpeg",
        "compressionargs": {"level": 95},
        "metadata": None,
    }
    with tifffile.TiffWriter(path) as file:
        for level in (pixels, pixels[::4, ::4]):
            file.write(level, description=text, subfiletype=int(level is not pixels), **options)
    return path


def draw_tissue(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw discs on pink tissue; returns the picture and where they are."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    mask = np.zeros((height, width), bool)
    for _ in range(max(3, height * width // 6000)):
        centre, radius = rng.random(2) * (height, width), rng.uniform(5, 14)
        mask |= (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2
    pixels = np.full((height, width, 3), (230, 190, 215), np.uint8)
    pixels[mask] = (120, 60, 150)
    noise = rng.integers(-12, 12, (height // 4 + 1, width // 4 + 1, 1)).repeat(4, 0).repeat(4, 1)
    return (pixels + noise[:height, :width]).clip(0, 255).astype(np.uint8), mask
