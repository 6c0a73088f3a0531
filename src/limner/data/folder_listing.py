"""What lies below a folder. Each directory is read from the disk once."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from limner.data.image_file import (
    IMAGE_SUFFIXES,
    OTHER_SUFFIXES,
    SNIFFED_BYTES,
    is_image_by_content,
)


@dataclass(frozen=True, slots=True)
class _Directory:
    """The direct entries of one directory, hidden ones too, in the order of their names."""

    files: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()
    links: frozenset[Path] = frozenset()
    """The folders that are links."""


@dataclass(frozen=True, slots=True)
class _Tree:
    """All files and folders below a folder, without hidden ones, in the order of their paths."""

    files: tuple[Path, ...]
    folders: tuple[Path, ...]
    suffixes: tuple[str, ...]
    """Of the files, in lower case."""


class FolderListing:
    """The files and folders below `root`, read when they are first asked for and then kept.

    Hidden files and folders (".name") are only in the direct listings. Links to folders are
    followed, but never to a folder that was met before. A link that leads nowhere is listed as a
    file, so that it is reported as missing.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._directories: dict[Path, _Directory] = {}
        self._trees: dict[Path, _Tree] = {}
        self._is_image_inside: dict[Path, bool] = {}
        """Of the files that were opened to tell."""

    def direct_files(self) -> tuple[Path, ...]:
        """List the files in `root` itself, hidden ones too."""
        return self._directory(self.root).files

    def direct_folders(self, folder: Path | None = None) -> tuple[Path, ...]:
        """List the folders in a folder itself (by default in `root`), hidden ones too."""
        return self._directory(folder or self.root).folders

    def folders(self) -> tuple[Path, ...]:
        """List all folders below `root`."""
        return self._tree(self.root).folders

    def files(self, suffixes: Collection[str], folder: Path | None = None) -> list[Path]:
        """List all files below a folder (by default `root`) that have one of the suffixes.

        Args:
            suffixes: Such as ".png", in lower case; files may have them in any case.
        """
        tree = self._tree(folder or self.root)
        files = zip(tree.files, tree.suffixes, strict=True)
        return [path for path, suffix in files if suffix in suffixes]

    def images(self, folder: Path | None = None) -> list[Path]:
        """List all image files below a folder (by default `root`), by their suffix or content."""
        return [path for path in self._tree(folder or self.root).files if self._is_image(path)]

    def _is_image(self, path: Path) -> bool:
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            return True
        if suffix in OTHER_SUFFIXES:
            return False
        if path not in self._is_image_inside:
            self._is_image_inside[path] = is_image_by_content(_read_start(path))
        return self._is_image_inside[path]

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
        visited = {real_paths[start]}
        files: list[Path] = []
        pending = [start]
        while pending:
            folder = pending.pop()
            directory = self._directory(folder)
            files += [path for path in directory.files if not path.name.startswith(".")]
            subfolders = {
                path: path.resolve() if path in directory.links else real_paths[folder] / path.name
                for path in directory.folders
                if not path.name.startswith(".")
            }
            new = [path for path, real in subfolders.items() if real not in visited]
            visited.update(subfolders.values())
            real_paths.update((path, subfolders[path]) for path in new)
            pending += reversed(new)
        files.sort()
        suffixes = tuple(path.suffix.lower() for path in files)
        return _Tree(tuple(files), tuple(sorted(real_paths.keys() - {start})), suffixes)


def find_images(folder: Path) -> list[Path]:
    """List the image files below a folder in the order of their paths, hidden ones left out."""
    return FolderListing(folder).images()


def _read_start(path: Path) -> bytes:
    """The first bytes of a file; none where it is not a plain file or cannot be read."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb", buffering=0) as file:
            return file.read(SNIFFED_BYTES)
    except OSError:
        return b""


def _read_directory(folder: Path) -> _Directory:
    """The entries of a directory; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return _Directory()
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
