"""The segmentation task of the ISIC challenges of 2016 to 2018 (arXiv:1902.03368)."""

import re
from pathlib import Path

from limner.data.folder_listing import FolderListing
from limner.data.layout_match import FolderPair, LayoutMatch, match_folder_pairs
from limner.data.split_names import split_from_names

SUPERPIXELS = "_superpixels"
"""The ending of further files that ISIC ships beside the photographs."""


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """ISIC: ISIC2018_Task1-2_Training_Input/ beside ISIC2018_Task1_Training_GroundTruth/ (2016 to
    2018)
    """
    folders = _folder_pairs(listing)
    if not folders:
        return None
    pairs, set_aside = [], list[Path]()
    for images, masks in folders:
        files = listing.images(images)
        superpixels = [path for path in files if path.stem.endswith(SUPERPIXELS)]
        photographs = [path for path in files if not path.stem.endswith(SUPERPIXELS)]
        # A single part of the challenge is a set without splits
        names = [images.name] if len(folders) > 1 else []
        pairs.append(FolderPair(images, masks, photographs, listing.images(masks), names))
        set_aside += superpixels
    return match_folder_pairs("ISIC", pairs, set_aside=set_aside)


def _folder_pairs(listing: FolderListing) -> list[tuple[Path, Path]]:
    """The folders of images, each with the folder of masks of the same split."""
    folders = listing.direct_folders()
    return [
        (images, masks)
        for images in folders
        if re.search(r"_(Input|Data)$", images.name)
        for masks in folders
        if masks.name.endswith("_GroundTruth")
        and split_from_names([masks.name]) == split_from_names([images.name])
    ]
