"""Atomic writes, locks, checksums, JSON and stable reads of files.

A file that is written here is complete or absent, never half. Locks are filelock's: they lie beside
what they guard, since some network disks refuse every write to a locked file, and are removed after
use.
"""

import difflib
import errno
import hashlib
import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from limner.errors import LimnerError

if TYPE_CHECKING:
    from filelock import BaseFileLock

PART_SUFFIX, LOCK_SUFFIX, FOLDER_LOCK = ".part", ".lock", ".limner.lock"
POLL_S = 0.01
"""How often a lock that another holds is tried again."""
WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
"""Errors of network disks that know no locks. Nobody is kept out there."""
CHANNELS = re.compile(r"(?P<start>.+)\{(?P<endings>[^{}]+,[^{}]+)\}(?P<end>[^{}]*)")
"""Names of several files that hold a channel each."""
CHECKSUM_PLACEHOLDER = b"limner-sha256:" + b"0" * 64
"""Stands once in a file where its checksum will be written."""
Result = TypeVar("Result")
_CHECKSUM = re.compile(rb"limner-sha256:([0-9a-f]{64})")


def write_atomic(path: Path, content: bytes | str, *, durable: bool = False) -> None:
    """Write a file so that it is complete or what was there before.

    Text is written as UTF-8; a file name within it that is not valid text is replaced by question
    marks. With `durable` the call returns once the disk has it, so that it survives a loss of
    power. Raises OSError where the disk refuses; what was at `path` is then untouched.
    """
    with atomic_file(path, durable=durable) as part:
        text = content if isinstance(content, bytes) else content.encode("utf-8", errors="replace")
        part.write_bytes(text)


@contextmanager
def atomic_file(path: Path, *, durable: bool = False, new: bool = False) -> Iterator[Path]:
    """Give a temporary path beside `path`, which is renamed to it when the block ends without an
    error.

    Other writers of `path` wait meanwhile, so a read, a change and a write within the block are one
    step. With `durable` the file and its folder are synced. With `new` the file must not exist,
    neither when the block begins nor when it ends. Raises OSError where the disk refuses,
    FileExistsError where a `new` file exists.
    """
    part = path.with_name(path.name + PART_SUFFIX)
    with _file_lock(path.with_name(path.name + LOCK_SUFFIX)):
        try:
            yield part
            if durable:
                with part.open("rb+") as file:
                    os.fsync(file.fileno())
            if new and path.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    if durable:
        _sync_folder(path.parent)


@contextmanager
def atomic_folder(out: Path) -> Iterator[Path]:
    """Give a temporary folder that is renamed to `out` when the block ends without an error.

    Nothing is left where it fails. Raises FileExistsError where `out` exists by then.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".limner-", dir=out.parent) as temporary:
        part = Path(temporary) / "whole"
        part.mkdir()
        yield part
        try:
            part.rename(out)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
                raise
            strerror = os.strerror(errno.EEXIST)
            raise FileExistsError(errno.EEXIST, strerror, str(out)) from error


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[bool]:
    """Whether no other process or thread holds this lock of an existing folder; does not wait.

    The lock is a hidden file in the folder, `FOLDER_LOCK`, which is removed at the end.
    """
    with try_lock(folder / FOLDER_LOCK) as held:
        yield held


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Whether the lock at `path` could be taken at once. Its file is removed when the block
    ends.
    """
    # The help of the command line, which is to be quick, needs no locks
    from filelock import FileLock, Timeout

    # A generator that holds it may be closed in another thread
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
    try:
        yield True
    finally:
        _release(lock, path)


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    """Wait until no other process or thread holds the lock at `path`, which exists meanwhile."""
    from filelock import FileLock

    lock = FileLock(path)
    try:
        lock.acquire(poll_interval=POLL_S)
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
    try:
        yield
    finally:
        _release(lock, path)


def _release(lock: "BaseFileLock", path: Path) -> None:
    """Remove a lock's file while it is held, so that whoever waits for it takes a new one, and
    release it.
    """
    # Windows refuses to remove an open file; filelock does it after the release there
    with suppress(OSError):
        path.unlink(missing_ok=True)
    lock.release()


def require_folder(path: Path) -> None:
    """Raise LimnerError where there is no folder of images; the message names a similar one."""
    if path.is_dir():
        return
    names: list[str] = []
    # What cannot be listed proposes nothing
    with suppress(OSError), os.scandir(path.parent) as entries:
        names += [entry.name for entry in entries if entry.is_dir()]
    similar = difflib.get_close_matches(path.name, names, n=1)
    meant = f" Did you mean {path.parent / similar[0]}?" if similar else ""
    raise LimnerError(
        f"{path} is {'a file' if path.exists() else 'not there'}. Give a folder that holds images "
        f"and their masks.{meant}"
    )


def require_new(path: Path, option: str = "--out", alternative: str = "") -> None:
    """Raise LimnerError where something exists at a path that is to be written."""
    if path.exists():
        raise already_exists(path, option, alternative)


def already_exists(path: Path | str, option: str = "--out", alternative: str = "") -> LimnerError:
    """The error for a path that is to be written and exists.

    `option` is how the user names another one, `alternative` what else they may want to do.
    """
    cure = f"name another one with {option}" + (f", or {alternative}" if alternative else "")
    return LimnerError(f"{path} exists already. Nothing is overwritten: {cure}.")


def require_own_folder(folder: Path, marker: str, option: str = "--out") -> None:
    """Raise LimnerError where a folder of results holds anything but earlier results of its kind.

    Those are known by the file `marker` in it.
    """
    used = folder.is_file() or (folder.is_dir() and any(folder.iterdir()))
    if used and not (folder / marker).is_file():
        raise LimnerError(
            f"{folder} is in use and holds no {marker} of an earlier call. Nothing is "
            f"overwritten: name another folder with {option}."
        )


def require_empty_folder(folder: Path) -> None:
    """Raise LimnerError where a folder that is to be filled holds anything, or is a file."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise not_empty(folder)


def not_empty(folder: Path | str, option: str = "") -> LimnerError:
    """The error for a folder or URL that is to be filled and holds something."""
    how = f" with {option}" if option else ""
    return LimnerError(f"{folder} is not empty. Nothing is overwritten: name a new folder{how}.")


def channel_paths(path: Path) -> tuple[Path, ...]:
    """The files that a name such as x_{ch00,ch01}.tif stands for; else the path alone.

    Each holds a channel of one image. A file that bears such a name itself is one file.
    """
    match = CHANNELS.fullmatch(path.name)
    if match is None or path.exists():
        return (path,)
    return tuple(
        path.with_name(f"{match['start']}{ending}{match['end']}")
        for ending in match["endings"].split(",")
    )


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal.

    Of a folder that is one image it is that of the names and contents of all its files, and of
    several files that are one image that of their own hashes.
    """
    if len(files := channel_paths(path)) > 1:
        return join_sha256(bytes.fromhex(sha256_of_file(file)) for file in files).hex()
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for inner in sorted(entry for entry in path.rglob("*") if entry.is_file()):
        digest.update(f"{inner.relative_to(path).as_posix()}\0{sha256_of_file(inner)}\n".encode())
    return digest.hexdigest()


def join_sha256(hashes: Iterable[bytes]) -> bytes:
    """The SHA-256 of several hashes, in their order."""
    return hashlib.sha256(b"".join(hashes)).digest()


def read_stable(paths: Sequence[Path], read: Callable[[], Result]) -> tuple[Result, list[str]]:
    """Call `read` and give its result with the SHA-256 of each file, empty for a missing one.

    It is called again where a file was replaced meanwhile, so that result and checksums belong
    together.
    """

    def checksums() -> list[str]:
        return [sha256_of_file(path) if path.is_file() else "" for path in paths]

    before = checksums()
    while True:
        result, after = read(), checksums()
        if after == before:
            return result, after
        before = after


def printable_name(name: str) -> str:
    """A file name as valid text; bytes that are none are written as escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def embed_checksum(content: bytes, companion: bytes = b"") -> bytes:
    """Replace the one `CHECKSUM_PLACEHOLDER` by the SHA-256 of the content and of the file that
    goes with it.
    """
    assert content.count(CHECKSUM_PLACEHOLDER) == 1
    checksum = hashlib.sha256(content + companion).hexdigest().encode()
    return content.replace(CHECKSUM_PLACEHOLDER, CHECKSUM_PLACEHOLDER[:14] + checksum)


def verify_checksum(content: bytes, companion: bytes = b"") -> tuple[bool, int]:
    """Whether a content matches its embedded checksum, and the offset behind that. Nothing of it is
    parsed.
    """
    checksums = list(_CHECKSUM.finditer(content))
    if len(checksums) != 1:
        return False, 0
    start, end = checksums[0].span()
    original = content[:start] + CHECKSUM_PLACEHOLDER + content[end:] + companion
    return hashlib.sha256(original).hexdigest().encode() == checksums[0][1], end


def _sync_folder(folder: Path) -> None:
    """Wait until the disk has a folder's entries. Windows and some network disks cannot: nothing is
    done there.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(handle)


def dump_json(content: Any, indent: int | None = 2) -> str:
    """Write JSON as text with a newline; numbers that are not finite become null.

    JSON knows no NaN, and other programs refuse a file that holds one.
    """
    return json.dumps(_without_nan(content), indent=indent) + "\n"


def json_sha256(content: Any) -> str:
    """Hash what JSON can hold, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _without_nan(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
