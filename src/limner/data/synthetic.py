"""The synthetic dataset: dermoscopy with exact masks, written in ISIC's layout.

Every image is a function of (seed, its number, the size) alone. What makes it hard is what makes
dermoscopy hard: lesions paler than the uneven light around them, a dark vignette, hairs, a ruler,
gel bubbles and specular highlights.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFilter

from limner.data.parallel import Progress, map_in_order, with_progress
from limner.data.writers.jpeg import write_jpeg
from limner.data.writers.png import write_png
from limner.errors import LimnerError
from limner.files import require_empty_folder
from limner.plurals import count_noun

SHARES = {"Training": 0.7, "Validation": 0.15, "Test": 0.15}
MIN_COUNT = 4
SIZES_PX = (32, 4096)
"""The smallest and the largest side of an image."""
Plane = Float[ndarray, "h w"]
Picture = Float[ndarray, "h w 3"]
"""Red, green and blue in 0..1, though values may lie beyond until the end."""
SKIN_TONES = np.array(
    [
        [0.93, 0.76, 0.69],
        [0.88, 0.66, 0.56],
        [0.80, 0.56, 0.45],
        [0.68, 0.46, 0.36],
        [0.52, 0.35, 0.27],
    ],
    np.float32,
)
LESION_COLOURS = np.array(
    [
        [0.62, 0.42, 0.30],
        [0.45, 0.28, 0.20],
        [0.30, 0.18, 0.14],
        [0.66, 0.40, 0.36],
        [0.40, 0.40, 0.46],
    ],
    np.float32,
)


def write_images(
    folder: Path, count: int, size_px: int, seed: int, progress: Progress | None = None
) -> None:
    """Write `count` images without masks, as new ones come from a microscope.

    The arguments are those of `write_synthetic`; one image is enough.

    Raises LimnerError where the folder holds anything, and for another count or size.
    """
    _require_possible(folder, count, size_px, least=1)
    folder.mkdir(parents=True, exist_ok=True)

    def write(index: int) -> None:
        image, _ = draw_lesion(seed, index, size_px)
        write_jpeg(folder / f"new_{index:04d}.jpg", image)

    for _ in with_progress(map_in_order(write, range(count)), count, progress):
        pass


def write_synthetic(
    folder: Path, count: int, size_px: int, seed: int, progress: Progress | None = None
) -> None:
    """Write `count` images and masks, split as ISIC splits them.

    Args:
        folder: A new or empty folder.
        count: At least 4.
        size_px: The side of an image, 32 to 4096.
        seed: Another seed gives other images.
        progress: Wraps the iteration over the images.

    Raises LimnerError where the folder holds anything, and for another count or size.
    """
    _require_possible(folder, count, size_px, least=MIN_COUNT)
    validation, test = (max(1, round(count * SHARES[name])) for name in ("Validation", "Test"))
    splits = ["Validation"] * validation + ["Test"] * test
    splits += ["Training"] * (count - len(splits))
    for split in SHARES:
        for kind in _folders(folder, split):
            kind.mkdir(parents=True)

    def write(index: int) -> None:
        images, masks = _folders(folder, splits[index])
        image, mask = draw_lesion(seed, index, size_px)
        write_jpeg(images / f"ISIC_{index:07d}.jpg", image)
        write_png(masks / f"ISIC_{index:07d}_segmentation.png", mask)

    for _ in with_progress(map_in_order(write, range(count)), count, progress):
        pass


def _require_possible(folder: Path, count: int, size_px: int, least: int) -> None:
    require_empty_folder(folder)
    if count < least or not SIZES_PX[0] <= size_px <= SIZES_PX[1]:
        raise LimnerError(
            f"{count} images of {size_px} px cannot be made. At least {count_noun(least, 'image')} "
            "of 32 to 4096 px can."
        )


def _folders(folder: Path, split: str) -> tuple[Path, Path]:
    """Where the images and the masks of a split lie."""
    return (
        folder / f"ISIC2018_Task1-2_{split}_Input",
        folder / f"ISIC2018_Task1_{split}_GroundTruth",
    )


def draw_lesion(
    seed: int, index: int, size_px: int
) -> tuple[UInt8[ndarray, "h w 3"], UInt8[ndarray, "h w"]]:
    """Draw one image, and its mask of 0 and 255."""
    rng = np.random.default_rng([seed, index])
    y, x = np.mgrid[-1 : 1 : size_px * 1j, -1 : 1 : size_px * 1j].astype(np.float32)
    depth = _lesion_depth(rng, x, y)
    picture = _paint_lesion(rng, _paint_skin(rng, size_px), depth, size_px)
    picture = _uneven_light(rng, picture, x, y)
    picture = _bubbles(rng, picture, size_px)
    picture = _hairs(rng, picture, size_px)
    if rng.random() < 0.35:
        picture = _ruler(rng, picture, size_px)
    if rng.random() < 0.55:
        picture = _vignette(rng, picture, x, y)
    picture += rng.normal(0, rng.uniform(0.004, 0.015), picture.shape).astype(np.float32)
    pixels = Image.fromarray((picture.clip(0, 1) * 255).astype(np.uint8))
    blurred = pixels.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.2, 0.9))))
    return np.asarray(blurred), (depth > 0).astype(np.uint8) * 255


def _rgb(red: float, green: float, blue: float) -> Float[ndarray, " 3"]:
    return np.array([red, green, blue], np.float32)


def _smooth_noise(rng: np.random.Generator, size_px: int, cells: int) -> Plane:
    """Noise of about unit deviation, with features of size_px / cells."""
    coarse = Image.fromarray(rng.normal(0, 1, (cells + 3, cells + 3)).astype(np.float32))
    return np.asarray(coarse.resize((size_px, size_px), Image.Resampling.BICUBIC))


def _paint_skin(rng: np.random.Generator, size_px: int) -> Picture:
    position = rng.beta(1.3, 2.2) * (len(SKIN_TONES) - 1)
    index = int(position)
    darker = SKIN_TONES[min(index + 1, len(SKIN_TONES) - 1)]
    tone = SKIN_TONES[index] + (position - index) * (darker - SKIN_TONES[index])
    tone = tone + rng.normal(0, 0.02, 3)
    texture = (
        0.02 * _smooth_noise(rng, size_px, 6)
        + 0.012 * _smooth_noise(rng, size_px, 40)
        + 0.010 * _smooth_noise(rng, size_px, 110)
    )
    blotches = np.clip(_smooth_noise(rng, size_px, 9) - 1.1, 0, None)
    redness = 0.05 * rng.random() * _smooth_noise(rng, size_px, 5)
    picture = tone.astype(np.float32) + texture[..., None] * _rgb(1.0, 1.1, 1.1)
    picture -= 0.10 * blotches[..., None] * _rgb(0.4, 1.0, 1.0) + redness[..., None] * _rgb(
        -0.2, 0.6, 0.6
    )
    return picture.astype(np.float32)


def _lesion_depth(rng: np.random.Generator, x: Plane, y: Plane) -> Plane:
    """How far inside the lesion a pixel is, in half image sides; negative outside."""
    radius = float(np.clip(rng.lognormal(np.log(0.42), 0.38), 0.12, 0.85))
    centre = rng.normal(0, 0.14, 2)
    rotation, stretch = rng.uniform(0, np.pi), rng.uniform(0.65, 1.0)
    dx, dy = x - centre[0], y - centre[1]
    u = (dx * np.cos(rotation) + dy * np.sin(rotation)) * np.sqrt(stretch)
    v = (-dx * np.sin(rotation) + dy * np.cos(rotation)) / np.sqrt(stretch)
    angle = np.arctan2(v, u)
    border = np.full_like(x, radius)
    raggedness = rng.uniform(0.04, 0.16)
    for wave in range(2, 14):
        border += (
            radius
            * raggedness
            * rng.normal()
            / wave**0.8
            * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
        )
    return (border - np.hypot(u, v)).astype(np.float32)


def _paint_lesion(rng: np.random.Generator, skin: Picture, depth: Plane, size_px: int) -> Picture:
    softness = rng.uniform(0.015, 0.09)
    presence = 1 / (1 + np.exp(-(depth / softness * 2.5).clip(-20, 20)))
    strength = rng.uniform(0.28, 0.95)
    colour = _mix_lesion_colours(rng, skin, size_px)
    network = np.abs(_smooth_noise(rng, size_px, int(rng.integers(18, 36))))
    colour -= (rng.uniform(0, 0.14) * np.exp(-6 * network))[..., None]
    globules = np.clip(_smooth_noise(rng, size_px, int(rng.integers(25, 45))) - 1.4, 0, 1)
    colour -= (rng.uniform(0, 0.25) * globules)[..., None]
    regression = np.clip(_smooth_noise(rng, size_px, 4) - 0.9, 0, 1) * rng.uniform(0, 0.9)
    shade = (skin.mean((0, 1)) / _rgb(0.9, 0.7, 0.6)).clip(0.55, 1.05)
    opacity = (strength * presence * (1 - regression))[..., None]
    return (skin * (1 - opacity) + colour * shade * opacity).astype(np.float32)


def _mix_lesion_colours(rng: np.random.Generator, skin: Picture, size_px: int) -> Picture:
    """A blotchy mixture of browns, in the shape of `skin`."""
    mixture = np.zeros_like(skin)
    logits = [
        _smooth_noise(rng, size_px, int(rng.integers(2, 6))) + rng.normal(0, 0.6)
        for _ in LESION_COLOURS
    ]
    weights = np.exp(1.4 * np.stack(logits))
    for colour, weight in zip(LESION_COLOURS, weights / weights.sum(0), strict=True):
        mixture += weight[..., None] * colour
    return mixture


def _uneven_light(rng: np.random.Generator, picture: Picture, x: Plane, y: Plane) -> Picture:
    direction = rng.uniform(0, 2 * np.pi)
    slope = (x * np.cos(direction) + y * np.sin(direction)) * rng.uniform(0, 0.22)
    warmth = (1 + rng.normal(0, 0.04, 3)).astype(np.float32)
    return (picture * (1 + slope)[..., None] * warmth * rng.uniform(0.82, 1.1)).astype(np.float32)


def _vignette(rng: np.random.Generator, picture: Picture, x: Plane, y: Plane) -> Picture:
    distance = np.hypot(x - rng.normal(0, 0.05), y - rng.normal(0, 0.05))
    edge, softness = rng.uniform(0.95, 1.3), rng.uniform(0.02, 0.25)
    darkness = np.exp(((distance - edge) / softness * 3).clip(-20, 20))
    return picture / (1 + darkness)[..., None].astype(np.float32)


def _hairs(rng: np.random.Generator, picture: Picture, size_px: int) -> Picture:
    count = int(rng.poisson(9)) if rng.random() < 0.6 else 0
    layer, pen = _double_size_layer(size_px)
    for _ in range(count):
        start, angle = rng.uniform(-0.2, 1.2, 2), rng.uniform(0, 2 * np.pi)
        bend, length = rng.normal(0, 1.2), rng.uniform(0.3, 1.2)
        angles = angle + bend * np.linspace(0, 1, 24)
        path = np.stack([np.cumsum(np.cos(angles)), np.cumsum(np.sin(angles))], 1)
        points = start + length * path / 24
        pen.line(
            [tuple(point) for point in points * size_px * 2],
            fill=int(rng.integers(150, 255)),
            width=max(1, round(size_px * rng.uniform(0.006, 0.018))),
            joint="curve",
        )
    alpha = _layer_alpha(layer, size_px)
    tint = _rgb(0.16, 0.11, 0.09) if rng.random() < 0.8 else _rgb(0.72, 0.60, 0.48)
    return picture * (1 - alpha) + tint * alpha


def _ruler(rng: np.random.Generator, picture: Picture, size_px: int) -> Picture:
    layer, pen = _double_size_layer(size_px)
    side = size_px * 2
    base, step = rng.uniform(0.02, 0.08) * side, rng.uniform(0.02, 0.04) * side
    for tick in range(int(side / step) + 1):
        end = base + side * (0.055 if tick % 5 == 0 else 0.03)
        line = [(tick * step, base), (tick * step, end)]
        pen.line(line, fill=230, width=max(2, side // 250))
    alpha = _layer_alpha(layer.rotate(90 * int(rng.integers(4))), size_px)
    return picture * (1 - 0.85 * alpha)


def _bubbles(rng: np.random.Generator, picture: Picture, size_px: int) -> Picture:
    layer, pen = _double_size_layer(size_px)
    for _ in range(int(rng.poisson(3)) if rng.random() < 0.5 else 0):
        centre, radius = rng.uniform(0, 2 * size_px, 2), size_px * rng.uniform(0.02, 0.14)
        box = [*(centre - radius), *(centre + radius)]
        pen.ellipse(box, outline=int(rng.integers(50, 130)), width=max(2, size_px // 80))
        spot = centre + radius * rng.uniform(-0.5, 0.5, 2)
        pen.ellipse([*(spot - radius / 8), *(spot + radius / 8)], fill=255)
    # Specular highlights
    for _ in range(int(rng.poisson(4))):
        spot, radius = rng.uniform(0, 2 * size_px, 2), size_px * rng.uniform(0.004, 0.014)
        pen.ellipse([*(spot - radius), *(spot + radius)], fill=240)
    small = layer.resize((size_px, size_px), Image.Resampling.BOX)
    glow = small.filter(ImageFilter.GaussianBlur(size_px / 300))
    alpha = np.asarray(glow, np.float32)[..., None] / 255
    return picture * (1 - alpha) + np.float32(0.98) * alpha


def _double_size_layer(size_px: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An empty grey layer of twice the size, so that lines are smooth, and a pen to draw on it."""
    layer = Image.new("L", (size_px * 2, size_px * 2))
    return layer, ImageDraw.Draw(layer)


def _layer_alpha(layer: Image.Image, size_px: int) -> Float[ndarray, "h w 1"]:
    """How opaque a layer is at the image's size, 0..1."""
    small = layer.resize((size_px, size_px), Image.Resampling.BOX)
    return np.asarray(small, np.float32)[..., None] / 255
