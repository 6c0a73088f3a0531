"""Retinal vessels as DRIVE (doi:10.1109/TMI.2004.825627) and HRF have them: the truth lies in
1st_manual/, and mask/ is the field of view.
"""

import re
from pathlib import Path

from limner.data.findings import Finding
from limner.data.folder_listing import FolderListing
from limner.data.layout_match import FolderPair, LayoutMatch, match_folder_pairs
from limner.data.layouts.folders import image_folders

TRUTH_FOLDER = re.compile(r"(1st|first)[_ -]?manuals?|manuals?[_ -]?1?")
OTHER_FOLDERS = re.compile(r"(2nd|second)[_ -]?manuals?|manuals?[_ -]?2|(fov[_ -]?)?masks?|fov")
"""Of the second observer and the field of view."""
LABEL_FOLDER = re.compile(r"labels?|gt|groundtruth|vessels?")
IMAGE_ENDINGS = ("_training", "_test")
MASK_ENDING = "_manual1"


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """DRIVE: images/ beside 1st_manual/ (or manual1/); mask/, the field of view, is left out"""
    folders = [
        (images, truth)
        for images in image_folders(listing)
        if (truth := _truth_beside(listing, images))
    ]
    if not folders:
        return None
    pairs = [_folder_pair(listing, images, truth) for images, truth in folders]
    left_out = [
        folder for folder in listing.folders() if OTHER_FOLDERS.fullmatch(folder.name.lower())
    ]
    return match_folder_pairs(
        "DRIVE",
        pairs,
        set_aside=[
            path
            for folder in left_out
            for path in listing.images(folder) + listing.foreign_images(folder)
        ],
        findings=[_left_out(left_out, folders[0][1])] if left_out else [],
    )


def _truth_beside(listing: FolderListing, images: Path) -> Path | None:
    """The folder of the truth; beside fields of view it may be called label/ too."""
    if truth := _sibling(listing, images, TRUTH_FOLDER):
        return truth
    labels = _sibling(listing, images, LABEL_FOLDER)
    if labels is None or not _sibling(listing, images, OTHER_FOLDERS):
        return None
    files = listing.images(labels) + listing.foreign_images(labels)
    is_drive = bool(files) and all(path.stem.endswith(MASK_ENDING) for path in files)
    return labels if is_drive else None


def _sibling(listing: FolderListing, images: Path, name: re.Pattern[str]) -> Path | None:
    siblings = listing.direct_folders(images.parent)
    return next((path for path in siblings if name.fullmatch(path.name.lower())), None)


def _folder_pair(listing: FolderListing, images: Path, truth: Path) -> FolderPair:
    parent = images.parent.relative_to(listing.root)
    files = listing.images(images)
    endings = (end for end in IMAGE_ENDINGS if all(path.stem.endswith(end) for path in files))
    return FolderPair(
        images,
        truth,
        files,
        listing.images(truth),
        parent.parts,
        id_prefix="" if parent == Path() else f"{parent.as_posix()}/",
        image_ending=next(endings, ""),
        mask_ending=MASK_ENDING,
        unread_images=listing.foreign_images(images),
        unread_masks=listing.foreign_images(truth),
    )


def _left_out(folders: list[Path], truth: Path) -> Finding:
    names = " and ".join(sorted({f"{folder.name}/" for folder in folders}))
    message = (
        f"images in {names} (such as {folders[0]}) are left out. Beside {truth.name}/, which holds "
        "the truth, these are the field of view or a second observer."
    )
    return Finding("left-out-folders", "note", str(folders[0]), message)
