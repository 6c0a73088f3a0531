"""A folder of images and a folder of masks that the user names."""

from pathlib import Path

from limner.data.folder_listing import FolderListing
from limner.data.layout_match import FolderPair, LayoutMatch, match_folder_pairs
from limner.data.unread_masks import MASK_SUFFIXES
from limner.errors import LimnerError
from limner.name_list import list_some


def match_stated(listing: FolderListing, image_folder: str, mask_folder: str) -> LayoutMatch:
    """Pair the images of one folder with the masks of another by their names.

    Args:
        listing: The dataset's folder.
        image_folder: The name of the images' folder in it, or its path.
        mask_folder: That of the masks.

    Raises:
        LimnerError: Only one of them is named, one is not there, or they are the same.
    """
    if not image_folder or not mask_folder:
        raise LimnerError(
            "--images and --masks belong together: name the folder of the images and that of the "
            "masks."
        )
    images, masks = (_find(listing, name) for name in (image_folder, mask_folder))
    if images == masks:
        raise LimnerError(
            f"{images} is named for the images and for the masks. In one folder they are told "
            "apart by the names of the files, such as x.jpg and x_mask.png: leave both out."
        )
    pair = FolderPair(
        images,
        masks,
        listing.images(images),
        listing.images(masks),
        unread_images=listing.foreign_images(images),
        unread_masks=listing.files(MASK_SUFFIXES, masks) + listing.foreign_images(masks),
    )
    return match_folder_pairs(f"{images.name}/ and {masks.name}/, as named", [pair])


def _find(listing: FolderListing, name: str) -> Path:
    folder = listing.root / name
    if folder.is_dir():
        return folder
    if (given := Path(name)).is_dir() and given.resolve().is_relative_to(listing.root.resolve()):
        return listing.root / given.resolve().relative_to(listing.root.resolve())
    there = [path.name for path in listing.direct_folders()]
    raise LimnerError(
        f"{folder} is no folder of the dataset. It holds {list_some(there, 8) or 'none'}."
    )
