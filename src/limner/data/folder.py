"""A folder in any known layout as a Dataset of Samples.

Known are the ISIC challenge's layout (`*_Input` and `*_GroundTruth` folders) and `images/` beside `masks/`, paired by stem,
at the top or under train, val and test.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from limner.data.images import SUFFIXES
from limner.errors import LimnerError

Split = Literal["train", "val", "test"]
SPLIT_NAMES: dict[str, Split] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
}  # fmt: skip
IMAGE_FOLDERS = ("images", "image", "imgs")
MASK_FOLDERS = ("masks", "mask", "labels")
CLASS_FILES = ("classes.txt", "labels.txt")


@dataclass(frozen=True, slots=True)
class Sample:
    """One image and its mask; `id` is unique in the dataset and `split` is None where the layout has none."""

    id: str
    image: Path
    mask: Path
    split: Split | None


@dataclass(frozen=True, slots=True)
class Dataset:
    """The pairs of a folder in the order of their ids, and what could not be paired."""

    root: Path
    layout: str
    samples: tuple[Sample, ...]
    class_names: tuple[tuple[int, str], ...] = ()
    images_without_mask: tuple[Path, ...] = ()
    masks_without_image: tuple[Path, ...] = ()
    ambiguous: tuple[tuple[Path, Path], ...] = ()
    """Pairs of files in one folder that bear the same name but for the ending."""


def scan(root: Path | str) -> Dataset:
    """Recognise the layout of a folder and pair its images with its masks.

    Raises LimnerError where the folder does not exist or is in no known layout; unpaired files are in the Dataset.
    """
    root = Path(root)
    if not root.is_dir():
        raise LimnerError(f"{root} is {'a file' if root.exists() else 'not there'}. Give a folder that holds images and their masks.")
    isic = _isic_folders(root)
    pairs = isic or _plain_folders(root)
    if not pairs:
        raise LimnerError(
            f"{root} is in no layout that limner knows. Looked for: ISIC (ISIC2018_Task1-2_Training_Input/ beside ISIC2018_Task1_Training_GroundTruth/), "
            "and images/ beside masks/ with files of the same names (at the top or in train/, val/ and test/). "
            f"Found there: {', '.join(sorted(p.name for p in root.iterdir())[:8]) or 'nothing'}."
        )
    samples, without_mask, without_image, ambiguous = [], [], [], []
    for split, image_folder, mask_folder in pairs:
        images, twice = _by_key(image_folder)
        masks, mask_twice = _by_key(mask_folder)
        ambiguous += twice + mask_twice
        prefix = "" if split is None or isic else f"{split}/"
        samples += [Sample(prefix + key, images[key], masks[key], split) for key in images.keys() & masks.keys()]
        without_mask += [images[key] for key in images.keys() - masks.keys()]
        without_image += [masks[key] for key in masks.keys() - images.keys()]
    samples.sort(key=lambda sample: (sample.id, str(sample.image)))
    layout = "ISIC" if isic else "images/ and masks/" + (" under train, val and test" if pairs[0][0] else "")
    return Dataset(root, layout, tuple(samples), _class_names(root), tuple(sorted(without_mask)), tuple(sorted(without_image)), tuple(sorted(ambiguous)))


def image_files(folder: Path) -> list[Path]:
    """The image files below a folder, hidden ones left out, in the order of their paths."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def mask_key(name: str) -> str:
    """What an image and its mask have in common: the stem without a mask's ending."""
    return re.sub(r"_(segmentation|mask|label|seg)$", "", name, flags=re.IGNORECASE)


def _isic_folders(root: Path) -> list[tuple[Split | None, Path, Path]]:
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    truths = [path for path in folders if path.name.endswith("_GroundTruth")]
    pairs: list[tuple[Split | None, Path, Path]] = []
    for images in (path for path in folders if re.search(r"_(Input|Data)$", path.name)):
        split = _isic_split(images.name)
        pairs += [(split, images, truth) for truth in truths if _isic_split(truth.name) == split]
    if len(pairs) == 1:  # one folder holds everything: what it is called is no split
        pairs = [(None, pairs[0][1], pairs[0][2])]
    return pairs


def _isic_split(name: str) -> Split | None:
    return next((split for word, split in SPLIT_NAMES.items() if word in re.split(r"[_-]", name.lower())), None)


def _plain_folders(root: Path) -> list[tuple[Split | None, Path, Path]]:
    pairs: list[tuple[Split | None, Path, Path]] = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and path.name.lower() in SPLIT_NAMES):
        pairs += [(SPLIT_NAMES[folder.name.lower()], images, masks) for images, masks in _beside(folder)]
    return pairs or [(None, images, masks) for images, masks in _beside(root)]


def _beside(folder: Path) -> list[tuple[Path, Path]]:
    images = next((folder / name for name in IMAGE_FOLDERS if (folder / name).is_dir()), None)
    masks = next((folder / name for name in MASK_FOLDERS if (folder / name).is_dir()), None)
    return [(images, masks)] if images and masks else []


def _by_key(folder: Path) -> tuple[dict[str, Path], list[tuple[Path, Path]]]:
    found: dict[str, Path] = {}
    twice = []
    for path in image_files(folder):
        if path.stem.endswith("_superpixels"):  # ISIC ships these beside the photographs
            continue
        key = mask_key(path.relative_to(folder).with_suffix("").as_posix())
        if key in found:
            twice.append((found[key], path))
        found.setdefault(key, path)
    return found, twice


def _class_names(root: Path) -> tuple[tuple[int, str], ...]:
    path = next((root / name for name in CLASS_FILES if (root / name).is_file()), None)
    if path is None:
        return ()
    names = []
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip() and not line.startswith("#")]
        for number, line in enumerate(lines):
            match = re.fullmatch(r"(\d+)[\s,:;=]+(.+)", line)
            names.append((int(match[1]), match[2].strip()) if match else (number, line))
    except (OSError, UnicodeDecodeError) as error:
        raise LimnerError(f"{path} cannot be read: {error}. Each line holds a pixel value and a class name.") from error
    values = [value for value, _ in names]
    if len(set(values)) < len(values) or max(values, default=0) > 255:
        raise LimnerError(f"{path} gives a pixel value twice or one above 255. Each line holds a value from 0 to 255 and its class name.")
    return tuple(names)


assert set(SPLIT_NAMES.values()) == set(get_args(Split))
