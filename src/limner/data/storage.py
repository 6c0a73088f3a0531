"""Folders of files, on this machine or wherever fsspec reaches (s3://, gs://, memory://), behind
one way to read and write.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from limner.data.images import IMAGE_SUFFIXES
from limner.data.scan import find_images
from limner.errors import LimnerError
from limner.files import atomic_file, exclusive_lock, write_atomic


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A folder of this machine. Names are relative to it, with slashes; what is written is whole or
    not there.
    """

    root: Path

    def list_images(self) -> list[str]:
        """The image files below it, hidden ones left out, in order."""
        return (
            [path.relative_to(self.root).as_posix() for path in find_images(self.root)]
            if self.root.is_dir()
            else []
        )

    def is_empty(self) -> bool:
        """Whether nothing is there, or it is not there itself."""
        return not self.root.exists() or (self.root.is_dir() and not any(self.root.iterdir()))

    def path_of(self, name: str) -> str:
        """How a file of it is called by people and other programs."""
        return str((self.root / name).resolve())

    def fingerprint(self, name: str) -> str:
        """Another one where the file was changed; empty where there is none."""
        try:
            about = (self.root / name).stat()
        except OSError:
            return ""
        return f"{about.st_size} {about.st_mtime_ns}"

    @contextmanager
    def exclusive(self) -> Iterator[bool]:
        """Whether no other process is in such a block for this folder, which is made."""
        self.root.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(self.root) as alone:
            yield alone

    @contextmanager
    def local_file(self, name: str) -> Iterator[Path]:
        """A path that holds the file."""
        yield self.root / name

    def read_bytes(self, name: str) -> bytes | None:
        """A file's content; None where there is none."""
        path = self.root / name
        return path.read_bytes() if path.is_file() else None

    def write_bytes(self, name: str, content: bytes) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self.root / name, content)

    def upload(self, name: str, path: Path) -> None:
        """Move a file of this machine there."""
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(target) as part:
            # May be from another disk
            shutil.copyfile(path, part)
        path.unlink()

    def list_files(self, name: str) -> list[str]:
        """The files in a folder of it, by their names."""
        folder = self.root / name
        return (
            [
                path.relative_to(self.root).as_posix()
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            ]
            if folder.is_dir()
            else []
        )

    def remove_folder(self, name: str) -> None:
        """A folder with all that it holds."""
        shutil.rmtree(self.root / name, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """A folder elsewhere, by its URL; as `Local` otherwise. A file that is read is copied to this
    machine.
    """

    url: str

    def list_images(self) -> list[str]:
        return [
            name
            for name in self._names("")
            if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
            and not any(p.startswith(".") for p in name.split("/"))
        ]

    def is_empty(self) -> bool:
        return not self._names("")

    def path_of(self, name: str) -> str:
        return f"{self.url.rstrip('/')}/{name}"

    def fingerprint(self, name: str) -> str:
        system, root = self._open()
        try:
            about = system.info(f"{root}/{name}")
        except FileNotFoundError:
            return ""
        return " ".join(
            str(about[key])
            for key in ("size", "ETag", "etag", "mtime", "created")
            if about.get(key) is not None
        )

    @contextmanager
    def exclusive(self) -> Iterator[bool]:
        """Nobody can be kept out there."""
        yield True

    @contextmanager
    def local_file(self, name: str) -> Iterator[Path]:
        system, root = self._open()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / PurePosixPath(name).name
            try:
                system.get_file(f"{root}/{name}", str(path))
            except FileNotFoundError as error:
                raise LimnerError(f"{self.path_of(name)} does not exist.") from error
            try:
                yield path
            except LimnerError as error:
                raise LimnerError(str(error).replace(str(path), self.path_of(name))) from error

    def read_bytes(self, name: str) -> bytes | None:
        system, root = self._open()
        try:
            content: bytes = system.cat_file(f"{root}/{name}")
        except FileNotFoundError:
            return None
        return content

    def write_bytes(self, name: str, content: bytes) -> None:
        system, root = self._open()
        system.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
        system.pipe_file(f"{root}/{name}", content)

    def upload(self, name: str, path: Path) -> None:
        system, root = self._open()
        system.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
        system.put_file(str(path), f"{root}/{name}")
        path.unlink()

    def list_files(self, name: str) -> list[str]:
        return [f"{name}/{inner}" for inner in self._names(name)]

    def remove_folder(self, name: str) -> None:
        system, root = self._open()
        if system.exists(f"{root}/{name}"):
            system.rm(f"{root}/{name}", recursive=True)

    def _names(self, inner: str) -> list[str]:
        system, root = self._open()
        base = f"{root}/{inner}".rstrip("/")
        system.invalidate_cache()
        try:
            return sorted(
                path[len(base) + 1 :] for path in system.find(base) if path.startswith(f"{base}/")
            )
        except FileNotFoundError:
            return []

    def _open(self) -> tuple[Any, str]:
        """The file system and the folder in it."""
        try:
            from fsspec.core import url_to_fs

            system, root = url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise LimnerError(
                f"{self.url} cannot be reached: {error}. pip install fsspec, and s3fs for "
                "s3:// or gcsfs for gs://."
            ) from error
        return system, root.rstrip("/")


Storage = LocalFolder | RemoteFolder


def relative_prefix(inner: Storage, outer: Storage) -> str | None:
    """What names in `outer` begin with that lie in `inner`; None where it is elsewhere."""
    start, end = (f"{one.path_of('').rstrip('/')}/" for one in (outer, inner))
    return end.removeprefix(start) if end.startswith(start) else None


def open_storage(where: str | Path) -> Storage:
    """A folder by its path or URL."""
    return (
        RemoteFolder(where)
        if isinstance(where, str) and "://" in where
        else LocalFolder(Path(where))
    )
