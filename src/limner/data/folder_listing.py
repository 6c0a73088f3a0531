"""What lies below a folder. Each directory is read from the disk once."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path
from typing import Literal

from limner.data.file_kinds import FOREIGN_STORES, LOCKED_FOLDER, NOT_A_FILE, FileKind
from limner.data.image_file import SNIFFED_BYTES, classify, has_image_suffix, needs_opening
from limner.data.readers import zarr_store

STORES = FOREIGN_STORES.keys() | zarr_store.SUFFIXES
"""Of folders that are one image."""
SYSTEM_FOLDERS = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"})
"""Folders in which systems keep thumbnails and remains of their own."""
PROGRAM_FOLDERS = frozenset({".git", ".ipynb_checkpoints", ".thumbnails", ".Trash", ".cache"})
"""Hidden folders in which programs keep copies."""


@dataclass(frozen=True, slots=True)
class _Directory:
    """The direct entries of one directory, hidden ones too, in the order of their names."""

    files: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()
    links: frozenset[Path] = frozenset()
    """The folders that are links."""
    is_locked: bool = False
    """Whether it cannot be read."""


@dataclass(frozen=True, slots=True)
class _Tree:
    """All files and folders below a folder, without hidden ones, in the order of their paths."""

    files: tuple[Path, ...]
    folders: tuple[Path, ...]
    suffixes: tuple[str, ...]
    """Of the files, in lower case."""
    repeats: Mapping[Path, Path]
    """Links to folders that are listed elsewhere, and where; they are not followed."""


class FolderListing:
    """The files and folders below `root`, read when they are first asked for and then kept.

    Hidden files and folders (".name") are only in the direct listings. Links to folders are
    followed, but never to a folder that is listed elsewhere: the folder itself comes first. A link
    that leads nowhere is listed as a file, so that it is reported as missing.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._directories: dict[Path, _Directory] = {}
        self._trees: dict[Path, _Tree] = {}
        self._contents: dict[Path, Literal["image"] | FileKind | None] = {}
        """Of the files that were opened to tell."""

    def direct_files(self, folder: Path | None = None) -> tuple[Path, ...]:
        """List the files in a folder itself (by default in `root`), hidden ones too."""
        return self._directory(folder or self.root).files

    def direct_folders(self, folder: Path | None = None) -> tuple[Path, ...]:
        """List the folders in a folder itself (by default in `root`), hidden ones too."""
        return self._directory(folder or self.root).folders

    def folders(self) -> tuple[Path, ...]:
        """List all folders below `root`."""
        return self._tree(self.root).folders

    def repeated_links(self) -> Mapping[Path, Path]:
        """Tell the links to folders that are listed elsewhere, and where."""
        return self._tree(self.root).repeats

    def files(self, suffixes: Collection[str], folder: Path | None = None) -> list[Path]:
        """List all files below a folder (by default `root`) that have one of the suffixes.

        Args:
            suffixes: Such as ".png", in lower case; files may have them in any case.
        """
        tree = self._tree(folder or self.root)
        files = zip(tree.files, tree.suffixes, strict=True)
        return [path for path, suffix in files if suffix in suffixes]

    def images(self, folder: Path | None = None) -> list[Path]:
        """List all images below a folder (by default `root`), by their suffix or content.

        A folder may be one, as OME-Zarr is.
        """
        tree = self._tree(folder or self.root)
        images = [path for path in tree.files if self._is_image(path)]
        stores = [path for path in tree.folders if path.suffix.lower() in zarr_store.SUFFIXES]
        return sorted([*images, *stores]) if stores else images

    def foreign(self, folder: Path | None = None) -> dict[Path, FileKind]:
        """Tell what files below a folder (by default `root`) may be images and are not read."""
        tree = self._tree(folder or self.root)
        contents = ((path, self._content(path)) for path in tree.files)
        locked = [path for path in tree.folders if self._directory(path).is_locked]
        foreign = {path: kind for path, kind in contents if isinstance(kind, FileKind)}
        stores = {
            path: kind for path in tree.folders if (kind := FOREIGN_STORES.get(path.suffix.lower()))
        }
        return foreign | stores | dict.fromkeys(locked, LOCKED_FOLDER)

    def foreign_images(self, folder: Path | None = None) -> list[Path]:
        """List those files of `foreign` that are images, not archives and the like."""
        return [path for path, kind in self.foreign(folder).items() if kind.is_image]

    def hidden_images(self) -> list[Path]:
        """List what has the suffix of an image and is hidden, or lies in a hidden folder."""
        folders = [
            path for path in (self.root, *self.folders()) if path.suffix.lower() not in STORES
        ]
        directories = [self._directory(folder) for folder in folders]
        hidden = [
            path
            for directory in directories
            for path in directory.files
            if path.name.startswith(".") and not path.name.startswith("._")
        ]
        hidden += [
            path
            for directory in directories
            for folder in directory.folders
            if folder.name.startswith(".") and folder.name not in PROGRAM_FOLDERS
            for path in self._directory(folder).files
        ]
        return [path for path in hidden if has_image_suffix(path.name)]

    def _is_image(self, path: Path) -> bool:
        return has_image_suffix(path.name) or self._content(path) == "image"

    def _content(self, path: Path) -> Literal["image"] | FileKind | None:
        """What a file is whose suffix is not that of an image; None for images by their suffix."""
        if not needs_opening(path.name):
            return None
        if path not in self._contents:
            self._contents[path] = _content_of(path)
        return self._contents[path]

    def _directory(self, folder: Path) -> _Directory:
        if folder not in self._directories:
            self._directories[folder] = _read_directory(folder)
        return self._directories[folder]

    def _tree(self, folder: Path) -> _Tree:
        if folder not in self._trees:
            self._trees[folder] = self._walk(folder)
        return self._trees[folder]

    def _walk(self, start: Path) -> _Tree:
        real_paths = {start: start.resolve()}
        listed_as = {real_paths[start]: start}
        files: list[Path] = []
        pending, links = [start], list[Path]()
        repeats: dict[Path, Path] = {}
        while pending or links:
            if not pending:
                # Folders come before the links to them
                link = heappop(links)
                real = link.resolve()
                if listed_as.setdefault(real, link) != link:
                    repeats[link] = listed_as[real]
                    continue
                real_paths[link] = real
                if link.suffix.lower() in STORES:
                    continue
                pending = [link]
            folder = pending.pop()
            directory = self._directory(folder)
            files += [path for path in directory.files if not path.name.startswith(".")]
            subfolders = [
                path
                for path in directory.folders
                if not path.name.startswith(".") and path.name not in SYSTEM_FOLDERS
            ]
            for path in subfolders:
                if path in directory.links:
                    heappush(links, path)
            new = [path for path in subfolders if path not in directory.links]
            reals = {path: real_paths[folder] / path.name for path in new}
            # Behind a link may lie what was met before
            new = [path for path in new if listed_as.setdefault(reals[path], path) == path]
            real_paths.update((path, reals[path]) for path in new)
            # The files of a store are parts of one image
            pending += reversed([path for path in new if path.suffix.lower() not in STORES])
        files.sort()
        suffixes = tuple(path.suffix.lower() for path in files)
        folders = tuple(sorted(real_paths.keys() - {start}))
        return _Tree(tuple(files), folders, suffixes, repeats)


def find_images(folder: Path) -> list[Path]:
    """List the image files below a folder in the order of their paths, hidden ones left out."""
    return FolderListing(folder).images()


def _content_of(path: Path) -> Literal["image"] | FileKind | None:
    """What a file is by its name and its first bytes."""
    try:
        # A pipe or a device may never end
        if path.exists() and not path.is_file():
            return NOT_A_FILE
        with path.open("rb", buffering=0) as file:
            start = file.read(SNIFFED_BYTES)
    except OSError:
        return classify(path.name, None)
    return classify(path.name, start)


def _read_directory(folder: Path) -> _Directory:
    """The entries of a directory; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return _Directory(is_locked=True)
    is_folder = {entry.name: _is_folder(entry) for entry in ordered}
    return _Directory(
        tuple(folder / entry.name for entry in ordered if not is_folder[entry.name]),
        tuple(folder / entry.name for entry in ordered if is_folder[entry.name]),
        frozenset(
            folder / entry.name for entry in ordered if is_folder[entry.name] and entry.is_symlink()
        ),
    )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link that leads back to itself
        return False
