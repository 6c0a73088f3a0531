"""Planted copies found among the images of a dataset, pairs that are none, and the pairs that it
really holds.

python benchmarks/duplicates.py FOLDER [PLANTED]
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
    count = len(samples)
    began = time.perf_counter()
    own = near_duplicates(thumbnails)
    print(
        f"{count} images compared in {time.perf_counter() - began:.1f} s; they hold "
        f"{len(own)} near-duplicate pairs:"
    )
    for pair in own:
        print(f"  {samples[pair.first].id} {samples[pair.second].id} {pair.similarity:.3f}")
    linked = {(pair.first, pair.second) for pair in own}
    found = false = 0
    chosen = np.random.default_rng(0).choice(count, min(planted, count), replace=False)
    for name, change in CHANGES.items():
        copies = np.stack(
            list(
                map_in_order(
                    lambda index, change=change: thumbnail(
                        np.asarray(change(Image.fromarray(images[index])))
                    ),
                    chosen,
                )
            )
        )
        pairs = {
            (pair.first, pair.second)
            for pair in near_duplicates(np.concatenate([thumbnails, copies]))
        }
        wanted = {(int(original), count + position) for position, original in enumerate(chosen)}
        source = np.concatenate([np.arange(count), chosen])
        extra = [
            pair
            for pair in pairs - wanted
            if source[pair[0]] != source[pair[1]]
            and tuple(sorted((source[pair[0]], source[pair[1]]))) not in linked
        ]
        print(f"{name}: recall {len(pairs & wanted) / len(wanted):.3f}, {len(extra)} false pairs")
        for first, second in extra:
            print(f"  {samples[source[first]].id} {samples[source[second]].id}")
        found, false = found + len(pairs), false + len(extra)
    print(f"in all {false} of {found} pairs are false, {false / found:.2%}")


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
    "turned by 90°": lambda image: image.transpose(Image.Transpose.ROTATE_90),
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
