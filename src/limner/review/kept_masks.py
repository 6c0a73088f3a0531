"""Masks that are written in another tool's format, with what they are called there."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from jaxtyping import UInt8
from numpy import ndarray

from limner.data.image_file import image_suffix
from limner.files import printable_name
from limner.review.events import sha256
from limner.review.predictions import Entry, Predictions


@dataclass(frozen=True, slots=True)
class KeptMask:
    """A mask that was accepted or corrected, or as it was predicted."""

    name: str
    """Its unique relative path, without suffix."""
    entry: Entry
    mask: UInt8[ndarray, "h w"]
    """In class indices."""
    is_reviewed: bool = True
    image_prefix: str = ""
    """What stands before the image's name in files that name it, such as a folder or a URL."""

    @property
    def image_name(self) -> str:
        """The name with the suffix of the image's file."""
        path = PurePosixPath(self.entry.image)
        kept = path.name[len(path.name) - len(image_suffix(path.name)) :]
        return self.image_prefix + self.name + kept


def predicted_masks(predictions: Predictions, image_prefix: str = "") -> Iterator[KeptMask]:
    """Give all masks as they were predicted, sorted by their ids and read one by one.

    Raises LimnerError where one cannot be read.
    """
    for entry in sorted(predictions.entries, key=lambda entry: entry.id):
        yield KeptMask(
            safe_file_name(predictions.sample_id(entry)),
            entry,
            predictions.mask(entry),
            is_reviewed=False,
            image_prefix=image_prefix,
        )


def safe_file_name(id: str) -> str:
    """The relative path of what is written for an entry: its id, if that stays below the folder.

    Any other id becomes the name of its file with a hash.
    """
    path = PurePosixPath(id)
    stays_below = not path.is_absolute() and ".." not in path.parts
    if stays_below and not {"\\", ":"} & set(id) and id == printable_name(id):
        return id
    name = printable_name(path.name).replace("\\", "_")
    return f"{name}-{sha256(id.encode('utf-8', 'surrogateescape'))[:12]}"
