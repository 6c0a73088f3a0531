"""Images and masks side by side in one folder, told apart by the ending of a mask's name."""

from limner.data.folder_listing import FolderListing
from limner.data.image_file import without_suffix
from limner.data.layout_match import (
    FolderPair,
    LayoutMatch,
    common_image_ending,
    match_folder_pairs,
    numbered_key,
    pair_key,
)


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """x.jpg beside x_mask.png (or _segmentation, _label, _seg, _gt; and x_mask_1.png and so on) in
    the same folder, at any depth
    """
    files = listing.images()
    stems = {path: without_suffix(path.name) for path in files}
    masks = {path for path, stem in stems.items() if pair_key(stem) != stem}
    numbered = {path: key for path, stem in stems.items() if (key := numbered_key(stem)) != stem}
    # "x_mask_1" is a mask only where "x" is an image
    names = {path.parent / stem for path, stem in stems.items()} if numbered else set()
    masks |= {path for path, key in numbered.items() if path.parent / key in names}
    images = [path for path in files if path not in masks]
    unread = listing.foreign_images()
    unread_masks = [path for path in unread if pair_key(path.stem) != path.stem]
    ending = common_image_ending(images, masks)
    keys = {path.parent / numbered_key(pair_key(stems[path])) for path in masks}
    keys |= {path.parent / numbered_key(pair_key(path.stem)) for path in unread_masks}
    if not any(path.parent / stems[path].removesuffix(ending) in keys for path in images):
        return None
    pair = FolderPair(
        listing.root,
        listing.root,
        images,
        sorted(masks),
        image_ending=ending,
        unread_images=[path for path in unread if pair_key(path.stem) == path.stem],
        unread_masks=unread_masks,
    )
    return match_folder_pairs("name.jpg and name_mask.png", [pair])
