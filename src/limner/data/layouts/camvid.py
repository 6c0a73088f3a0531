"""CamVid's folders, in the two forms that circulate (doi:10.1016/j.patrec.2008.04.005)."""

from collections.abc import Iterator

from limner.data.folder_listing import FolderListing
from limner.data.layout_match import FolderPair, LayoutMatch, match_folder_pairs
from limner.data.split_names import SPLIT_NAMES, split_from_names
from limner.data.unread_masks import MASK_SUFFIXES

MASK_FOLDER_ENDINGS = ("annot", "_labels", "_masks", "labels")


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """CamVid: train/ beside trainannot/ or train_labels/ (and the same for val and test)"""
    pairs = list(_folder_pairs(listing))
    return match_folder_pairs("CamVid", pairs) if pairs else None


def _folder_pairs(listing: FolderListing) -> Iterator[FolderPair]:
    for images in listing.direct_folders():
        if not (split := split_from_names([images.name])):
            continue
        # "valid" and "val" are one part of the set, "test_A" and "test_B" are two
        prefix = split if images.name.lower() in SPLIT_NAMES else images.name
        for ending in MASK_FOLDER_ENDINGS:
            masks = images.with_name(images.name + ending)
            if masks.is_dir():
                yield FolderPair(
                    images,
                    masks,
                    listing.images(images),
                    listing.images(masks),
                    [images.name],
                    id_prefix=f"{prefix}/",
                    mask_ending="_L",
                    unread_images=listing.foreign_images(images),
                    unread_masks=listing.files(MASK_SUFFIXES, masks)
                    + listing.foreign_images(masks),
                )
