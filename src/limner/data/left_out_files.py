"""Files that a scan leaves out by itself: hidden ones, and other forms of what is read."""

from collections.abc import Iterator
from pathlib import Path

from limner.data.findings import Finding
from limner.data.folder_listing import FolderListing
from limner.plurals import count_noun


def other_forms(listing: FolderListing) -> list[Path]:
    """List images in formats that are not read, beside an image of the same name that is."""
    foreign = [path for path, kind in listing.foreign().items() if kind.is_image]
    read = {path.with_suffix("") for path in listing.images()} if foreign else set[Path]()
    return [path for path in foreign if path.with_suffix("") in read]


def left_out_findings(listing: FolderListing) -> Iterator[Finding]:
    """Count and name the files that are left out, though they may be images."""
    if others := other_forms(listing):
        message = (
            f"{count_noun(len(others), 'file is', 'files are')} left out, such as {others[0]}: "
            "the format is not read, and an image of the same name is beside it, which is taken."
        )
        yield Finding("other-form", "note", str(others[0]), message)
    if hidden := listing.hidden_images():
        message = (
            f"{count_noun(len(hidden), 'image file is', 'image files are')} hidden and left out, "
            f"such as {hidden[0]}. If they belong to the set, give names without a dot at the "
            "start to them or their folder."
        )
        yield Finding("hidden-files", "note", str(hidden[0]), message)
