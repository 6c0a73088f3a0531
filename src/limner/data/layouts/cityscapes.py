"""Cityscapes (arXiv:1604.01685): leftImg8bit/ beside gtFine/, whose labelIds are the classes."""

from limner.data.class_names import ClassNames
from limner.data.folder_listing import FolderListing
from limner.data.layout_match import FolderPair, LayoutMatch, match_folder_pairs

IMAGE_FOLDER, MASK_FOLDERS = "leftImg8bit", ("gtFine", "gtCoarse")
IMAGE_ENDING = "_leftImg8bit"
LABEL_IDS = "_labelIds"
NAMES = {
    7: "road",
    8: "sidewalk",
    11: "building",
    12: "wall",
    13: "fence",
    17: "pole",
    19: "traffic light",
    20: "traffic sign",
    21: "vegetation",
    22: "terrain",
    23: "sky",
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
"""The ids of the classes that its benchmark scores."""
VOID_IDS = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)
"""Those that it leaves out."""


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """Cityscapes: leftImg8bit/ beside gtFine/ (or gtCoarse/) with _labelIds.png, cities below
    train, val and test
    """
    images = listing.root / IMAGE_FOLDER
    masks = next(
        (listing.root / name for name in MASK_FOLDERS if (listing.root / name).is_dir()), None
    )
    if masks is None or not images.is_dir():
        return None
    files = listing.images(masks)
    label_files = [path for path in files if path.stem.endswith(LABEL_IDS)]
    pair = FolderPair(
        images,
        masks,
        listing.images(images),
        label_files,
        image_ending=IMAGE_ENDING,
        mask_ending=f"_{masks.name}{LABEL_IDS}",
    )
    colours = [path for path in files if path not in set(label_files)]
    return match_folder_pairs("Cityscapes", [pair], class_names=_names(), set_aside=colours)


def _names() -> ClassNames:
    void = [(value, "void") for value in VOID_IDS]
    return tuple(sorted([*NAMES.items(), *void]))
