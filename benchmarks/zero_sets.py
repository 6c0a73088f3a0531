"""The data of zero_config.py: a fixed split of each set, and how its masks are read.

Nothing here needs limner, so that a peer with an environment of its own can read it too.
"""

import argparse
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from drawn_sets import DRAWN_SETS, draw
from PIL import Image

TEST_SHARES = {"isic2018": 0.15, "nuclei": 0.2, "thin": 0.2, "small": 0.2}
"""Share of the images that no contestant is given, drawn at random by a fixed seed."""
TEST_CHILDREN = re.compile(r"CHASE_(09|10)[LR]$")
"""The test images of vessels: both eyes of two children."""
IMAGE_FOLDERS = ("images", "ISIC2018_Task1-2_Training_Input")
MASK_FOLDERS = ("masks", "ISIC2018_Task1_Training_GroundTruth")
VOID_NAMES = {"void", "unlabelled", "unlabeled", "ignore"}
Pairs = Mapping[str, tuple[Path, Path]]
"""Image and mask by name, in the order of the names."""


@dataclass(frozen=True)
class Coding:
    """What the values of a set's masks mean.

    With two classes 0 is background, and any other value foreground. With more, a value is the
    index of its class, and pixels of the value `void` count nowhere.
    """

    classes: int = 2
    void: int | None = None

    @property
    def binary(self) -> bool:
        """Whether there are background and foreground alone."""
        return self.classes == 2

    def read(self, mask: Path) -> np.ndarray:
        """Read a mask as class indices (h, w), uint8."""
        with Image.open(mask) as file:
            values = np.asarray(file)
        assert values.ndim == 2, f"{mask} is not a mask of one channel"
        return (values > 0).astype(np.uint8) if self.binary else values.astype(np.uint8)

    def write(self, labels: np.ndarray, path: Path) -> None:
        """Write class indices (h, w) as the sets have them: 0 and 255, or the indices."""
        values = labels.astype(np.uint8)
        Image.fromarray(values * 255 if self.binary else values).save(path)


def contestant_arguments(description: str) -> argparse.Namespace:
    """What zero_config.py tells a contestant that runs in a process of its own."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("contestant")
    for name in ("train", "test", "masks"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--started", type=float, required=True)
    return parser.parse_args()


def read_coding(folder: Path) -> Coding:
    """The coding of a set, by its classes.txt; without one it is binary."""
    path = folder / "classes.txt"
    if not path.exists():
        return Coding()
    names = dict(line.split(maxsplit=1) for line in path.read_text().splitlines() if line.strip())
    void = [int(value) for value, name in names.items() if name.lower() in VOID_NAMES]
    return Coding(len(names) - len(void), void[0] if void else None)


def read_pairs(folder: Path) -> Pairs:
    """The images of a folder with their masks, in our own layout or in ISIC's."""
    images, masks = (
        next(folder / name for name in names if (folder / name).is_dir())
        for names in (IMAGE_FOLDERS, MASK_FOLDERS)
    )
    mask_of = {path.stem.removesuffix("_segmentation"): path for path in masks.glob("*.png")}
    return {
        path.stem: (path, mask_of[path.stem])
        for path in sorted(images.iterdir())
        if path.suffix in {".png", ".jpg"}
    }


def draw_test_names(set_name: str, names: Sequence[str]) -> set[str]:
    """The names of the test images; they depend on the names alone, not on their order."""
    if set_name == "vessels":
        return {name for name in names if TEST_CHILDREN.match(name)}
    order = np.random.default_rng(0).permutation(len(names))
    count = round(TEST_SHARES[set_name] * len(names))
    ordered = sorted(names)
    return {ordered[index] for index in order[:count]}


def prepare_set(name: str, source: Path | None, work: Path) -> Path:
    """Copy a set into `work`/`name`/train and test, unless that is there, and give its folder.

    Args:
        name: One of isic2018, nuclei, camvid, vessels, thin and small.
        source: The folder of the set; None for those that are drawn.
        work: The folder of all sets.
    """
    target = work / name
    if target.exists():
        return target
    partial = work / f"{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    if source is None:
        assert name in DRAWN_SETS, f"{name} is not drawn: give its folder"
        source = partial / "drawn"
        draw(name, source)
    sides = split_pairs(name, source)
    for side, pairs in sides.items():
        copy_pairs(pairs, partial / side)
        if (source / "classes.txt").exists():
            shutil.copyfile(source / "classes.txt", partial / side / "classes.txt")
    (partial / "split.json").write_text(
        json.dumps({side: list(pairs) for side, pairs in sides.items()}, indent=1)
    )
    # A set is there whole or not at all
    partial.rename(target)
    return target


def split_pairs(name: str, source: Path) -> dict[str, Pairs]:
    """The pairs of "train", which contestants train and validate on, and of "test"."""
    if name == "camvid":
        return {"train": read_pairs(source / "train"), "test": read_pairs(source / "val")}
    pairs = read_pairs(source)
    test = draw_test_names(name, list(pairs))
    assert 0 < len(test) < len(pairs), (
        f"{name}: {len(test)} of {len(pairs)} images are for the test"
    )
    return {
        "train": {key: pair for key, pair in pairs.items() if key not in test},
        "test": {key: pair for key, pair in pairs.items() if key in test},
    }


def copy_pairs(pairs: Pairs, folder: Path) -> None:
    """Copy images and masks into images/ and masks/, the mask under its image's name."""
    for side in ("images", "masks"):
        (folder / side).mkdir(parents=True)
    for name, (image, mask) in pairs.items():
        shutil.copyfile(image, folder / "images" / f"{name}{image.suffix}")
        shutil.copyfile(mask, folder / "masks" / f"{name}.png")
