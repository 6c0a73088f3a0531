"""A folder for each image with a mask for each object, as the 2018 Data Science Bowl has them
(doi:10.1038/s41592-019-0612-7).
"""

from dataclasses import replace
from unicodedata import normalize

from limner.data.folder_listing import FolderListing
from limner.data.layout_match import (
    FolderPair,
    LayoutMatch,
    match_folder_pairs,
    pair_key,
    united_findings,
    with_splits,
)
from limner.data.layouts.folders import folder_pairs
from limner.data.sample import Sample
from limner.data.united_mask import UnitedMask


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """Data Science Bowl: x/images/x.png beside x/masks/ with a file for each object, for every
    image x
    """
    pairs = folder_pairs(listing)
    single = [pair for pair in pairs if len(pair.image_files) == 1 and pair.mask_files]
    # One mask that bears another name may be a slip; a set of such folders is none
    objects = [pair for pair in single if not _has_mask_of_its_name(pair)]
    if len(objects) < max(2, len(pairs) // 2):
        return None
    samples = with_splits([(_sample(pair), pair.split_names) for pair in single])
    others = [pair for pair in pairs if pair not in single]
    match = match_folder_pairs(
        "x/images/x.png and x/masks/ with a mask for each object",
        others,
        findings=united_findings(samples),
    )
    return replace(match, samples=(*samples, *match.samples))


def _has_mask_of_its_name(pair: FolderPair) -> bool:
    stem = pair.image_files[0].stem
    return any(pair_key(path.stem) == stem for path in pair.mask_files)


def _sample(pair: FolderPair) -> Sample:
    """The one image of a folder with all masks of the folder beside it."""
    image, files = pair.image_files[0], pair.mask_files
    mask = files[0] if len(files) == 1 else UnitedMask(tuple(files))
    return Sample(pair.id_prefix + normalize("NFC", image.stem), image, mask)
