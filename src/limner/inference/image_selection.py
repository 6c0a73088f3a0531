"""Which images the arguments of a command name: files, folders, patterns or URLs."""

import glob
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from limner.data.channel_files import join_names
from limner.data.file_kinds import FileKind
from limner.data.folder_listing import STORES
from limner.data.storage import Storage
from limner.errors import LimnerError
from limner.files import sha256_of_file

GIVE = "Give an image, several, a folder, or a pattern such as 'photos/*.png'."


@dataclass(frozen=True, slots=True)
class ImageSelection:
    """Images by their names in one folder, and files there that may be images and are not read."""

    storage: Storage
    names: tuple[str, ...]
    foreign: Mapping[str, FileKind] = field(default_factory=dict)

    @classmethod
    def from_paths(cls, paths: Sequence[str]) -> "ImageSelection":
        """Gather the images that paths name, each once, in the order of their names.

        Args:
            paths: at least one. Files are taken as they are; of folders all images below them; a
                pattern (`*`, `?`, `[...]`) stands for the files that fit. A URL is an image, a
                folder, or a pattern in one. Several paths are of this machine, and names are then
                relative to the folder that holds them all.

        Raises LimnerError where a path does not exist, a pattern fits nothing, or URLs are mixed.
        """
        if any("://" in path for path in paths):
            return _select_url(paths)
        found = [path for given in paths for path in _expand(given)]
        if len(found) == 1 and _is_folder(found[0]):
            return cls.from_storage(Storage(found[0]))
        parents = {_folder_of(path).absolute() for path in found}
        root = Path(os.path.commonpath(parents)) if len(parents) > 1 else _folder_of(found[0])
        names: dict[str, None] = {}
        foreign: dict[str, FileKind] = {}
        for path in found:
            prefix = Path(os.path.relpath(path, root)).as_posix()
            if not _is_folder(path):
                names[prefix] = None
                continue
            inner = cls.from_storage(Storage(path))
            names |= dict.fromkeys(str(PurePosixPath(prefix) / name) for name in inner.names)
            foreign |= {
                str(PurePosixPath(prefix) / name): kind for name, kind in inner.foreign.items()
            }
        return cls(Storage(root), tuple(sorted(names)), foreign)

    @classmethod
    def from_storage(cls, storage: Storage) -> "ImageSelection":
        """Take all images of a folder."""
        listing = storage.image_listing()
        return cls(storage, tuple(listing.images), listing.foreign)

    def with_channels(self, endings: Sequence[str]) -> "ImageSelection":
        """Join the files that are channels of one image, as the model's training had them.

        Raises LimnerError where an image lacks a channel.
        """
        return replace(self, names=tuple(join_names(self.names, endings)))

    def without(self, files: Iterable[Path]) -> "ImageSelection":
        """Leave out the images whose content is that of one of some files.

        Raises LimnerError where the images lie elsewhere than on this machine.
        """
        if (folder := self.storage.local) is None:
            raise LimnerError(
                f"{self.storage.root} is not on this machine, where contents can be compared. Copy "
                "the images here first."
            )
        known = {sha256_of_file(path) for path in files}
        names = [name for name in self.names if sha256_of_file(folder / name) not in known]
        return replace(self, names=tuple(names))

    def matching(self, pattern: str) -> "ImageSelection":
        """Keep the files whose names fit a pattern."""
        return ImageSelection(
            self.storage,
            tuple(name for name in self.names if fnmatch(name, pattern)),
            {name: kind for name, kind in self.foreign.items() if fnmatch(name, pattern)},
        )


def _folder_of(path: Path) -> Path:
    return path if _is_folder(path) else path.parent


def _is_folder(path: Path) -> bool:
    """Whether a path is a folder of images, and none that is one image."""
    return path.is_dir() and path.suffix.lower() not in STORES


def _expand(path: str) -> list[Path]:
    """The path itself, or what it stands for as a pattern."""
    if Path(path).exists():
        return [Path(path)]
    if not glob.has_magic(path):
        raise LimnerError(f"{path} does not exist. {GIVE}")
    # Path.glob takes no absolute pattern
    found = [Path(name) for name in sorted(glob.glob(path, recursive=True))]  # noqa: PTH207
    if not found:
        raise LimnerError(f"no file fits {path}. {GIVE}")
    return found


def _select_url(paths: Sequence[str]) -> ImageSelection:
    if len(paths) > 1:
        raise LimnerError(
            f"there are {len(paths)} places for images, and {paths[0]} is among them. Give one "
            "URL, or several paths of this machine."
        )
    (url,) = paths
    folder, _, last = url.rpartition("/")
    if last and Storage(folder).has_file(last):
        return ImageSelection(Storage(folder), (last,))
    if not glob.has_magic(last):
        return ImageSelection.from_storage(Storage(url))
    selection = ImageSelection.from_storage(Storage(folder)).matching(last)
    if not selection.names and not selection.foreign:
        raise LimnerError(f"no file fits {url}. {GIVE}")
    return selection
