"""Files that are whole or not there: what stood at a path stays until what replaces it is complete;
and a seal that a flipped bit breaks.
"""

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

try:
    import fcntl
except ImportError:
    # Windows has none, and there nobody is kept out
    fcntl = None  # type: ignore[assignment]

PART_SUFFIX, LOCK_SUFFIX = ".part", ".lock"
CHECKSUM_PLACEHOLDER = b"limner-sha256:" + b"0" * 64
"""What a file holds once, where its seal will stand."""
Result = TypeVar("Result")
_SEAL = re.compile(rb"limner-sha256:([0-9a-f]{64})")


def write_atomic(path: Path, content: bytes | str, *, lasting: bool = False) -> None:
    """Write through a temporary file beside `path`, which is renamed when it is complete, and
    removed where that fails.

    `lasting` waits until the disk has it (fsync of the file, rename, fsync of the folder), so that
    it survives a loss of power. Raises OSError where the disk does not take it; what stood at
    `path` is then untouched.
    """
    with atomic_file(path, lasting=lasting) as part:
        part.write_bytes(
            content if isinstance(content, bytes) else content.encode("utf-8", errors="replace")
            # A file name may be no text at all
        )


@contextmanager
def atomic_file(path: Path, *, lasting: bool = False, new: bool = False) -> Iterator[Path]:
    """A file beside `path` to write, which takes its name when the block ends well, and is removed
    where it does not.

    Other writers of `path` wait meanwhile, so that what is read of it in the block and written
    changed is one step. `lasting` is as above. Raises OSError where the disk does not take it,
    FileExistsError where a `new` file is there, also one that was not there when the block began.
    """
    part = path.with_name(path.name + PART_SUFFIX)
    with _held(path.with_name(path.name + LOCK_SUFFIX)):
        try:
            yield part
            if lasting:
                with part.open("rb+") as file:
                    os.fsync(file.fileno())
            if new and path.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    if lasting:
        _sync_folder(path.parent)


@contextmanager
def _held(lock: Path) -> Iterator[None]:
    """Wait until no other process or thread is in such a block for this file, which is there
    meanwhile.

    It is not the file that is written, since some network disks refuse all writing into a locked
    one.
    """
    if fcntl is None:
        yield
        return
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            with suppress(
                OSError
                # A network disk may know no locks, and there nobody is kept out
            ):
                fcntl.flock(handle, fcntl.LOCK_EX)
            if _is(lock, handle):
                # Not one that the writer before us removed
                try:
                    yield
                finally:
                    lock.unlink(missing_ok=True)
                return
        finally:
            _release(handle)


def _release(handle: int) -> None:
    """Close a file and give up its lock, also where a forked process has the file open still."""
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_UN)
    os.close(handle)


def _is(path: Path, handle: int) -> bool:
    """Whether the path is still that of an open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[bool]:
    """Whether no other process is in such a block for this folder, which must be there. It leaves
    no trace.
    """
    if fcntl is None:
        yield True
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:
            # As above
            pass
        yield True
    finally:
        _release(handle)


@contextmanager
def atomic_folder(out: Path) -> Iterator[Path]:
    """A new folder that takes its name once all of it is there; where that fails nothing is left,
    and nothing else is touched.

    Raises FileExistsError where by then another has the name.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".limner-", dir=out.parent) as around:
        part = Path(around) / "whole"
        part.mkdir()
        yield part
        try:
            part.rename(out)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                raise
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(out)) from error


def sha256_of_file(path: Path) -> str:
    """Of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_stable(paths: Sequence[Path], read: Callable[[], Result]) -> tuple[Result, list[str]]:
    """What is read of files, and the SHA-256 of each: it is read again where a file was replaced
    while it was read. Of what is not there it is empty.
    """

    def digests() -> list[str]:
        return [sha256_of_file(path) if path.is_file() else "" for path in paths]

    before = digests()
    while True:
        found, after = read(), digests()
        if after == before:
            return found, after
        before = after


def printable_name(name: str) -> str:
    """A file name as text: bytes that are none are spelled out."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def embed_checksum(content: bytes, beside: bytes = b"") -> bytes:
    """The content with its SHA-256, and that of what lies `beside` it, in the place of
    `UNSEALED`.
    """
    assert content.count(CHECKSUM_PLACEHOLDER) == 1
    return content.replace(
        CHECKSUM_PLACEHOLDER,
        CHECKSUM_PLACEHOLDER[:14] + hashlib.sha256(content + beside).hexdigest().encode(),
    )


def verify_checksum(content: bytes, beside: bytes = b"") -> tuple[bool, int]:
    """Whether a content is as it was sealed, and where its seal ends; nothing of it is parsed."""
    seals = list(_SEAL.finditer(content))
    if len(seals) != 1:
        return False, 0
    start, end = seals[0].span()
    return hashlib.sha256(
        content[:start] + CHECKSUM_PLACEHOLDER + content[end:] + beside
    ).hexdigest().encode() == seals[0][1], end


def _sync_folder(folder: Path) -> None:
    """Some systems and network disks cannot; then the rename lasts when they think so."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:
        # Windows
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(handle)
