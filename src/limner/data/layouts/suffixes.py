"""Images and masks side by side in one folder, told apart by the ending of a mask's name."""

from limner.data.folder_listing import FolderListing
from limner.data.image_file import without_suffix
from limner.data.layout_match import FolderPair, LayoutMatch, match_folder_pairs, pair_key


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """x.jpg beside x_mask.png (or _segmentation, _label, _seg, _gt) in the same folder, at any
    depth
    """
    files = listing.images()
    stems = {path: without_suffix(path.name) for path in files}
    masks = [path for path, stem in stems.items() if pair_key(stem) != stem]
    images = [path for path, stem in stems.items() if pair_key(stem) == stem]
    keys = {path.parent / pair_key(stems[path]) for path in masks}
    if not any(path.parent / stems[path] in keys for path in images):
        return None
    pair = FolderPair(listing.root, listing.root, images, masks)
    return match_folder_pairs("name.jpg and name_mask.png", [pair])
