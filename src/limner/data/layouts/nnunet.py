"""The raw datasets of nnU-Net (doi:10.1038/s41592-020-01008-z)."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from limner.data.class_names import ClassNames
from limner.data.folder_listing import FolderListing
from limner.data.image_file import without_suffix
from limner.data.layout_match import FolderPair, LayoutMatch, match_folder_pairs
from limner.data.tables import read_json_object
from limner.errors import LimnerError

# The training folder has no split of its own: validation is cut from it
FOLDER_SPLITS = (("Tr", ()), ("Ts", ("test",)))
FIRST_CHANNEL = "_0000"
FURTHER_CHANNEL = re.compile(r"_(?!0000)\d{4}$")


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """nnU-Net: dataset.json with imagesTr/ and labelsTr/ (and imagesTs/ and labelsTs/)"""
    description = listing.root / "dataset.json"
    if not description.is_file() or not (listing.root / "imagesTr").is_dir():
        return None
    class_names = _read_class_names(description)
    return match_folder_pairs("nnU-Net raw", _folder_pairs(listing), class_names=class_names)


def _folder_pairs(listing: FolderListing) -> Iterator[FolderPair]:
    for ending, split_names in FOLDER_SPLITS:
        images, masks = listing.root / f"images{ending}", listing.root / f"labels{ending}"
        if not (images.is_dir() and masks.is_dir()):
            continue
        image_files = listing.images(images)
        yield FolderPair(
            images,
            masks,
            image_files,
            listing.images(masks),
            split_names,
            image_ending="" if _has_channels(image_files) else FIRST_CHANNEL,
        )


def _has_channels(files: Sequence[Path]) -> bool:
    """Whether cases have several files, each of a channel."""
    return any(FURTHER_CHANNEL.search(without_suffix(path.name)) for path in files)


def _read_class_names(path: Path) -> ClassNames:
    """The classes of a dataset.json. The first version of nnU-Net has the values as keys.

    Raises LimnerError for regions, which are several values of one name and may overlap.
    """
    labels = read_json_object(path).get("labels")
    if not isinstance(labels, dict) or any(isinstance(value, list) for value in labels.values()):
        raise LimnerError(
            f"{path} gives no class names with one value each (labels is {labels!r}). Regions "
            "of several values are not read: list the classes."
        )
    try:
        pairs = [(int(value), str(name)) for name, value in labels.items()]
    except (TypeError, ValueError):
        pairs = [(int(value), str(name)) for value, name in labels.items() if str(value).isdigit()]
    return tuple(sorted((value, "void" if name == "ignore" else name) for value, name in pairs))
