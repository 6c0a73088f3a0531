"""Spoil some masks of a dataset in eight ways, as people do by mistake; label_audit.py finds them.

    python benchmarks/spoilt_masks.py DATA OUT [--share 0.1] [--seed 0]

writes a copy of a binary dataset as OUT/images and OUT/masks, and OUT/spoilt.csv with the id and
the kind of each spoilt mask. How far each is spoilt is drawn at random within bounds that are
fixed here, and stated at each kind.
"""

import argparse
import csv
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from numpy import ndarray
from PIL import Image
from scipy import ndimage

from limner.data.check import check
from limner.data.scan import scan

Mask = Bool[ndarray, "h w"]
MAX_DICE = 0.97
"""A mask that is changed by less is not spoilt; another one is drawn."""
TRIES = 20


class MaskSpoiler:
    """Spoils masks of one dataset.

    Args:
        masks: All masks of it; the median object's area is taken from them.
        rng: Draws how far a mask is spoilt.
    """

    def __init__(self, masks: Sequence[Mask], rng: np.random.Generator) -> None:
        self._masks, self._rng = masks, rng
        areas = np.concatenate([np.bincount(ndimage.label(mask)[0].ravel())[1:] for mask in masks])
        self._object_area = float(np.median(areas[areas >= 16]))
        self.kinds: dict[str, Callable[[Mask], Mask]] = {
            "missing": self.missing,
            "invented": self.invented,
            "shifted": self.shifted,
            "loose": self.loose,
            "tight": self.tight,
            "wrong image": self.wrong_image,
            "mirrored": self.mirrored,
            "cut": self.cut,
        }

    def missing(self, mask: Mask) -> Mask:
        """One object, of at least half the area of the set's median object, is not drawn."""
        objects, _ = ndimage.label(mask)
        large = np.flatnonzero(np.bincount(objects.ravel())[1:] >= self._object_area / 2) + 1
        return mask & (objects != self._rng.choice(large)) if len(large) else mask

    def invented(self, mask: Mask) -> Mask:
        """An ellipse of 0.5 to 1.5 of the median object's area, apart from the mask."""
        area = self._object_area * self._rng.uniform(0.5, 1.5)
        aspect = self._rng.uniform(0.7, 1.4)
        rows, columns = (np.sqrt(area / math.pi * ratio) for ratio in (aspect, 1 / aspect))
        y, x = np.ogrid[: mask.shape[0], : mask.shape[1]]
        near = ndimage.binary_dilation(mask, iterations=3)
        for _ in range(TRIES):
            at_y, at_x = (self._rng.uniform(0, length) for length in mask.shape)
            ellipse = ((y - at_y) / rows) ** 2 + ((x - at_x) / columns) ** 2 <= 1
            if ellipse.sum() >= area / 2 and not (ellipse & near).any():
                return mask | ellipse
        return mask

    def shifted(self, mask: Mask) -> Mask:
        """The whole mask by 0.25 to 0.5 of the diameter of its median object."""
        areas = np.bincount(ndimage.label(mask)[0].ravel())[1:]
        diameter = 2 * math.sqrt(np.median(areas) / math.pi)
        angle, way = self._rng.uniform(0, 2 * math.pi), diameter * self._rng.uniform(0.25, 0.5)
        moved = np.round([way * math.sin(angle), way * math.cos(angle)])
        return ndimage.shift(mask.astype(np.uint8), moved, order=0) > 0

    def loose(self, mask: Mask) -> Mask:
        """Drawn too wide everywhere, to 1.5 to 2 times its area."""
        return self._grow(mask, mask.sum() * self._rng.uniform(1.5, 2))

    def tight(self, mask: Mask) -> Mask:
        """Drawn too narrow everywhere, to 0.4 to 0.67 of its area."""
        return self._grow(mask, mask.sum() * self._rng.uniform(0.4, 0.67))

    def wrong_image(self, mask: Mask) -> Mask:
        """The mask of another image of the set."""
        other = self._masks[int(self._rng.integers(len(self._masks)))]
        size = mask.shape[::-1]
        return np.asarray(Image.fromarray(other).resize(size, Image.Resampling.NEAREST))

    def mirrored(self, mask: Mask) -> Mask:
        """Mirrored or turned by half, whichever changes it most."""
        turned = [mask[::-1], mask[:, ::-1], mask[::-1, ::-1]]
        return min(turned, key=lambda other: dice(mask, other))

    def cut(self, mask: Mask) -> Mask:
        """All on one side of a line through its centre is missing."""
        angle = self._rng.uniform(0, 2 * math.pi)
        y, x = np.indices(mask.shape)
        at_y, at_x = ndimage.center_of_mass(mask)
        return mask & ((y - at_y) * math.sin(angle) + (x - at_x) * math.cos(angle) > 0)

    def _grow(self, mask: Mask, area: float) -> Mask:
        """Dilate or erode a mask evenly, to an area as near to this one as whole pixels allow."""
        outside = ndimage.distance_transform_edt(~mask)
        distance = outside - ndimage.distance_transform_edt(mask) + mask
        place = min(int(area), mask.size - 1)
        return distance <= np.partition(distance.ravel(), place)[place]


def dice(first: Mask, second: Mask) -> float:
    """The Dice of two masks; 1 where both are empty."""
    total = int(first.sum() + second.sum())
    return 2 * int((first & second).sum()) / total if total else 1.0


def spoil(masks: dict[str, Mask], share: float, seed: int) -> dict[str, tuple[str, Mask]]:
    """Spoil a share of the masks, in each way about as many. Gives kind and mask by id."""
    rng = np.random.default_rng(seed)
    spoiler = MaskSpoiler(list(masks.values()), rng)
    ids = rng.permutation([id for id, mask in masks.items() if mask.any()])
    spoilt: dict[str, tuple[str, Mask]] = {}
    count = round(share * len(masks))
    for id in ids:
        if len(spoilt) == count:
            break
        kind = list(spoiler.kinds)[len(spoilt) % len(spoiler.kinds)]
        other = spoiler.kinds[kind](masks[id])
        if dice(masks[id], other) <= MAX_DICE:
            spoilt[str(id)] = kind, other
    return spoilt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    dataset = scan(arguments.data)
    labels = check(dataset).labels
    assert labels and labels.binary
    masks = {sample.id: sample.class_index(labels) == 1 for sample in dataset.samples}
    spoilt = spoil(masks, arguments.share, arguments.seed)
    for name in ("images", "masks"):
        (arguments.out / name).mkdir(parents=True)
    for sample in dataset.samples:
        stem = sample.id.replace("/", "-")
        mask = spoilt[sample.id][1] if sample.id in spoilt else masks[sample.id]
        shutil.copy(sample.image, arguments.out / "images" / f"{stem}{sample.image.suffix}")
        Image.fromarray(mask.astype(np.uint8) * 255).save(arguments.out / "masks" / f"{stem}.png")
    with (arguments.out / "spoilt.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "kind", "dice"])
        for id, (kind, mask) in sorted(spoilt.items()):
            writer.writerow([id.replace("/", "-"), kind, f"{dice(masks[id], mask):.4f}"])


if __name__ == "__main__":
    main()
