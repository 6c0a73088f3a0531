"""Folders of files on this machine or wherever fsspec reaches (s3://, gs://, memory://), read and
written alike.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from limner.data.file_kinds import FileKind
from limner.data.folder_listing import FolderListing
from limner.data.image_file import SNIFFED_BYTES, classify, has_image_suffix, needs_opening
from limner.data.readers.zarr_store import is_store
from limner.errors import LimnerError
from limner.files import FOLDER_LOCK, atomic_file, channel_paths, exclusive_lock, write_atomic

VERSION_KEYS = ("size", "ETag", "etag", "mtime", "LastModified", "last_modified", "updated")
"""What file systems say of a file that changes when the file does; each says some of it."""
REMOTE_VERSION_KEYS = (*VERSION_KEYS, "created")
"""Where a file is written as a whole, it is created anew; on this machine `created` changes with
permissions too.
"""


@dataclass(frozen=True, slots=True)
class ImageListing:
    """The files of a folder by their names in it: images, and what may be and is not read."""

    images: list[str]
    foreign: dict[str, FileKind]


@dataclass(frozen=True, slots=True)
class Storage:
    """A folder by its path or URL. File names are relative to it, with forward slashes.

    On this machine writes are atomic and a lock keeps other processes out. fsspec offers neither,
    so elsewhere a write is as atomic as the file system makes it, and nobody is kept out.
    """

    root: str | Path

    @property
    def local(self) -> Path | None:
        """The folder on this machine; None where it is elsewhere."""
        if isinstance(self.root, str) and "://" in self.root:
            return Path(self.root[7:]) if self.root.startswith("file://") else None
        return Path(self.root)

    def image_listing(self) -> ImageListing:
        """List the files below the folder that are or may be images, without hidden ones."""
        if (local := self.local) is not None:
            listing = FolderListing(local)
            return ImageListing(
                [path.relative_to(local).as_posix() for path in listing.images()],
                {
                    path.relative_to(local).as_posix(): kind
                    for path, kind in listing.foreign().items()
                },
            )
        names = [name for name in self.list_files() if not _is_hidden(name)]
        starts = self._read_starts([name for name in names if needs_opening(name)])
        contents = {name: classify(name, start) for name, start in starts.items()}
        return ImageListing(
            [name for name in names if has_image_suffix(name) or contents.get(name) == "image"],
            {name: kind for name, kind in contents.items() if isinstance(kind, FileKind)},
        )

    def _read_starts(self, names: Sequence[str]) -> dict[str, bytes | None]:
        """Read the first bytes of some files elsewhere; None of a file that cannot be read."""
        system, root = self._open()
        paths = [f"{root}/{name}" for name in names]
        # What cannot be read gives its error instead
        starts = system.cat_ranges(paths, 0, SNIFFED_BYTES, on_error="return") if paths else []
        return {
            name: start if isinstance(start, bytes) else None
            for name, start in zip(names, starts, strict=True)
        }

    def absolute(self) -> "Storage":
        """The same folder, whatever the working folder of the process that opens it."""
        return self if (local := self.local) is None else Storage(local.absolute())

    def has_file(self, name: str) -> bool:
        """Whether there is such a file."""
        system, root = self._open()
        return bool(system.isfile(f"{root}/{name}"))

    def is_empty(self) -> bool:
        """Whether nothing is in the folder, or it does not exist. A lock file does not count."""
        system, root = self._open()
        if not system.exists(root):
            return True
        if not system.isdir(root):
            return False
        system.invalidate_cache()
        names = {PurePosixPath(path).name for path in system.ls(root, detail=False)}
        return not names - {FOLDER_LOCK, ""}

    def path_of(self, name: str = "") -> str:
        """What people and other programs call a file of the folder: an absolute path or a URL."""
        if (local := self.local) is not None:
            # A link is called by its own name, which is in the folder
            return str(local.resolve() / name)
        return f"{str(self.root).rstrip('/')}/{name}"

    def fingerprint(self, name: str) -> str:
        """A text that changes when the file does; empty where there is none."""
        if len(files := channel_paths(Path(name))) > 1:
            return " ".join(self.fingerprint(file.as_posix()) for file in files)
        if self.local is not None and is_store(self.local / name):
            states = [path.stat() for path in (self.local / name).rglob("*")]
            last = max((state.st_mtime_ns for state in states), default=0)
            return f"{len(states)} {sum(state.st_size for state in states)} {last}"
        system, root = self._open()
        try:
            info = system.info(f"{root}/{name}")
        except (FileNotFoundError, NotADirectoryError):
            return ""
        keys = REMOTE_VERSION_KEYS if self.local is None else VERSION_KEYS
        return " ".join(str(info[key]) for key in keys if info.get(key) is not None)

    @contextmanager
    def exclusive(self) -> Iterator[bool]:
        """Whether no other process holds this folder, which is made; always true elsewhere."""
        if (local := self.local) is None:
            yield True
            return
        local.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(local) as held:
            yield held

    @contextmanager
    def local_file(self, name: str) -> Iterator[Path]:
        """A path on this machine that holds the file; elsewhere it is a copy, removed afterwards.

        Raises LimnerError where a file elsewhere does not exist. Errors that name the copy name the
        file instead.
        """
        if self.local is not None:
            yield Path(self.path_of(name))
            return
        system, root = self._open()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / PurePosixPath(name).name
            for file in channel_paths(path):
                try:
                    system.get_file(f"{root}/{PurePosixPath(name).parent / file.name}", str(file))
                except FileNotFoundError as error:
                    raise LimnerError(f"{self.path_of(name)} does not exist.") from error
            try:
                yield path
            except LimnerError as error:
                raise LimnerError(str(error).replace(str(path), self.path_of(name))) from error

    def read_bytes(self, name: str) -> bytes | None:
        """A file's content; None where there is none."""
        system, root = self._open()
        try:
            content: bytes = system.cat_file(f"{root}/{name}")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        return content

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file, and the folders above it."""
        if (local := self.local) is not None:
            (local / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomic(local / name, content)
            return
        system, root = self._open()
        system.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
        system.pipe_file(f"{root}/{name}", content)

    def upload(self, name: str, path: Path) -> None:
        """Move a file of this machine there."""
        if (local := self.local) is not None:
            (local / name).parent.mkdir(parents=True, exist_ok=True)
            # A copy, since the file may lie on another disk
            with atomic_file(local / name) as part:
                shutil.copyfile(path, part)
        else:
            system, root = self._open()
            system.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
            system.put_file(str(path), f"{root}/{name}")
        path.unlink()

    def list_files(self, folder: str = "") -> list[str]:
        """The files at any depth in a folder of it, by their names, in order."""
        system, root = self._open()
        system.invalidate_cache()
        base = f"{root}/{folder}".rstrip("/")
        try:
            paths = [path for path in system.find(base) if path.startswith(f"{base}/")]
        except FileNotFoundError:
            return []
        return sorted(path[len(root) + 1 :] for path in paths)

    def remove_file(self, name: str) -> None:
        """Remove a file, if it exists."""
        system, root = self._open()
        if system.exists(f"{root}/{name}"):
            system.rm_file(f"{root}/{name}")

    def remove_folder(self, name: str) -> None:
        """Remove a folder with all that it holds, if it exists."""
        system, root = self._open()
        if system.exists(f"{root}/{name}"):
            system.rm(f"{root}/{name}", recursive=True)

    def _open(self) -> tuple[Any, str]:
        """The file system and the folder's path in it. Raises LimnerError where it cannot be
        reached.
        """
        if (local := self.local) is not None:
            from fsspec.implementations.local import LocalFileSystem

            return LocalFileSystem(), local.absolute().as_posix().rstrip("/")
        try:
            from fsspec.core import url_to_fs

            system, root = url_to_fs(str(self.root))
        except (ImportError, ValueError) as error:
            raise LimnerError(
                f"{self.root} cannot be reached: {error}. Install what it needs: s3fs for "
                "s3://, gcsfs for gs://."
            ) from error
        return system, root.rstrip("/")


def relative_prefix(inner: Storage, outer: Storage) -> str | None:
    """How names in `outer` begin that lie in `inner`; None where it is not below `outer`."""
    start, end = (f"{storage.path_of().rstrip('/')}/" for storage in (outer, inner))
    return end.removeprefix(start) if end.startswith(start) else None


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))
