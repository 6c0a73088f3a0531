"""Images beside files of the same name that describe their objects, which are not read."""

from limner.data.folder_listing import FolderListing
from limner.data.layout_match import FolderPair, LayoutMatch, match_folder_pairs
from limner.data.unread_masks import ANNOTATIONS


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """x.jpg beside x.txt, x.json or x.xml of another form: not read, but named, with the cure"""
    annotations = listing.files(ANNOTATIONS)
    if not annotations:
        return None
    images = listing.images()
    named = {path.with_suffix("") for path in annotations}
    annotated = sum(path.with_suffix("") in named for path in images)
    if annotated <= len(images) // 2:
        return None
    pair = FolderPair(listing.root, listing.root, images, (), unread_masks=annotations)
    return match_folder_pairs("images beside annotations that are not read", [pair])
