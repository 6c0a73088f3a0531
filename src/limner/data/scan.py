"""A folder in any known layout as a Dataset of Samples.

Every layout is one function that takes the folder and gives what it found, or None where it is not
this layout. `scan` asks them in the order of `LAYOUTS`; a new layout is a new function and a line
there.
"""

import csv
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from limner.data.images import IMAGE_SUFFIXES, STACK_SUFFIXES, page_count
from limner.data.layouts.coco import annotated_images, category_names
from limner.data.sample import Sample, Split
from limner.errors import LimnerError
from limner.labels import Labels, load_labels

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "tr": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
    "ts": "test",
}
IMAGE_FOLDERS = ("images", "image", "imgs", "img")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "gt", "groundtruth")
MASK_ENDINGS = "segmentation|mask|masks|label|labels|seg|gt|groundtruth|annotation"
UNSUPPORTED_SUFFIXES = frozenset(
    {
        ".gif",
        ".heic",
        ".heif",
        ".avif",
        ".jp2",
        ".psd",
        ".svg",
        ".npy",
        ".nii",
        ".gz",
        ".mha",
        ".dng",
        ".nef",
        ".cr2",
        ".raw",
        ".czi",
        ".svs",
    }
    | {".ppm", ".pgm", ".pbm", ".tga", ".jpe", ".j2k", ".jxl", ".exr", ".npz", ".nrrd"}
)
"""Endings of pictures that are not read."""
CLASS_FILES = ("classes.txt", "labels.txt", "class_dict.csv", "label_colors.txt")


@dataclass(frozen=True, slots=True)
class Dataset:
    """The pairs of a folder in the order of their ids, and what could not be paired."""

    root: Path
    layout: str
    samples: tuple[Sample, ...]
    class_names: tuple[tuple[int, str], ...] = ()
    stated_labels: Labels | None = None
    images_without_mask: tuple[Path, ...] = ()
    masks_without_image: tuple[Path, ...] = ()
    same_name: tuple[tuple[Path, Path], ...] = ()
    """Pairs of files in one folder that bear the same name but for the ending."""
    unsupported: tuple[Path, ...] = ()
    """Pictures in formats that are not read."""
    unused: tuple[Path, ...] = ()
    """Images that are in no pair and in no other of these lists."""
    page_mismatches: tuple[tuple[Sample, int], ...] = ()
    """Stacks whose mask has another number of images, and that number."""


@dataclass(slots=True)
class LayoutMatch:
    """What a layout's function gathers."""

    layout: str
    samples: list[Sample] = field(default_factory=list)
    class_names: tuple[tuple[int, str], ...] = ()
    images_without_mask: list[Path] = field(default_factory=list)
    masks_without_image: list[Path] = field(default_factory=list)
    ambiguous: list[tuple[Path, Path]] = field(default_factory=list)
    set_aside: list[Path] = field(default_factory=list)
    """Images that the layout is known to hold beside its pairs."""

    def pair(
        self,
        images: Iterable[Path],
        masks: Iterable[Path],
        below: tuple[Path, Path],
        split: Split | None,
        prefix: str = "",
        *,
        ending: str = "",
        channel: str = "",
    ) -> None:
        """Pair files by what their paths below two folders have in common; masks alone may have
        `ending`, images alone `channel`.
        """
        by_key, twice = _by_key(images, below[0], channel)
        masks_by_key, masks_twice = _by_key(masks, below[1], ending)
        self.ambiguous += twice + masks_twice
        for key in sorted(by_key.keys() & masks_by_key.keys()):
            self.samples.append(
                Sample(
                    prefix + key,
                    by_key[key],
                    masks_by_key[key],
                    split or split_from_names(Path(key).parts[:-1]),
                )
            )
        self.images_without_mask += [by_key[key] for key in by_key.keys() - masks_by_key.keys()]
        self.masks_without_image += [
            masks_by_key[key] for key in masks_by_key.keys() - by_key.keys()
        ]


def scan(root: Path | str, group_pattern: str = "") -> Dataset:
    """Recognise the layout of a folder and pair its images with its masks.

    A labels.toml beside the images states the classes, a groups.csv (image, group) which samples
    belong together, such as those of one patient. `group_pattern` is a regular expression for the
    part of an id that such samples share. Raises LimnerError where the folder does not exist or is
    in no known layout; unpaired files are in the Dataset.
    """
    root = Path(root)
    if not root.is_dir():
        raise LimnerError(
            f"{root} is {'a file' if root.exists() else 'not there'}. Give a folder that "
            "holds images and their masks."
        )
    found = next((result for layout in LAYOUTS if (result := layout(root)) is not None), None)
    if found is None:
        looked = "\n".join(f"  {(layout.__doc__ or '').splitlines()[0]}" for layout in LAYOUTS)
        raise LimnerError(
            f"{root} is in no layout that limner knows. Looked for:\n{looked}\n"
            f"Found there: {', '.join(sorted(p.name for p in root.iterdir())[:8]) or 'nothing'}."
        )
    uneven = tuple(
        (sample, pages)
        for sample in found.samples
        if (pages := _mask_pages(sample)) != _pages(sample.image)
    )
    if any(
        sample.split
        for sample in found.samples
        # Beside official splits all else is to train on
    ):
        found.samples = [replace(sample, split=sample.split or "train") for sample in found.samples]
    samples = sorted(_unstacked(found.samples), key=lambda sample: (sample.id, str(sample.image)))
    samples = _grouped(samples, _groups(root, samples), group_pattern)
    known = {path for s in samples for path in (s.image, s.mask) if isinstance(path, Path)} | {
        *found.images_without_mask,
        *found.masks_without_image,
    }
    known |= {path for pair in found.ambiguous for path in pair} | {*found.set_aside}
    return Dataset(
        root,
        found.layout,
        tuple(samples),
        found.class_names or _class_names(root),
        load_labels(root / "labels.toml") if (root / "labels.toml").is_file() else None,
        tuple(sorted(found.images_without_mask)),
        tuple(sorted(found.masks_without_image)),
        tuple(sorted(found.ambiguous)),
        tuple(_files(root, UNSUPPORTED_SUFFIXES)),
        tuple(path for path in find_images(root) if path not in known),
        uneven,
    )


def find_images(folder: Path) -> list[Path]:
    """The image files below a folder, hidden ones left out, in the order of their paths."""
    return _files(folder, IMAGE_SUFFIXES)


def pair_key(name: str) -> str:
    """What an image and its mask have in common: the stem without a mask's ending."""
    return re.sub(rf"[_-]({MASK_ENDINGS})$", "", name, flags=re.IGNORECASE)


def split_from_names(parts: Iterable[str]) -> Split | None:
    """The split that the names of folders tell, such as train/ or images_val/, if any does."""
    words = (word for part in parts for word in re.split(r"[^a-z]+", part.lower()))
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), None)


def _files(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    """Files with these endings, through links to folders too, each folder once; those that cannot
    be followed are missing files, and stay in.
    """
    found: list[Path] = []
    seen = {folder.resolve()}
    for where, folders, names in os.walk(folder, followlinks=True):
        real = {
            name: Path(where, name).resolve()
            for name in sorted(folders)
            if not name.startswith(".")
        }
        folders[:] = [name for name, path in real.items() if path not in seen]
        seen |= set(real.values())
        found += [
            Path(where, name)
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in suffixes
        ]
    return sorted(found)


def _children(root: Path) -> set[Path]:
    return {path for path in root.iterdir() if path.is_dir()}


def _manifest(root: Path) -> LayoutMatch | None:
    """CSV: one or more tables with the columns image and mask (and split, group, id), their paths
    relative to them
    """
    found = LayoutMatch("CSV manifest")
    for path in sorted(path for path in root.iterdir() if path.suffix.lower() == ".csv"):
        rows = read_table(path, strict=False)
        if not rows or not {"image", "mask"} <= rows[0].keys():
            continue
        found.layout += f" {path.name}"
        of_file = split_from_names([path.stem])
        for number, row in enumerate(rows, start=2):
            split = row.get("split", "").lower()
            if (
                (split and split not in SPLIT_NAMES)
                or not Path(row["image"]).name
                or not Path(row["mask"]).name
            ):
                cause = (
                    f"the split {split!r}"
                    if split and split not in SPLIT_NAMES
                    else "no image or no mask"
                )
                raise LimnerError(
                    f"{path}, line {number}, gives {cause}. A line holds an image, its mask "
                    "and, if any, train, val or test."
                )
            id = row.get("id") or Path(row["image"]).with_suffix("").as_posix()
            side = SPLIT_NAMES[split] if split else of_file
            found.samples.append(
                Sample(id, root / row["image"], root / row["mask"], side, row.get("group") or None)
            )
    return found if found.samples else None


def _nnunet(root: Path) -> LayoutMatch | None:
    """nnU-Net: dataset.json with imagesTr/ and labelsTr/ (and imagesTs/ and labelsTs/)"""
    if not (root / "dataset.json").is_file() or not (root / "imagesTr").is_dir():
        return None
    found = LayoutMatch("nnU-Net raw")
    found.class_names = _nnunet_classes(root / "dataset.json")
    sides: tuple[tuple[str, Split | None], ...] = (("Tr", None), ("Ts", "test"))
    for ending, split in sides:
        images, masks = root / f"images{ending}", root / f"labels{ending}"
        if not (images.is_dir() and masks.is_dir()):
            continue
        files = find_images(images)
        others = [path for path in files if re.search(r"_(?!0000)\d{4}$", path.stem)]
        if others:
            raise LimnerError(
                f"{others[0]} holds a further channel of its case. One file for each case is "
                "read: join the channels into one image, such as a TIFF."
            )
        found.pair(files, find_images(masks), (images, masks), split, channel="_0000")
    return found


def _nnunet_classes(path: Path) -> tuple[tuple[int, str], ...]:
    """Values and names; nnU-Net's first version has numbers as keys. Raises LimnerError for
    regions, which overlap.
    """
    labels = _json(path).get("labels")
    if not isinstance(labels, dict) or any(isinstance(value, list) for value in labels.values()):
        raise LimnerError(
            f"{path} gives no class names with one value each (labels is {labels!r}). Regions "
            "of several values are not read: list the classes."
        )
    try:
        pairs = [(int(value), str(name)) for name, value in labels.items()]
    except (TypeError, ValueError):
        pairs = [(int(value), str(name)) for value, name in labels.items() if str(value).isdigit()]
    return tuple(sorted((value, "void" if name == "ignore" else name) for value, name in pairs))


def _coco(root: Path) -> LayoutMatch | None:
    """COCO: a JSON of images, annotations and categories (at the top, in annotations/, or beside
    the images)
    """
    tables = {
        path: table
        for path in sorted(root.rglob("*.json"))
        if path.is_file()
        and {"images", "annotations", "categories"} <= (table := _json(path)).keys()
    }
    if not tables:
        return None
    found = LayoutMatch("COCO", class_names=category_names(tables))
    by_name: dict[str, list[Path]] = {}
    for file in find_images(root):
        by_name.setdefault(file.name, []).append(file)
    for path, table in tables.items():
        split = (
            split_from_names([path.stem, *path.relative_to(root).parts[:-1]])
            if len(tables) > 1
            else None
        )
        for item in annotated_images(path, table, found.class_names):
            named = [
                file
                for file in by_name.get(Path(item.name).name, [])
                if file.as_posix().endswith(f"/{item.name}")
            ]
            near = [
                file
                for file in named
                if split is None
                or split_from_names(file.relative_to(root).parts[:-1]) in {split, None}
            ]
            file = next(
                (f for f in (path.parent / item.name, root / item.name) if f.is_file()),
                near[0] if len(near) == 1 else path.parent / item.name,
            )
            found.samples.append(
                Sample(
                    (f"{split}/" if split else "") + Path(item.name).with_suffix("").as_posix(),
                    file,
                    item.mask,
                    split,
                )
            )
    return found


def _voc(root: Path) -> LayoutMatch | None:
    """Pascal VOC: JPEGImages/ beside SegmentationClass/ (and ImageSets/Segmentation/train.txt,
    val.txt, test.txt)
    """
    base = next(
        (
            path.parent
            for path in [root / "SegmentationClass", *sorted(root.glob("**/SegmentationClass"))]
            if path.is_dir()
        ),
        None,
    )
    images = (
        next(
            (base / name for name in ("JPEGImages", *IMAGE_FOLDERS) if (base / name).is_dir()), None
        )
        if base
        else None
    )
    if base is None or images is None:
        return None
    found = LayoutMatch("Pascal VOC")
    sides: dict[str, Split] = {}
    lists = {
        path: SPLIT_NAMES.get(path.stem)
        for path in sorted((base / "ImageSets" / "Segmentation").glob("*.txt"))
    }
    if "train" not in lists.values():
        lists = dict(
            sorted(
                (lists | {path: "train" for path in lists if path.stem == "trainval"}).items(),
                key=lambda one: one[0].stem == "trainval",
            )
        )
    for path, split in lists.items():
        if split is not None:
            for name in _lines(path):
                listed = (
                    Path(name.split()[0]).name
                    if name.split()[0].endswith(tuple(IMAGE_SUFFIXES))
                    else Path(name).name
                )
                stem = (
                    Path(listed).stem if Path(listed).suffix.lower() in IMAGE_SUFFIXES else listed
                )
                if (
                    sides.setdefault(stem, split) != split and path.stem != "trainval"
                    # Of which the validation's are a part
                ):
                    raise LimnerError(
                        f"{path} lists {name}, which another list of that folder holds as "
                        "well. Each image is in one split."
                    )
    masks = find_images(base / "SegmentationClass")
    named = {path.stem for path in masks} | sides.keys()
    found.pair(
        [path for path in find_images(images) if path.stem in named],
        masks,
        (images, base / "SegmentationClass"),
        None,
    )
    found.set_aside = [
        path
        for path in find_images(images)
        if path.stem not in named
        # Most of VOC's images have boxes alone
    ]
    if sides:
        if gone := sorted(sides.keys() - {path.stem for path in (*masks, *find_images(images))}):
            raise LimnerError(
                f"the lists in {base / 'ImageSets' / 'Segmentation'} name {len(gone)} images that are not there, such as {gone[0]}. "
                "Fetch them, or mend the lists."
            )
        unlisted = [sample for sample in found.samples if sample.id not in sides]
        if len(unlisted) == len(found.samples) and found.samples:
            raise LimnerError(
                f"the lists in {base / 'ImageSets' / 'Segmentation'} name no image that is "
                f"there, such as {found.samples[0].id}. Mend the lists."
            )
        found.samples = [
            replace(sample, split=sides[sample.id])
            for sample in found.samples
            if sample.id in sides
            # What no list names is unused
        ]
    return found


def _camvid(root: Path) -> LayoutMatch | None:
    """CamVid: train/ beside trainannot/ or train_labels/ (and the same for val and test)"""
    pairs = [
        (images, masks)
        for images in sorted(
            path for path in root.iterdir() if path.is_dir() and path.name.lower() in SPLIT_NAMES
        )
        for masks in (
            images.with_name(images.name + ending)
            for ending in ("annot", "_labels", "_masks", "labels")
        )
        if masks.is_dir()
    ]
    if not pairs:
        return None
    found = LayoutMatch("CamVid")
    for images, masks in pairs:
        split = split_from_names([images.name])
        found.pair(
            find_images(images),
            find_images(masks),
            (images, masks),
            split,
            f"{split}/",
            ending="_L",
        )
    return found


def _isic(root: Path) -> LayoutMatch | None:
    """ISIC: ISIC2018_Task1-2_Training_Input/ beside ISIC2018_Task1_Training_GroundTruth/ (2016 to
    2018)
    """
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    truths = [path for path in folders if path.name.endswith("_GroundTruth")]
    inputs = [path for path in folders if re.search(r"_(Input|Data)$", path.name)]
    pairs = [
        (split_from_names([images.name]), images, truth)
        for images in inputs
        for truth in truths
        if split_from_names([truth.name]) == split_from_names([images.name])
    ]
    if not pairs:
        return None
    found = LayoutMatch("ISIC")
    for split, images, truth in pairs:
        # ISIC ships superpixels beside the photographs
        photographs = [
            path for path in find_images(images) if not path.stem.endswith("_superpixels")
        ]
        found.set_aside += [
            path for path in find_images(images) if path.stem.endswith("_superpixels")
        ]
        found.pair(
            photographs, find_images(truth), (images, truth), split if len(pairs) > 1 else None
        )
    return found


def _beside(root: Path) -> LayoutMatch | None:
    """images/ beside masks/ with files of the same names (at any depth; train, val and test above
    or below)
    """
    pairs = []
    for images in sorted(
        {
            path.parents[up]
            for path in find_images(root)
            for up in range(len(path.relative_to(root).parts) - 1)
        }
        | _children(root)
    ):
        if images.name.lower() not in IMAGE_FOLDERS:
            continue
        siblings = {path.name.lower(): path for path in images.parent.iterdir() if path.is_dir()}
        masks = next((siblings[name] for name in MASK_FOLDERS if name in siblings), None)
        pairs += [(images, masks)] if masks else []
    if not pairs:
        return None
    splits = [split_from_names(images.relative_to(root).parts[:-1]) for images, _ in pairs]
    found = LayoutMatch(
        "images/ and masks/" + (" under train, val and test" if any(splits) else "")
    )
    for (images, masks), split in zip(pairs, splits, strict=True):
        parent = images.parent.relative_to(root).as_posix()
        found.pair(
            find_images(images),
            find_images(masks),
            (images, masks),
            split,
            "" if parent == "." else f"{parent}/",
        )
    return found


def _suffixes(root: Path) -> LayoutMatch | None:
    """x.jpg beside x_mask.png (or _segmentation, _label, _seg, _gt) in the same folder, at any
    depth
    """
    files = find_images(root)
    masks = [path for path in files if pair_key(path.stem) != path.stem]
    taken = set(masks)
    keys = {path.parent / pair_key(path.stem) for path in masks}
    if not any(path.with_suffix("") in keys for path in files if path not in taken):
        return None
    found = LayoutMatch("name.jpg and name_mask.png")
    found.pair([path for path in files if path not in taken], masks, (root, root), None)
    return found


LAYOUTS = (_manifest, _nnunet, _coco, _voc, _camvid, _isic, _beside, _suffixes)


def _by_key(
    files: Iterable[Path], below: Path, ending: str = ""
) -> tuple[dict[str, Path], list[tuple[Path, Path]]]:
    found: dict[str, Path] = {}
    twice = []
    for path in files:
        key = pair_key(path.relative_to(below).with_suffix("").as_posix()).removesuffix(ending)
        if key in found:
            twice.append((found[key], path))
        found.setdefault(key, path)
    return found, twice


def _pages(path: Path) -> int:
    """How many images a file holds; 1 where it cannot be read, which is a finding and not the end
    of the scan.
    """
    try:
        return page_count(path) if path.suffix.lower() in STACK_SUFFIXES else 1
    except LimnerError:
        return 1


def _mask_pages(sample: Sample) -> int:
    return _pages(sample.mask) if isinstance(sample.mask, Path) else 1


def _unstacked(samples: Iterable[Sample]) -> Iterator[Sample]:
    """Each image of a stack as a sample of its own; the images of one stack are one group."""
    for sample in samples:
        pages = _pages(sample.image)
        if pages == 1:
            yield sample
        for page in range(min(pages, _mask_pages(sample)) if pages > 1 else 0):
            yield replace(
                sample, id=f"{sample.id}#{page + 1}", group=sample.group or sample.id, page=page
            )


def _class_names(root: Path) -> tuple[tuple[int, str], ...]:
    """The pixel values and names of a class-name file: `name`, `7 name`, `#804080 name`, `128 64
    128 name` or `name,128,64,128` on each line.
    """
    path = next((root / name for name in CLASS_FILES if (root / name).is_file()), None)
    if path is None:
        return ()
    lines = _lines(path)
    lines = [
        line
        for line in lines
        if not re.match(r"#(?![0-9a-fA-F]{6}\b)|name\s*,\s*r\s*,", line) and line != "__ignore__"
    ]
    if all(re.fullmatch(r"[^\d,;#]+[\s:=]+\d+", line) for line in lines) and len(
        {re.split(r"[\s:=]+", line)[0] for line in lines}
    ) == len(lines):
        lines = [
            " ".join(reversed(re.split(r"[\s:=]+(?=\d+$)", line)))
            for line in lines
            # The name first and then its value
        ]
    names = [_class_line(number, line) for number, line in enumerate(lines)]
    values = [value for value, _ in names]
    if len(set(values)) < len(values) or max(values, default=0) > 0xFFFFFF:
        raise LimnerError(
            f"{path} gives a pixel value twice, or a colour above ffffff. Each line holds a "
            "value and its class name."
        )
    return tuple(names)


def _class_line(number: int, line: str) -> tuple[int, str]:
    if match := re.fullmatch(r"#([0-9a-fA-F]{6})[\s,:;=]+(.+)", line):
        return int(match[1], 16), match[2].strip()
    if match := re.fullmatch(r"(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\D.*)", line):
        return int(match[1]) << 16 | int(match[2]) << 8 | int(match[3]), match[4].strip()
    if match := re.fullmatch(r"(.*\D)\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})", line):
        return int(match[2]) << 16 | int(match[3]) << 8 | int(match[4]), match[1].strip()
    if match := re.fullmatch(r"(\d+)[\s,:;=]+(.+)", line):
        return int(match[1]), match[2].strip()
    return number, line


def _groups(root: Path, samples: Sequence[Sample]) -> dict[str, str]:
    """The group of each sample id that groups.csv names: by path, by id, or by a name that one file
    alone bears. Raises LimnerError where it does not fit.
    """
    path = root / "groups.csv"
    if not path.is_file():
        return {}
    rows = read_table(path)
    if rows and not {"image", "group"} <= rows[0].keys():
        raise LimnerError(
            f"{path} has no columns image and group. Each line holds an image's name and what "
            "it belongs to, such as a patient."
        )
    ids = ids_by_name(root, samples)
    stacks = {sample.id: sample.image for sample in samples}
    groups: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        found = ids.get(row["image"], set())
        if row["group"] and (not found or len({stacks[id] for id in found}) > 1):
            cause = "no image bears" if not found else "several images bear"
            raise LimnerError(
                f"{path}, line {number}: {cause} the name {row['image']!r}. Give its path in "
                f"the dataset, such as {samples[0].id}."
            )
        for id in found if row["group"] else ():
            if groups.setdefault(id, row["group"]) != row["group"]:
                raise LimnerError(
                    f"{path}, line {number}: {row['image']} is in the groups {groups[id]} and "
                    f"{row['group']}. Each image is in one group."
                )
    return groups


def ids_by_name(root: Path, samples: Sequence[Sample]) -> dict[str, set[str]]:
    """The ids that a table may mean by a name: by path, by id, or by a file's name, with or without
    its ending.
    """
    ids: dict[str, set[str]] = {}
    for sample in samples:
        spelled = (
            sample.image.relative_to(root).as_posix()
            if sample.image.is_relative_to(root)
            else sample.image.as_posix()
        )
        stack = sample.id.partition("#")[0]
        for name in {
            spelled,
            spelled.rpartition(".")[0],
            sample.id,
            stack,
            sample.image.name,
            sample.image.stem,
        }:
            ids.setdefault(name, set()).add(sample.id)
    return ids


def _grouped(samples: list[Sample], table: dict[str, str], pattern: str) -> list[Sample]:
    """The samples with their groups: of the table, of the pattern's first group or whole match, or
    of the layout.
    """
    try:
        matches = {
            s.id: re.search(pattern, s.id.partition("#")[0] if s.page or s.group else s.id)
            if pattern
            else None
            for s in samples
        }
    except re.error as error:
        raise LimnerError(
            f"data.group_pattern = {pattern!r} is no regular expression: {error}."
        ) from error
    if pattern and samples and not any(matches.values()):
        raise LimnerError(
            f"data.group_pattern = {pattern!r} matches no name, such as {samples[0].id}. It "
            "must find the part that images of one group share."
        )
    by_name = {
        id: match[1] if match.re.groups else match[0] for id, match in matches.items() if match
    }
    return [replace(s, group=table.get(s.id) or by_name.get(s.id) or s.group) for s in samples]


def read_table(
    path: Path, *, strict: bool = True, as_spelled: bool = False
) -> list[dict[str, str]]:
    """The lines of a table by its column names (in lower case unless `as_spelled`), separated by
    commas, semicolons or tabs.

    Raises LimnerError, or gives none where not strict.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            head = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=head.count)
            rows = csv.DictReader(file, delimiter=delimiter)
            spell = str.strip if as_spelled else lambda key: key.strip().lower()
            return [
                {spell(str(key)): (value or "").strip() for key, value in row.items() if key}
                for row in rows
            ]
    except (OSError, UnicodeDecodeError, csv.Error, AttributeError) as error:
        if not strict:
            return []
        raise LimnerError(
            f"{path} cannot be read: {error}. Give a table in UTF-8 with a line of column names."
        ) from error


def _lines(path: Path) -> list[str]:
    """The lines of a text that hold anything. Raises LimnerError where it is no UTF-8."""
    try:
        return [
            line.strip()
            for line in path.read_text(encoding="utf-8-sig").splitlines()
            if line.strip()
        ]
    except (OSError, UnicodeDecodeError) as error:
        raise LimnerError(f"{path} cannot be read: {error}. Save it as UTF-8.") from error


def _json(path: Path) -> dict[str, Any]:
    """What a JSON file holds; nothing where it is no JSON object, as files of other programs may
    be.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
