"""Sets that are drawn, for the measurements that need thin lines or many small things."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

DRAWN_SETS = ("thin", "small")
DRAWN_IMAGES, DRAWN_PX = 120, 512


def draw(kind: str, folder: Path) -> None:
    """Draw a set on uneven ground, as images and masks below a folder.

    "thin" is wavy lines of 2 to 4 px, and "small" some 60 discs of 3 to 9 px. The pixels are the
    same at every call.
    """
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for index in range(DRAWN_IMAGES):
        ground = Image.fromarray(rng.integers(60, 180, (12, 12, 3), np.uint8))
        picture = ground.resize((DRAWN_PX, DRAWN_PX), Image.Resampling.BICUBIC)
        mask = Image.new("L", picture.size)
        layer = Image.new("L", picture.size)
        pen, truth = ImageDraw.Draw(layer), ImageDraw.Draw(mask)
        for _ in range(8 if kind == "thin" else 60):
            if kind == "thin":
                x = np.linspace(-10, DRAWN_PX + 10, 60)
                y = rng.uniform(0, DRAWN_PX) + np.cumsum(rng.normal(0, 6, 60))
                points = (
                    list(zip(x, y, strict=True))
                    if rng.random() < 0.5
                    else list(zip(y, x, strict=True))
                )
                for canvas in (pen, truth):
                    canvas.line(points, 255, int(rng.integers(2, 5)))
            else:
                x, y, radius = *rng.uniform(0, DRAWN_PX, 2), rng.uniform(1.5, 4.5)
                for canvas in (pen, truth):
                    canvas.ellipse((x - radius, y - radius, x + radius, y + radius), 255)
        pixels = np.asarray(picture, np.float32)
        alpha = np.asarray(layer, np.float32)[..., None] / 255
        pixels = pixels - alpha * rng.uniform(25, 45)
        pixels += rng.normal(0, 12, pixels.shape)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
            folder / "images" / f"{index:03}.png"
        )
        mask.save(folder / "masks" / f"{index:03}.png")
