"""A folder of masks for each class: images/x.png with masks/nerve/x.png and masks/vessel/x.png."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from unicodedata import normalize

from limner.data.folder_listing import FolderListing
from limner.data.image_file import without_suffix
from limner.data.layout_match import FolderPair, LayoutMatch, pair_key, with_splits
from limner.data.layouts.folders import folder_pairs
from limner.data.sample import Sample
from limner.data.split_names import split_from_names
from limner.data.united_mask import UnitedMask

MIN_CLASSES = 2
ClassFiles = Mapping[str, list[tuple[str, Path]]]
"""The classes that have a mask of an image, with its file, by the image's key."""


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """images/x.png with a folder for each class, masks/nerve/x.png and masks/vessel/x.png"""
    pairs = folder_pairs(listing)
    by_pair = [(pair, files) for pair in pairs if (files := _class_files(pair, listing))]
    if not by_pair or len(by_pair) < len(pairs):
        return None
    names = sorted({name for _, files in by_pair for found in files.values() for name, _ in found})
    index_of = {name: index for index, name in enumerate(names, start=1)}
    samples: list[tuple[Sample, tuple[str, ...]]] = []
    without_mask: list[Path] = []
    for pair, files in by_pair:
        for key, image in sorted(_keys(pair.images, pair.image_files).items()):
            if key not in files:
                without_mask.append(image)
                continue
            masks = sorted(files[key])
            values = tuple(index_of[name] for name, _ in masks)
            mask = UnitedMask(tuple(path for _, path in masks), values)
            splits = (*pair.split_names, *key.split("/")[:-1])
            samples.append((Sample(pair.id_prefix + key, image, mask), splits))
    return LayoutMatch(
        "images/ and a folder of masks for each class",
        with_splits(samples),
        ((0, "background"), *((index, name) for name, index in index_of.items())),
        tuple(without_mask),
    )


def _class_files(pair: FolderPair, listing: FolderListing) -> ClassFiles:
    """The masks of a folder by the keys of their images; empty where its folders are no classes."""
    folders = [path for path in listing.direct_folders(pair.masks) if listing.images(path)]
    image_folders = {path.name for path in listing.direct_folders(pair.images)}
    names = {folder.name for folder in folders}
    direct = [path for path in pair.mask_files if path.parent == pair.masks]
    are_splits = any(split_from_names([name]) for name in names)
    if len(folders) < MIN_CLASSES or direct or are_splits or names & image_folders:
        return {}
    images = _keys(pair.images, pair.image_files)
    files: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    for folder in folders:
        for key, path in _keys(folder, listing.images(folder)).items():
            if key not in images:
                return {}
            files[key].append((folder.name, path))
    # Folders whose files share no image are parts of the set
    return files if any(len(found) > 1 for found in files.values()) else {}


def _keys(folder: Path, files: Sequence[Path]) -> dict[str, Path]:
    names = ((path.relative_to(folder).as_posix(), path) for path in files)
    return {pair_key(normalize("NFC", without_suffix(name))): path for name, path in names}
