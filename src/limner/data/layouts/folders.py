"""A folder of images beside a folder of masks, where both files of a pair have the same name."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from limner.data.findings import Finding
from limner.data.folder_listing import FolderListing
from limner.data.layout_match import FolderPair, LayoutMatch, match_folder_pairs
from limner.data.split_names import split_from_names
from limner.data.unread_masks import MASK_SUFFIXES

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "img_dir")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "gt", "groundtruth", "ann_dir")
"""In this order: the first that is there holds the masks."""


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """images/ beside masks/ with files of the same names (at any depth; train, val and test above
    or below)
    """
    pairs = folder_pairs(listing)
    if not pairs:
        return None
    above = any(split_from_names(pair.split_names) for pair in pairs)
    split = " under train, val and test" if above else ""
    return match_folder_pairs(
        f"images/ and masks/{split}", pairs, findings=list(_other_mask_folders(pairs, listing))
    )


def folder_pairs(listing: FolderListing) -> list[FolderPair]:
    """Find the image folders that have a mask folder beside them."""
    return [
        _folder_pair(images, masks, listing)
        for images in image_folders(listing)
        if (masks := _mask_folder_beside(images, listing))
    ]


def _other_mask_folders(pairs: Sequence[FolderPair], listing: FolderListing) -> Iterator[Finding]:
    """Report folders beside the images that may hold the masks as well."""
    for pair in pairs:
        others = [
            path
            for path in listing.direct_folders(pair.images.parent)
            if path.name.lower() in MASK_FOLDERS and path != pair.masks and listing.images(path)
        ]
        if others and pair.mask_files:
            message = (
                f"{pair.masks} is taken for the masks of {pair.images}, and "
                f"{' and '.join(map(str, others))} is left out. If the masks are there, move "
                f"{pair.masks} away: it may hold the field of view."
            )
            yield Finding("several-mask-folders", "warning", str(pair.masks), message)
            return


def image_folders(listing: FolderListing) -> list[Path]:
    """Find folders with an image folder's name: at the top, or at any depth with images below."""
    candidates = {*listing.folders(), *listing.direct_folders()}
    return sorted(
        folder
        for folder in candidates
        if folder.name.lower() in IMAGE_FOLDERS
        and (
            folder.parent == listing.root
            or listing.images(folder)
            or listing.foreign_images(folder)
        )
    )


def _mask_folder_beside(images: Path, listing: FolderListing) -> Path | None:
    siblings = {path.name.lower(): path for path in listing.direct_folders(images.parent)}
    return next((siblings[name] for name in MASK_FOLDERS if name in siblings), None)


def _folder_pair(images: Path, masks: Path, listing: FolderListing) -> FolderPair:
    parent = images.parent.relative_to(listing.root)
    return FolderPair(
        images,
        masks,
        listing.images(images),
        listing.images(masks),
        parent.parts,
        id_prefix="" if parent == Path() else f"{parent.as_posix()}/",
        unread_images=listing.foreign_images(images),
        unread_masks=listing.files(MASK_SUFFIXES, masks) + listing.foreign_images(masks),
    )
