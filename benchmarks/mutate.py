"""A seeded fuzzer of image files: no mutated file may crash the process, and none that ends early
may be accepted.

python benchmarks/mutate.py [COUNT]

A change inside the pixels of a format without checksums (JPEG, BMP, WebP, plain TIFF) makes another
image, which no decoder can tell from the first. It must still be of full size.
"""

import ast
import io
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from limner.data.images import read_image, read_mask
from limner.data.mask_pixels import MaskPixels
from limner.errors import LimnerError

COUNT, BATCH = 10_000, 500
HEIGHT, WIDTH = 60, 44


def original_files() -> dict[str, bytes]:
    """Encode small files of every format, and of the codings that differ inside."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    noise = rng.integers(0, 16, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    pixels = np.stack([y * 4, x * 5, 128 + 0 * x], axis=2).astype(np.uint8) ^ noise
    return encode_with_pillow(pixels) | encode_with_tifffile(pixels)


def encode_with_pillow(pixels: np.ndarray) -> dict[str, bytes]:
    rgb, grey = Image.fromarray(pixels), Image.fromarray(pixels[..., 0])
    deep = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    indexed = rgb.quantize(32)
    files: dict[str, bytes] = {}
    for name, image, options in (
        ("rgb.png", rgb, {}),
        ("palette.png", indexed, {}),
        ("deep.png", deep, {}),
        ("plain.jpg", rgb, {"quality": 90}),
        ("progressive.jpg", rgb, {"quality": 80, "progressive": True}),
        ("grey.jpg", grey, {}),
        ("rgb.bmp", rgb, {}),
        ("palette.bmp", indexed, {}),
        ("lossless.webp", rgb, {"lossless": True}),
        ("lossy.webp", rgb, {}),
    ):
        buffer = io.BytesIO()
        suffix = name.partition(".")[2].upper()
        image.save(buffer, format="JPEG" if suffix == "JPG" else suffix, **options)
        files[name] = buffer.getvalue()
    return files


def encode_with_tifffile(pixels: np.ndarray) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for name, options in (
        ("strips.tif", {"rowsperstrip": 16}),
        ("tiles.tif", {"tile": (16, 16), "compression": "zlib"}),
        ("big.tif", {"bigtiff": True}),
    ):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pixels, photometric="rgb", **options)
        files[name] = buffer.getvalue()
    return files


def mutate(content: bytes, chance: random.Random) -> tuple[bytes, bool]:
    """Return a mutated copy, and whether its end is gone."""
    data = bytearray(content)
    kind = chance.randrange(7)
    at = chance.randrange(len(data))
    run = 1 << chance.randrange(8)
    if kind == 0:
        return bytes(data[:at]), True
    if kind == 1:
        del data[at : at + run]
    elif kind == 2:
        data[at:at] = chance.randbytes(run)
    elif kind == 3:
        data[at : at + run] = bytes(len(data[at : at + run]))
    elif kind == 4:
        data[chance.randrange(min(64, len(data)))] = chance.choice(
            (0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256))
        )
    elif kind == 5:
        for _ in range(chance.randrange(1, 5)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    else:
        other = chance.randrange(len(data))
        data[at : at + run], data[other : other + run] = (
            data[other : other + run],
            data[at : at + run],
        )
    return bytes(data), False


def read_mutated(first: int, count: int) -> Counter[str]:
    """Read mutated files from number `first` on, and count what became of them.

    Raises:
        AssertionError: A file that ends early is accepted as another image.
    """
    files, outcomes = original_files(), Counter[str]()
    names = sorted(files)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, first + count):
            name = names[number % len(names)]
            path = Path(folder) / name
            path.write_bytes(files[name])
            original = read_image(path)
            content, is_cut = mutate(files[name], random.Random(number))
            path.write_bytes(content)
            for read in (read_image, read_mask):
                pixels = read_or_none(read, path)
                if is_cut and pixels is not None and read is read_image:
                    assert pixels.shape == original.shape and (pixels == original).all(), (
                        f"file {number}, {name}, cut at {len(content)}, was accepted"
                    )
                outcomes[f"{name}: {describe(pixels, original)}"] += 1
    return outcomes


def read_or_none(read: Callable[[Path], np.ndarray | MaskPixels], path: Path) -> np.ndarray | None:
    """Read a file; None stands for one that is refused by its name."""
    try:
        image = read(path)
    except LimnerError as error:
        assert path.name in str(error), error
        return None
    return image if isinstance(image, np.ndarray) else image.values


def describe(pixels: np.ndarray | None, original: np.ndarray) -> str:
    if pixels is None:
        return "refused"
    if pixels.shape[:2] == original.shape[:2]:
        return "accepted"
    return "accepted at another size, as its header says"


def main(count: int) -> bool:
    """Read in child processes, so that a crash is seen and named. True where there was one."""
    total, crashes = Counter[str](), []
    for first in range(0, count, BATCH):
        code = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import mutate; "
            f"print(dict(mutate.read_mutated({first}, {min(BATCH, count - first)})))"
        )
        child = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True
        )
        if child.returncode:
            crashes.append(
                f"files {first} to {first + BATCH}: exit status "
                f"{child.returncode}\n{child.stderr[-2000:]}"
            )
            continue
        total.update(ast.literal_eval(child.stdout))
    for name, number in sorted(total.items()):
        print(f"{number:6} {name}")
    print(f"{count} files, {len(crashes)} crashes")
    print("\n".join(crashes))
    return bool(crashes)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT))
