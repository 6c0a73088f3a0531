"""A dataset within a folder of its own, as set.zip may unpack to set/set/images."""

from pathlib import Path

from limner.data.class_names import CLASS_NAME_FILES
from limner.data.findings import Finding
from limner.data.folder_listing import STORES, FolderListing
from limner.data.image_file import has_image_suffix
from limner.data.split_names import split_from_names

SETTING_SUFFIXES = frozenset({".csv", ".json", ".toml"})
"""Of files at the top of a dataset that state pairs, groups or classes."""
ARCHIVE_FOLDERS = frozenset({"__MACOSX"})
"""Folders that archives hold beside their content."""


def inner_folder(listing: FolderListing) -> Path | None:
    """Find the one folder that a folder holds, and nothing else that belongs to a dataset.

    A folder whose name tells a split is none, since its name would be lost. A store is an image.
    """
    folders = [
        path
        for path in listing.direct_folders()
        if not path.name.startswith(".") and path.name not in ARCHIVE_FOLDERS
    ]
    holds_files = has_settings(listing) or any(
        has_image_suffix(path.name) for path in listing.direct_files()
    )
    if len(folders) != 1 or holds_files or split_from_names([folders[0].name]):
        return None
    return None if folders[0].suffix.lower() in STORES else folders[0]


def has_settings(listing: FolderListing) -> bool:
    """Whether a file at the top of a folder may state pairs, groups or classes."""
    return any(
        path.suffix.lower() in SETTING_SUFFIXES or path.name in CLASS_NAME_FILES
        for path in listing.direct_files()
        if not path.name.startswith(".")
    )


def nested_finding(root: Path, inner: Path) -> Finding:
    """Report that a dataset is read from a folder within the one that was given."""
    message = f"holds nothing but {inner}, so the dataset is taken to begin there."
    return Finding("nested-folder", "note", str(root), f"{root} {message}")
