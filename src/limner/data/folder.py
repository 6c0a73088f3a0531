"""A folder in any known layout as a Dataset of Samples.

Every layout is one function that takes the folder and gives what it found, or None where it is not this layout. `scan` asks
them in the order of `LAYOUTS`; a new layout is a new function and a line there.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from limner.data.images import STACK_SUFFIXES, SUFFIXES, page_count
from limner.data.samples import DrawnMask, Sample, Split
from limner.errors import LimnerError
from limner.labels import Labels, read_labels

SPLIT_NAMES: dict[str, Split] = {
    "train": "train", "training": "train", "tr": "train", "val": "val", "valid": "val", "validation": "val", "test": "test", "testing": "test", "ts": "test",
}  # fmt: skip
IMAGE_FOLDERS = ("images", "image", "imgs", "img")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "gt", "groundtruth")
MASK_ENDINGS = "segmentation|mask|masks|label|labels|seg|gt|groundtruth|annotation"
FOREIGN = frozenset({".gif", ".heic", ".heif", ".avif", ".jp2", ".psd", ".svg", ".npy", ".nii", ".gz", ".mha", ".dng", ".nef", ".cr2", ".raw", ".czi", ".svs"})
"""Endings of pictures that are not read."""
CLASS_FILES = ("classes.txt", "labels.txt", "class_dict.csv", "label_colors.txt")


@dataclass(frozen=True, slots=True)
class Dataset:
    """The pairs of a folder in the order of their ids, and what could not be paired."""

    root: Path
    layout: str
    samples: tuple[Sample, ...]
    class_names: tuple[tuple[int, str], ...] = ()
    stated: Labels | None = None
    images_without_mask: tuple[Path, ...] = ()
    masks_without_image: tuple[Path, ...] = ()
    ambiguous: tuple[tuple[Path, Path], ...] = ()
    """Pairs of files in one folder that bear the same name but for the ending."""
    foreign: tuple[Path, ...] = ()
    """Pictures in formats that are not read."""


@dataclass(slots=True)
class _Found:
    """What a layout's function gathers."""

    layout: str
    samples: list[Sample] = field(default_factory=list)
    class_names: tuple[tuple[int, str], ...] = ()
    images_without_mask: list[Path] = field(default_factory=list)
    masks_without_image: list[Path] = field(default_factory=list)
    ambiguous: list[tuple[Path, Path]] = field(default_factory=list)

    def pair(self, images: Iterable[Path], masks: Iterable[Path], below: tuple[Path, Path], split: Split | None, prefix: str = "", ending: str = "") -> None:
        """Pair files by what their paths below two folders have in common; `ending` is one that masks alone have."""
        by_key, twice = _by_key(images, below[0])
        masks_by_key, masks_twice = _by_key(masks, below[1], ending)
        self.ambiguous += twice + masks_twice
        for key in sorted(by_key.keys() & masks_by_key.keys()):
            self.samples.append(Sample(prefix + key, by_key[key], masks_by_key[key], split or split_of(Path(key).parts[:-1])))
        self.images_without_mask += [by_key[key] for key in by_key.keys() - masks_by_key.keys()]
        self.masks_without_image += [masks_by_key[key] for key in masks_by_key.keys() - by_key.keys()]


def scan(root: Path | str, group_pattern: str = "") -> Dataset:
    """Recognise the layout of a folder and pair its images with its masks.

    A labels.toml beside the images states the classes, a groups.csv (image, group) which samples belong together, such as those
    of one patient. `group_pattern` is a regular expression for the part of an id that such samples share. Raises LimnerError
    where the folder does not exist or is in no known layout; unpaired files are in the Dataset.
    """
    root = Path(root)
    if not root.is_dir():
        raise LimnerError(f"{root} is {'a file' if root.exists() else 'not there'}. Give a folder that holds images and their masks.")
    found = next((result for layout in LAYOUTS if (result := layout(root)) is not None), None)
    if found is None:
        looked = "\n".join(f"  {(layout.__doc__ or '').splitlines()[0]}" for layout in LAYOUTS)
        raise LimnerError(
            f"{root} is in no layout that limner knows. Looked for:\n{looked}\n"
            f"Found there: {', '.join(sorted(p.name for p in root.iterdir())[:8]) or 'nothing'}."
        )
    samples = sorted(_unstacked(found.samples), key=lambda sample: (sample.id, str(sample.image)))
    samples = _grouped(samples, _groups(root), group_pattern)
    stated = read_labels(root / "labels.toml") if (root / "labels.toml").is_file() else None
    unpaired = tuple(sorted(found.images_without_mask)), tuple(sorted(found.masks_without_image))
    return Dataset(
        root,
        found.layout,
        tuple(samples),
        found.class_names or _class_names(root),
        stated,
        *unpaired,
        tuple(sorted(found.ambiguous)),
        tuple(_files(root, FOREIGN)),
    )


def image_files(folder: Path) -> list[Path]:
    """The image files below a folder, hidden ones left out, in the order of their paths."""
    return _files(folder, SUFFIXES)


def mask_key(name: str) -> str:
    """What an image and its mask have in common: the stem without a mask's ending."""
    return re.sub(rf"[_-]({MASK_ENDINGS})$", "", name, flags=re.IGNORECASE)


def split_of(parts: Iterable[str]) -> Split | None:
    """The split that the names of folders tell, such as train/ or images_val/, if any does."""
    words = (word for part in parts for word in re.split(r"[^a-z]+", part.lower()))
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), None)


def _files(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes and path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _manifest(root: Path) -> _Found | None:
    """CSV: a table with the columns image and mask (and split, group), its paths relative to it"""
    for path in sorted(root.glob("*.csv")):
        rows = _rows(path)
        if not rows or not {"image", "mask"} <= rows[0].keys():
            continue
        found = _Found(f"CSV manifest {path.name}")
        for number, row in enumerate(rows, start=2):
            image, mask = root / row["image"], root / row["mask"]
            split = row.get("split", "").lower()
            if (split and split not in SPLIT_NAMES) or not row["image"] or not row["mask"]:
                cause = f"the split {split!r}" if split else "no image or no mask"
                raise LimnerError(f"{path}, line {number}, gives {cause}. A line holds an image, its mask and, if any, train, val or test.")
            id = Path(row["image"]).with_suffix("").as_posix()
            found.samples.append(Sample(id, image, mask, SPLIT_NAMES[split] if split else None, row.get("group") or None))
        return found
    return None


def _nnunet(root: Path) -> _Found | None:
    """nnU-Net: dataset.json with imagesTr/ and labelsTr/ (and imagesTs/ and labelsTs/)"""
    if not (root / "dataset.json").is_file() or not (root / "imagesTr").is_dir():
        return None
    found = _Found("nnU-Net raw")
    labels: dict[str, Any] = _json(root / "dataset.json").get("labels", {})
    try:
        found.class_names = tuple(sorted((int(value), "void" if name == "ignore" else name) for name, value in labels.items()))
    except (TypeError, ValueError):  # nnU-Net's first version has numbers as keys
        found.class_names = tuple(sorted((int(value), str(name)) for value, name in labels.items()))
    sides: tuple[tuple[str, Split | None], ...] = (("Tr", None), ("Ts", "test"))
    for ending, split in sides:
        images, masks = root / f"images{ending}", root / f"labels{ending}"
        if not (images.is_dir() and masks.is_dir()):
            continue
        files = image_files(images)
        others = [path for path in files if re.search(r"_(?!0000)\d{4}$", path.stem)]
        if others:
            raise LimnerError(f"{others[0]} holds a further channel of its case. One file for each case is read: join the channels into one RGB image.")
        found.pair(files, image_files(masks), (images, masks), split)
    if not any(sample.split for sample in found.samples):
        return found
    found.samples = [replace(sample, split=sample.split or "train") for sample in found.samples]
    return found


def _coco(root: Path) -> _Found | None:
    """COCO: a JSON of images, annotations and categories (at the top, in annotations/, or beside the images)"""
    tables = [(path, _json(path)) for path in sorted(root.rglob("*.json")) if b'"annotations"' in path.read_bytes()]
    tables = [(path, table) for path, table in tables if {"images", "annotations", "categories"} <= table.keys()]
    if not tables:
        return None
    found = _Found("COCO")
    names = sorted({(int(category["id"]), str(category["name"])) for _, table in tables for category in table["categories"]})
    index_of = {id: index for index, (id, _) in enumerate(names, start=1)}
    found.class_names = ((0, "background"), *((index, name) for index, (_, name) in enumerate(names, start=1)))
    files = {path.relative_to(root).as_posix(): path for path in image_files(root)}
    by_name: dict[str, list[Path]] = {}
    for file in files.values():
        by_name.setdefault(file.name, []).append(file)
    for path, table in tables:
        split = split_of([path.stem, *path.relative_to(root).parts[:-1]]) if len(tables) > 1 else None
        shapes: dict[int, list[tuple[float, int, Any]]] = {}
        for annotation in table["annotations"]:
            shape = (-float(annotation.get("area") or 0), index_of[annotation["category_id"]], annotation.get("segmentation") or [])
            shapes.setdefault(annotation["image_id"], []).append(shape)
        for image in table["images"]:
            name = str(image["file_name"])
            near = [file for file in by_name.get(Path(name).name, []) if split is None or split_of(file.relative_to(root).parts[:-1]) in {split, None}]
            file = next((f for f in (path.parent / name, root / name) if f.is_file()), near[0] if len(near) == 1 else path.parent / name)
            drawn = [[index, segmentation] for _, index, segmentation in sorted(shapes.get(image["id"], []), key=lambda shape: shape[0])]
            mask = DrawnMask(path, name, (int(image["height"]), int(image["width"])), json.dumps(drawn))
            found.samples.append(Sample((f"{split}/" if split else "") + Path(name).with_suffix("").as_posix(), file, mask, split))
    return found


def _voc(root: Path) -> _Found | None:
    """Pascal VOC: JPEGImages/ beside SegmentationClass/ (and ImageSets/Segmentation/train.txt, val.txt, test.txt)"""
    base = next((path.parent for path in [root / "SegmentationClass", *sorted(root.glob("**/SegmentationClass"))] if path.is_dir()), None)
    images = next((base / name for name in ("JPEGImages", *IMAGE_FOLDERS) if (base / name).is_dir()), None) if base else None
    if base is None or images is None:
        return None
    found = _Found("Pascal VOC")
    splits: dict[str, Split] = {}
    for path in sorted((base / "ImageSets" / "Segmentation").glob("*.txt")):
        if path.stem in SPLIT_NAMES:
            splits |= dict.fromkeys(path.read_text(encoding="utf-8").split(), SPLIT_NAMES[path.stem])
    masks = image_files(base / "SegmentationClass")
    named = {path.stem for path in masks}
    found.pair([path for path in image_files(images) if path.stem in named], masks, (images, base / "SegmentationClass"), None)
    if splits:
        found.samples = [replace(sample, split=splits.get(sample.id)) for sample in found.samples]
    return found


def _camvid(root: Path) -> _Found | None:
    """CamVid: train/ beside trainannot/ or train_labels/ (and the same for val and test)"""
    pairs = [
        (images, masks)
        for images in sorted(path for path in root.iterdir() if path.is_dir() and path.name.lower() in SPLIT_NAMES)
        for masks in (images.with_name(images.name + ending) for ending in ("annot", "_labels", "_masks", "labels"))
        if masks.is_dir()
    ]
    if not pairs:
        return None
    found = _Found("CamVid")
    for images, masks in pairs:
        split = split_of([images.name])
        found.pair(image_files(images), image_files(masks), (images, masks), split, f"{split}/", ending="_L")
    return found


def _isic(root: Path) -> _Found | None:
    """ISIC: ISIC2018_Task1-2_Training_Input/ beside ISIC2018_Task1_Training_GroundTruth/ (2016 to 2018)"""
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    truths = [path for path in folders if path.name.endswith("_GroundTruth")]
    inputs = [path for path in folders if re.search(r"_(Input|Data)$", path.name)]
    pairs = [(split_of([images.name]), images, truth) for images in inputs for truth in truths if split_of([truth.name]) == split_of([images.name])]
    if not pairs:
        return None
    found = _Found("ISIC")
    for split, images, truth in pairs:  # ISIC ships superpixels beside the photographs
        photographs = [path for path in image_files(images) if not path.stem.endswith("_superpixels")]
        found.pair(photographs, image_files(truth), (images, truth), split if len(pairs) > 1 else None)
    return found


def _beside(root: Path) -> _Found | None:
    """images/ beside masks/ with files of the same names (at any depth; train, val and test above or below)"""
    pairs = []
    for images in sorted(path for path in [root, *root.rglob("*")] if path.is_dir() and path.name.lower() in IMAGE_FOLDERS and path != root):
        siblings = {path.name.lower(): path for path in images.parent.iterdir() if path.is_dir()}
        masks = next((siblings[name] for name in MASK_FOLDERS if name in siblings), None)
        pairs += [(images, masks)] if masks else []
    if not pairs:
        return None
    splits = [split_of(images.relative_to(root).parts[:-1]) for images, _ in pairs]
    found = _Found("images/ and masks/" + (" under train, val and test" if any(splits) else ""))
    for (images, masks), split in zip(pairs, splits, strict=True):
        parent = images.parent.relative_to(root).as_posix()
        found.pair(image_files(images), image_files(masks), (images, masks), split, "" if parent == "." else f"{parent}/")
    return found


def _suffixes(root: Path) -> _Found | None:
    """x.jpg beside x_mask.png (or _segmentation, _label, _seg, _gt) in the same folder, at any depth"""
    files = image_files(root)
    masks = [path for path in files if mask_key(path.stem) != path.stem]
    taken = set(masks)
    keys = {path.parent / mask_key(path.stem) for path in masks}
    if not any(path.with_suffix("") in keys for path in files if path not in taken):
        return None
    found = _Found("name.jpg and name_mask.png")
    found.pair([path for path in files if path not in taken], masks, (root, root), None)
    return found


LAYOUTS = (_manifest, _nnunet, _coco, _voc, _camvid, _isic, _beside, _suffixes)


def _by_key(files: Iterable[Path], below: Path, ending: str = "") -> tuple[dict[str, Path], list[tuple[Path, Path]]]:
    found: dict[str, Path] = {}
    twice = []
    for path in files:
        key = re.sub(r"_0000$", "", mask_key(path.relative_to(below).with_suffix("").as_posix())).removesuffix(ending)
        if key in found:
            twice.append((found[key], path))
        found.setdefault(key, path)
    return found, twice


def _unstacked(samples: Iterable[Sample]) -> Iterator[Sample]:
    """Each image of a stack as a sample of its own; the images of one stack are one group."""
    for sample in samples:
        try:
            pages = page_count(sample.image) if sample.image.suffix.lower() in STACK_SUFFIXES else 1
        except LimnerError:  # a file that cannot be read is a finding, not the end of the scan
            pages = 1
        if pages == 1:
            yield sample
        for page in range(pages if pages > 1 else 0):
            yield replace(sample, id=f"{sample.id}#{page + 1}", group=sample.group or sample.id, page=page)


def _class_names(root: Path) -> tuple[tuple[int, str], ...]:
    """The pixel values and names of a class-name file: `name`, `7 name`, `#804080 name`, `128 64 128 name` or `name,128,64,128` on each line."""
    path = next((root / name for name in CLASS_FILES if (root / name).is_file()), None)
    if path is None:
        return ()
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise LimnerError(f"{path} cannot be read: {error}. Each line holds a pixel value and a class name.") from error
    lines = [line for line in lines if line and not re.match(r"#(?![0-9a-fA-F]{6}\b)|name\s*,\s*r\s*,", line)]
    names = [_class_line(number, line) for number, line in enumerate(lines)]
    values = [value for value, _ in names]
    if len(set(values)) < len(values) or max(values, default=0) > 0xFFFFFF:
        raise LimnerError(f"{path} gives a pixel value twice or one above 255. Each line holds a value from 0 to 255 and its class name.")
    return tuple(names)


def _class_line(number: int, line: str) -> tuple[int, str]:
    if match := re.fullmatch(r"#([0-9a-fA-F]{6})[\s,:;=]+(.+)", line):
        return int(match[1], 16), match[2].strip()
    if match := re.fullmatch(r"(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\D.*)", line):
        return int(match[1]) << 16 | int(match[2]) << 8 | int(match[3]), match[4].strip()
    if match := re.fullmatch(r"(.*\D)\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})", line):
        return int(match[2]) << 16 | int(match[3]) << 8 | int(match[4]), match[1].strip()
    if match := re.fullmatch(r"(\d+)[\s,:;=]+(.+)", line):
        return (int(match[1]) if int(match[1]) <= 255 else 1 << 24), match[2].strip()
    return number, line


def _groups(root: Path) -> dict[str, str]:
    path = root / "groups.csv"
    if not path.is_file():
        return {}
    rows = _rows(path)
    if rows and not {"image", "group"} <= rows[0].keys():
        raise LimnerError(f"{path} has no columns image and group. Each line holds an image's name and what it belongs to, such as a patient.")
    return {key: row["group"] for row in rows if row["group"] for key in (Path(row["image"]).stem, Path(row["image"]).with_suffix("").as_posix())}


def _grouped(samples: list[Sample], table: dict[str, str], pattern: str) -> list[Sample]:
    """The samples with their groups: of the table, of the pattern's first group or whole match, or of the layout."""
    try:
        matches = {sample.id: re.search(pattern, sample.id) if pattern else None for sample in samples}
    except re.error as error:
        raise LimnerError(f"data.group_pattern = {pattern!r} is no regular expression: {error}.") from error
    if pattern and samples and not any(matches.values()):
        raise LimnerError(f"data.group_pattern = {pattern!r} matches no name, such as {samples[0].id}. It must find the part that images of one group share.")
    by_name = {id: match[1] if match.re.groups else match[0] for id, match in matches.items() if match}
    return [replace(s, group=table.get(s.id) or table.get(s.image.stem) or by_name.get(s.id) or s.group) for s in samples]


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [{str(key).strip().lower(): (value or "").strip() for key, value in row.items() if key} for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LimnerError(f"{path} cannot be read: {error}. Give a table in UTF-8 with a line of column names.") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LimnerError(f"{path} cannot be read as JSON: {error}. Copy or export it again.") from error
    return content if isinstance(content, dict) else {}
