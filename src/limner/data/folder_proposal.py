"""Folders whose names say nothing: which of them may hold images, and which their masks."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np

from limner.data.folder_listing import FolderListing
from limner.data.image_file import image_suffix, without_suffix
from limner.data.images import read_image
from limner.data.layout_match import pair_key
from limner.errors import LimnerError
from limner.plurals import count_noun

MOST_FOLDERS = 20
"""In a folder of more, no two stand out."""
LEAST_MATCHED = 0.8
"""The share of the masks that must have an image of their name."""
LOOKED_AT = 3
"""Images of each folder that are opened, to tell images from masks."""


@dataclass(frozen=True, slots=True)
class FolderProposal:
    """Two folders that look like images and masks, relative to the dataset."""

    images: str
    masks: str
    reason: str


def propose_folders(listing: FolderListing) -> FolderProposal | None:
    """Find the two folders whose files match best by their names; None where none do.

    The masks are those whose names end as masks' do, or that show fewer values.
    """
    files = {
        folder: [path for path in listing.images(folder) if path.parent == folder]
        for folder in listing.folders()
    }
    filled = {folder: paths for folder, paths in files.items() if paths}
    if not 2 <= len(filled) <= MOST_FOLDERS:
        return None
    keys = {folder: {_key(path) for path in paths} for folder, paths in filled.items()}
    shared = {(one, other): len(keys[one] & keys[other]) for one, other in permutations(filled, 2)}
    best = max(shared, key=lambda pair: (shared[pair], *map(str, pair)))
    if shared[best] < max(2, LEAST_MATCHED * min(len(keys[folder]) for folder in best)):
        return None
    images, masks = sorted(best, key=lambda folder: _likeness_to_masks(filled[folder]))
    kind = Counter(image_suffix(path.name) for path in filled[images]).most_common(1)[0][0]
    matched = shared[best]
    of_masks = f"all {matched}" if matched == len(keys[masks]) else f"{matched} of the"
    reason = (
        f"{_name(images, listing)}/ holds {count_noun(len(filled[images]), f'{kind} file')} whose "
        f"names match {of_masks} masks in {_name(masks, listing)}/"
    )
    return FolderProposal(_name(images, listing), _name(masks, listing), reason)


def _key(path: Path) -> str:
    return pair_key(without_suffix(path.name)).casefold()


def _name(folder: Path, listing: FolderListing) -> str:
    return folder.relative_to(listing.root).as_posix()


def _likeness_to_masks(paths: Sequence[Path]) -> tuple[int, float]:
    """The higher, the likelier files are masks: by their names, and by how few values they show."""
    named = sum(pair_key(without_suffix(path.name)) != without_suffix(path.name) for path in paths)
    counts = []
    for path in paths[:LOOKED_AT]:
        try:
            counts.append(len(np.unique(read_image(path).reshape(-1, 3)[:, 0])))
        except (LimnerError, ValueError):
            continue
    return int(named > len(paths) / 2), -float(np.mean(counts)) if counts else 0.0
