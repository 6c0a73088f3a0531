"""How well planted copies are found among the images of a dataset, and how many pairs are false.

python benchmarks/duplicates.py FOLDER [PLANTED]

It also lists the near duplicates that the dataset really holds.
"""

import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from limner.data.duplicates import near_duplicates, thumbnail
from limner.data.parallel import map_in_order
from limner.data.scan import scan

PLANTED = 300


def main(folder: Path, planted: int) -> None:
    """Plant changed copies of some images, one kind of change after another."""
    samples = scan(folder).samples
    images = list(map_in_order(lambda sample: sample.read_image(), samples))
    thumbnails = np.stack(list(map_in_order(thumbnail, images)))
    ids, count = [sample.id for sample in samples], len(samples)
    started = time.perf_counter()
    own_pairs = near_duplicates(thumbnails)
    print(
        f"{count} images compared in {time.perf_counter() - started:.1f} s; they hold "
        f"{len(own_pairs)} near-duplicate pairs:"
    )
    for pair in own_pairs:
        print(f"  {ids[pair.first]} {ids[pair.second]} {pair.similarity:.3f}")
    known = {(pair.first, pair.second) for pair in own_pairs}
    originals = np.random.default_rng(0).choice(count, min(planted, count), replace=False)
    all_pairs = all_false = 0
    for name, change in CHANGES.items():
        copies = [
            thumbnail(np.asarray(change(Image.fromarray(images[index])))) for index in originals
        ]
        pairs = near_duplicates(np.concatenate([thumbnails, np.stack(copies)]))
        found = {(pair.first, pair.second) for pair in pairs}
        planted_pairs = {(int(index), count + i) for i, index in enumerate(originals)}
        false = false_pairs(
            found - planted_pairs, np.concatenate([np.arange(count), originals]), known
        )
        recall = len(found & planted_pairs) / len(planted_pairs)
        print(f"{name}: recall {recall:.3f}, {len(false)} false pairs")
        for first, second in false:
            print(f"  {ids[first]} {ids[second]}")
        all_pairs, all_false = all_pairs + len(found), all_false + len(false)
    print(f"in all {all_false} of {all_pairs} pairs are false, {all_false / all_pairs:.2%}")


def false_pairs(
    pairs: set[tuple[int, int]], source: np.ndarray, known: set[tuple[int, int]]
) -> list[tuple[int, int]]:
    """The images of those pairs that are neither one image nor known near duplicates.

    `source` gives for each compared image, a planted copy included, the image of the dataset.
    """
    images = [(int(source[first]), int(source[second])) for first, second in pairs]
    return [
        (first, second)
        for first, second in images
        if first != second and (min(first, second), max(first, second)) not in known
    ]


def jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=50)
    return Image.open(buffer).convert("RGB")


def crop(
    left: float, top: float, right: float, bottom: float
) -> Callable[[Image.Image], Image.Image]:
    """Cut away these shares of the sides."""
    return lambda image: image.crop(
        tuple(
            round(share * side)
            for share, side in zip((left, top, 1 - right, 1 - bottom), image.size * 2, strict=True)
        )
    )


def brightness(factor: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: ImageEnhance.Brightness(image).enhance(factor)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "resized to 40 %": lambda image: image.resize(
        (image.width * 2 // 5, image.height * 2 // 5), Image.Resampling.BILINEAR
    ),
    "flipped": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "rotated by 90°": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "JPEG quality 50": jpeg,
    "cropped by 5 % at a corner": crop(0.05, 0, 0, 0.05),
    "cropped by 5 % in all": crop(0.025, 0.025, 0.025, 0.025),
    "cropped by 5 % at each side": crop(0.05, 0.05, 0.05, 0.05),
    "brighter by 10 %": brightness(1.1),
    "darker by 10 %": brightness(0.9),
    "all of it": lambda image: jpeg(
        crop(0.05, 0, 0, 0.05)(brightness(1.1)(image.transpose(Image.Transpose.TRANSVERSE))).resize(
            (160, 160)
        )
    ),
}


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else PLANTED)
