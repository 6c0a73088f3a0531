"""A seeded fuzzer of image files: no mutated file may crash the process, and none that ends early
may be accepted.

python benchmarks/mutate.py [COUNT]

A change inside the pixels of a format without checksums (JPEG, BMP, WebP, plain TIFF) is another
picture, which no decoder can tell from the first; it must still be of full size.
"""

import io
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from limner.data.images import read_image, read_mask
from limner.errors import LimnerError

COUNT, BATCH = 10_000, 500
HEIGHT, WIDTH = 60, 44


def originals() -> dict[str, bytes]:
    """Small files of every format and of the codings that differ inside."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    picture = np.stack([y * 4, x * 5, 128 + 0 * x], axis=2).astype(np.uint8) ^ rng.integers(
        0, 16, (HEIGHT, WIDTH, 3)
    ).astype(np.uint8)
    indexed = Image.fromarray(picture).quantize(32)
    files: dict[str, bytes] = {}
    for name, image, options in (
        ("rgb.png", Image.fromarray(picture), {}),
        ("palette.png", indexed, {}),
        ("deep.png", Image.fromarray(picture[..., 0].astype(np.uint16) * 257), {}),
        ("plain.jpg", Image.fromarray(picture), {"quality": 90}),
        ("progressive.jpg", Image.fromarray(picture), {"quality": 80, "progressive": True}),
        ("grey.jpg", Image.fromarray(picture[..., 0]), {}),
        ("rgb.bmp", Image.fromarray(picture), {}),
        ("palette.bmp", indexed, {}),
        ("lossless.webp", Image.fromarray(picture), {"lossless": True}),
        ("lossy.webp", Image.fromarray(picture), {}),
    ):
        buffer = io.BytesIO()
        image.save(
            buffer, format={"jpg": "JPEG"}.get(name[-3:], name.partition(".")[2].upper()), **options
        )
        files[name] = buffer.getvalue()
    for name, options in (
        ("strips.tif", {"rowsperstrip": 16}),
        ("tiles.tif", {"tile": (16, 16), "compression": "zlib"}),
        ("big.tif", {"bigtiff": True}),
    ):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, picture, photometric="rgb", **options)
        files[name] = buffer.getvalue()
    return files


def mutate(content: bytes, chance: random.Random) -> tuple[bytes, bool]:
    """A mutated copy, and whether its end is gone."""
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


def run(first: int, count: int) -> Counter[str]:
    """Read mutated files from number `first` on; raises AssertionError where one that ends early is
    accepted as another picture.
    """
    files, seen = originals(), Counter[str]()
    names = sorted(files)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, first + count):
            chance = random.Random(number)
            name = names[number % len(names)]
            path = Path(folder) / name
            path.write_bytes(files[name])
            whole = read_image(path)
            content, cut = mutate(files[name], chance)
            path.write_bytes(content)
            for read in (read_image, read_mask):
                try:
                    found = read(path)
                except LimnerError as error:
                    assert name in str(error), error
                    seen[f"{name}: refused"] += 1
                    continue
                pixels = found if isinstance(found, np.ndarray) else found.values
                if cut and read is read_image:
                    assert pixels.shape == whole.shape and (pixels == whole).all(), (
                        f"file {number}, {name}, cut at {len(content)}, was accepted"
                    )
                full = pixels.shape[:2] == whole.shape[:2]
                seen[
                    f"{name}: accepted{'' if full else ' at another size, as its header says'}"
                ] += 1
    return seen


def main(count: int) -> bool:
    """Read in child processes, so that a crash is seen and named; whether there was one."""
    total, crashes = Counter[str](), []
    for first in range(0, count, BATCH):
        code = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import mutate; "
            f"print(dict(mutate.run({first}, {min(BATCH, count - first)})))"
        )
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True
        )
        if done.returncode:
            crashes.append(
                f"files {first} to {first + BATCH}: exit status "
                f"{done.returncode}\n{done.stderr[-2000:]}"
            )
            continue
        # What this file printed itself
        total.update(eval(done.stdout))
    for name, number in sorted(total.items()):
        print(f"{number:6} {name}")
    print(f"{count} files, {len(crashes)} crashes")
    print("\n".join(crashes))
    return bool(crashes)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT))
