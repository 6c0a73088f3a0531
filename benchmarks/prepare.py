"""How fast a dataset is checked and prepared, with how much memory, and Pillow in the same run.

python benchmarks/prepare.py WORK_FOLDER

The first time it is filled with 10,000 synthetic images, which takes a few minutes.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from limner.data.cache import prepare
from limner.data.check import check
from limner.data.dataset import Dataset
from limner.data.images import read_image
from limner.data.parallel import map_in_order
from limner.data.resize import resize_image
from limner.data.scan import scan
from limner.data.synthetic import draw_lesion, write_synthetic
from limner.labels import Labels

COUNT, LARGE, ROUNDS = 10_000, 120, 3
WORKING_PX = (256, 256)
LABELS = Labels.from_values(("background", "foreground"), (0, 255))


def main(work: Path) -> None:
    """Make the data if it is not there, then measure each thing in a process of its own."""
    many, large = work / "many", work / "large"
    if not many.exists():
        write_synthetic(many, COUNT, 256, 0)
    if not large.exists():
        write_large(large)
    for share in (4, 1):
        print(measure("check", many, share))
    for share in (4, 1):
        print(measure("prepare", many, share))
    print(measure("large", large, 1))


def write_large(folder: Path) -> None:
    """Photographs of 6 megapixels, with the grain that cameras give, and their masks."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(LARGE):
        image, mask = draw_lesion(1, index, 512)
        enlarged = np.asarray(
            Image.fromarray(image).resize((3000, 2000), Image.Resampling.BICUBIC), np.int16
        )
        grainy = np.clip(
            enlarged + rng.normal(0, 4, enlarged.shape).astype(np.int16), 0, 255
        ).astype(np.uint8)
        Image.fromarray(grainy).save(folder / "images" / f"{index:04}.jpg", quality=92)
        Image.fromarray(mask).resize((3000, 2000), Image.Resampling.NEAREST).save(
            folder / "masks" / f"{index:04}.png"
        )


def measure(what: str, folder: Path, share: int) -> str:
    """What a child process prints that measures one thing."""
    return subprocess.run(
        [sys.executable, __file__, what, str(folder), str(share)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.rstrip()


def child(what: str, folder: Path, share: int) -> None:
    """One measurement; peak memory is the process's own."""
    dataset = scan(folder)
    samples = dataset.samples[::share]
    if what == "large":
        compare(
            [sample.image for sample in samples],
            [sample.mask for sample in samples if isinstance(sample.mask, Path)],
        )
        return
    os.environ["LIMNER_CACHE"] = tempfile.mkdtemp()
    started = time.perf_counter()
    if what == "check":
        result = check(Dataset(dataset.root, dataset.layout, samples))
        work_done = f"checked, hashed and compared ({len(result.findings)} findings)"
    else:
        prepare(samples, LABELS, WORKING_PX)
        work_done = f"prepared at {WORKING_PX[0]} px"
    seconds = time.perf_counter() - started
    shutil.rmtree(os.environ["LIMNER_CACHE"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{len(samples):6} images {work_done}: {seconds:.1f} s, {len(samples) / seconds:.0f} "
        f"images/s, peak {peak:.0f} MB"
    )


def compare(images: list[Path], masks: list[Path]) -> None:
    """Interleaved rounds of limner and of Pillow in one thread; the best of each."""
    methods: dict[str, Callable[[], object]] = {
        "limner": lambda: list(
            map_in_order(
                lambda path: resize_image(read_image(path, at_least_px=(512, 512)), WORKING_PX),
                images,
            )
        ),
        "Pillow, full decode and resize": lambda: [
            np.asarray(
                Image.open(path).convert("RGB").resize(WORKING_PX, Image.Resampling.BILINEAR)
            )
            for path in images
        ],
        "limner, masks too, into the cache": lambda: prepare_without_cache(images[0].parent.parent),
        "Pillow, masks too": lambda: [
            (
                np.asarray(
                    Image.open(image).convert("RGB").resize(WORKING_PX, Image.Resampling.BILINEAR)
                ),
                np.asarray(Image.open(mask).resize(WORKING_PX, Image.Resampling.NEAREST)),
            )
            for image, mask in zip(images, masks, strict=True)
        ],
    }
    best = dict.fromkeys(methods, float("inf"))
    for _ in range(ROUNDS):
        for name, run in methods.items():
            started = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - started)
    rates = {name: len(images) / seconds for name, seconds in best.items()}
    for name, rate in rates.items():
        print(
            f"{len(images)} JPEGs of 6 megapixels at {WORKING_PX[0]} px, {name}: {rate:.1f} "
            "images/s"
        )
    alone, pillow, both, pillow_both = rates.values()
    print(f"ratio: {alone / pillow:.1f} for images, {both / pillow_both:.1f} with masks")


def prepare_without_cache(folder: Path) -> None:
    """Prepare into an empty cache."""
    os.environ["LIMNER_CACHE"] = tempfile.mkdtemp()
    prepare(scan(folder).samples, LABELS, WORKING_PX)
    shutil.rmtree(os.environ["LIMNER_CACHE"])


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(Path(sys.argv[1]))
    else:
        child(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
