"""A sound set, and the ways in which people spoil it."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from PIL import Image

HEIGHT, WIDTH, COUNT = 40, 52, 12
Spoil = Callable[[Path], object]
IMAGE, MASK = "images/p03.png", "masks/p03.png"
"""The sample that is spoilt, where one is."""


class Case(NamedTuple):
    """A spoilt set, and the finding that tells of it."""

    spoil: Spoil
    code: str
    severity: str
    named: str
    """What the message names."""
    cure: str
    """A word of what it says to do."""


def write_sound_set(folder: Path) -> None:
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(COUNT):
        Image.fromarray(draw_image(number)).save(folder / "images" / f"p{number:02}.png")
        Image.fromarray(draw_mask(number)).save(folder / "masks" / f"p{number:02}.png")


def draw_image(number: int) -> np.ndarray:
    """Draw an image unlike those of other numbers."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 255, (5, 6, 3)).astype(np.uint8)).resize(
        (WIDTH, HEIGHT), Image.Resampling.BICUBIC
    )
    noise = rng.integers(-12, 12, (HEIGHT, WIDTH, 3))
    return np.clip(np.asarray(coarse, np.int16) + noise, 0, 255).astype(np.uint8)


def draw_mask(number: int, value: int = 255) -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return (
        (((y - 18 - number % 5) ** 2 + (x - 24 - number % 7) ** 2) < 60 + 12 * number) * value
    ).astype(np.uint8)


def put(name: str, pixels: np.ndarray | Image.Image, **options: object) -> Spoil:
    """Write an image in the place of another, as the ending of `name` says."""

    def spoil(root: Path) -> None:
        path = root / name
        for old in path.parent.glob(f"{path.stem}.*"):
            old.unlink()
        if path.suffix == ".tif":
            tifffile.imwrite(path, np.asarray(pixels), **options)
        else:
            (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(
                path, **options
            )

    return spoil


def write(name: str, content: bytes) -> Spoil:
    return lambda root: (root / name).write_bytes(content)


def cut(name: str, share: float) -> Spoil:
    return lambda root: (root / name).write_bytes(
        (root / name).read_bytes()[: int(share * (root / name).stat().st_size)]
    )


def flip_bit(name: str, share: float) -> Spoil:
    def spoil(root: Path) -> None:
        content = bytearray((root / name).read_bytes())
        content[int(share * len(content))] ^= 0x10
        (root / name).write_bytes(content)

    return spoil


def each_mask(
    change: Callable[[int], np.ndarray | Image.Image], suffix: str = "png", **options: object
) -> Spoil:
    def spoil(root: Path) -> None:
        for number in range(COUNT):
            put(f"masks/p{number:02}.{suffix}", change(number), **options)(root)

    return spoil


def exif(orientation: int) -> Image.Exif:
    data = Image.Exif()
    data[0x0112] = orientation
    return data


def short_png(name: str) -> Spoil:
    """A PNG that is sound but for half of its rows, which were never written."""

    def spoil(root: Path) -> None:
        rows = bytes(3 * WIDTH + 1) * (HEIGHT // 2)
        chunks = [
            (b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(rows)),
            (b"IEND", b""),
        ]
        body = b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
        (root / name).write_bytes(b"\x89PNG\r\n\x1a\n" + body)

    return spoil


def both(*spoils: Spoil) -> Spoil:
    return lambda root: [spoil(root) for spoil in spoils]


def copied(
    source: str, target: str, change: Callable[[np.ndarray], np.ndarray] = lambda pixels: pixels
) -> Spoil:
    """The image of one sample in the place of another's, its mask as it was."""

    def spoil(root: Path) -> None:
        pixels = change(np.asarray(Image.open(root / "images" / f"{source}.png")))
        put(f"images/{target}.png", pixels)(root)
        put(
            f"masks/{target}.png",
            np.asarray(
                Image.fromarray(draw_mask(3)).resize(pixels.shape[1::-1], Image.Resampling.NEAREST)
            ),
        )(root)

    return spoil


def split_folders(root: Path) -> None:
    """p00 to p05 train, p06 to p08 val, the rest test."""
    for number in range(COUNT):
        side = "train" if number < 6 else "val" if number < 9 else "test"
        for kind in ("images", "masks"):
            (root / side / kind).mkdir(parents=True, exist_ok=True)
            (root / kind / f"p{number:02}.png").rename(root / side / kind / f"p{number:02}.png")
    for kind in ("images", "masks"):
        (root / kind).rmdir()


def leak(source: str, target: str) -> Spoil:
    def spoil(root: Path) -> None:
        split_folders(root)
        (root / target).write_bytes((root / source).read_bytes())

    return spoil


def with_palette(number: int) -> Image.Image:
    image = Image.fromarray(draw_mask(number, 1), mode="P")
    image.putpalette([0, 0, 0, 224, 64, 64])
    return image


def smooth_mask(number: int) -> np.ndarray:
    big = Image.fromarray(draw_mask(number)).resize(
        (4 * WIDTH, 4 * HEIGHT), Image.Resampling.NEAREST
    )
    return np.asarray(big.resize((WIDTH, HEIGHT), Image.Resampling.BOX))


def coloured(number: int) -> np.ndarray:
    return np.where(
        draw_mask(number)[..., None] > 0,
        np.array([128, 64, 128], np.uint8),
        np.array([0, 0, 0], np.uint8),
    )


def numbered_objects() -> np.ndarray:
    return np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16) // 20


def single_pixel(row: int, column: int, value: int = 255) -> np.ndarray:
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[row, column] = value
    return pixels


def salted(number: int) -> np.ndarray:
    noise = np.random.default_rng(number).random((HEIGHT, WIDTH)) < 0.02
    return np.where(noise, 255 - draw_mask(number), draw_mask(number)).astype(np.uint8)
