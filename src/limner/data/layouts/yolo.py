"""YOLO's segmentation sets: a text for each image, with a polygon of each object in a line."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from limner.data.annotated_images import AnnotatedImage, AnnotatedSet, sample_id
from limner.data.annotation_tools import YOLO, require_one_tool
from limner.data.class_names import read_class_names
from limner.data.data_yaml import DataYaml, read_data_yaml
from limner.data.findings import Finding
from limner.data.folder_listing import FolderListing
from limner.data.layout_match import LayoutMatch
from limner.data.named_files import portable_path
from limner.data.sample import Split
from limner.data.split_names import splits_of
from limner.data.tables import read_lines
from limner.errors import LimnerError
from limner.plurals import count_noun

IMAGES, LABELS = "images", "labels"
BOX_NUMBERS = 5
LOOKED_AT = 50
"""Label files that are opened to tell whether they hold polygons."""
_LINE = re.compile(r"\d+(\s+[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _LabelFiles:
    """Images with their label files, and those that lack the other."""

    pairs: Mapping[Path, Path]
    without_object: Sequence[Path]
    """Images without a file, in a folder that has files of others."""
    without_image: Sequence[Path]


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """YOLO: images/x.jpg with labels/x.txt, or x.txt beside x.jpg, of polygons (and data.yaml)"""
    labels = _label_files(listing)
    files = list(labels.pairs.values())
    if not _hold_polygons(files):
        return None
    require_one_tool(listing, YOLO, files)
    config = read_data_yaml(listing.root)
    names = config.names if config else [name for _, name in read_class_names(listing.root)]
    stated_in = str(config.file) if config else "the class-name file"
    stated, shared = _stated_splits(listing.root, config)
    splits = _splits(listing, stated, [*labels.pairs, *labels.without_object])
    images = [
        AnnotatedImage(
            sample_id(image, listing.root),
            image,
            file or image.with_suffix(".txt"),
            None,
            list(_objects(file, names, stated_in)) if file else [],
            splits[image],
        )
        for image, file in (*labels.pairs.items(), *((i, None) for i in labels.without_object))
    ]
    match = AnnotatedSet(
        tool=YOLO,
        files=files,
        images=images,
        stated=names,
        stated_in=stated_in,
        findings=tuple(_findings(listing.root, labels.without_object, config, shared)),
    ).to_match(listing)
    return replace(match, masks_without_image=tuple(labels.without_image))


def _label_files(listing: FolderListing) -> _LabelFiles:
    """Pair images with the texts that YOLO looks for: the last images/ of a path is labels/."""
    texts = set(listing.files({".txt"}))
    folders = {path.parent for path in texts}
    pairs: dict[Path, Path] = {}
    without_object = list[Path]()
    for image in listing.images():
        candidates = [path for path in _label_paths(image) if path.parent in folders]
        file = next((path for path in candidates if path in texts), None)
        if file:
            pairs[image] = file
        elif candidates and LABELS in candidates[0].parts:
            without_object.append(image)
    used = {path.parent for path in pairs.values()}
    alone = sorted(path for path in texts - set(pairs.values()) if path.parent in used)
    return _LabelFiles(
        pairs, without_object, [path for path in alone if path.name != "classes.txt"]
    )


def _label_paths(image: Path) -> Iterator[Path]:
    parts = list(image.with_suffix(".txt").parts)
    if IMAGES in parts[:-1]:
        last = len(parts) - 1 - parts[::-1].index(IMAGES)
        yield Path(*parts[:last], LABELS, *parts[last + 1 :])
    yield image.with_suffix(".txt")


def _hold_polygons(files: Sequence[Path]) -> bool:
    """Whether the first files with a line hold class numbers and polygons."""
    polygons = 0
    for path in files[:LOOKED_AT]:
        lines = path.read_text("utf-8", errors="replace").splitlines()
        filled = [line.strip() for line in lines if line.strip()]
        if not all(_LINE.fullmatch(line) for line in filled):
            return False
        polygons += sum(len(line.split()) > BOX_NUMBERS for line in filled)
    return polygons > 0


def _objects(file: Path, names: Sequence[str], stated_in: str) -> Iterator[tuple[str, list[float]]]:
    """The class and the polygon of each line.

    Raises LimnerError for a line that is none, and for a number without a name.
    """
    for number, line in enumerate(read_lines(file), start=1):
        words = line.split()
        if not _LINE.fullmatch(line) or len(words) % 2 == 0 or len(words) <= BOX_NUMBERS:
            what = (
                "a box, which has no outline"
                if len(words) == BOX_NUMBERS
                else f"no class number with pairs of x and y ({line[:40]!r})"
            )
            raise LimnerError(
                f"{file}, object {number}, is {what}. Each line holds a class number and three "
                "points or more: export polygons."
            )
        index = int(words[0])
        if names and index >= len(names):
            raise LimnerError(
                f"{file} has an object of the class {index}, and {stated_in} names {len(names)}, "
                f"from 0 to {len(names) - 1}. Add its name there."
            )
        name = names[index] if names else f"class {index}"
        yield name, [float(word) for word in words[1:]]


def _stated_splits(root: Path, config: DataYaml | None) -> tuple[dict[Path, Split], Sequence[Path]]:
    """The split of each folder or list that data.yaml names, and those that it names for several.

    These are no splits: a small set may have one folder for training and validation.
    """
    splits: dict[Path, set[Split]] = {}
    for split, entries in (config.splits if config else {}).items():
        for entry in entries:
            if (path := _inside(root, entry)) is not None:
                splits.setdefault(path, set()).add(split)
    single = {path: next(iter(names)) for path, names in splits.items() if len(names) == 1}
    return single, [path for path in splits if path not in single]


def _splits(
    listing: FolderListing, stated: Mapping[Path, Split], images: Sequence[Path]
) -> dict[Path, Split | None]:
    """The split of each image, by data.yaml where that says it, else by the folders' names."""
    splits = splits_of({image: image.relative_to(listing.root).parts[:-1] for image in images})
    folders = {path: split for path, split in stated.items() if path.is_dir()}
    listed = {
        image: split
        for path, split in stated.items()
        if path.is_file()
        for line in read_lines(path)
        if (image := _inside(listing.root, line)) is not None
    }
    for image in images:
        above = next((folder for folder in image.parents if folder in folders), None)
        splits[image] = listed.get(image, folders[above] if above else splits[image])
    return splits


def _inside(root: Path, entry: str) -> Path | None:
    """The file or folder of the set that a path means, seen from wherever it was written."""
    parts = portable_path(entry).parts
    ends = (root.joinpath(*parts[index:]) for index in range(len(parts)))
    return next((path for path in ends if path.exists()), None)


def _findings(
    root: Path,
    without_object: Sequence[Path],
    config: DataYaml | None,
    shared: Sequence[Path],
) -> Iterator[Finding]:
    if shared and config:
        message = (
            f"{config.file} names {shared[0]} for several splits, so its images are in none. "
            "Splits are drawn, or give each a folder or a list of its own."
        )
        yield Finding("shared-split", "note", str(config.file), message)
    if without_object:
        message = (
            f"{count_noun(len(without_object), 'image has', 'images have')} no label file, such as "
            f"{without_object[0]}. As YOLO does, they are taken as images without an object."
        )
        yield Finding("no-label-file", "note", str(root), message)
