"""Files that are whole or not there: what stood at a path stays until what replaces it is complete; and a seal that a flipped bit breaks."""

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PART = ".part"
UNSEALED = b"limner-sha256:" + b"0" * 64
"""What a file holds once, where its seal will stand."""
_SEAL = re.compile(rb"limner-sha256:([0-9a-f]{64})")


def write_whole(path: Path, content: bytes | str, *, lasting: bool = False) -> None:
    """Write through a temporary file beside `path`, which is renamed when it is complete, and removed where that fails.

    `lasting` waits until the disk has it (fsync of the file, rename, fsync of the folder), so that it survives a loss of power. Raises
    OSError where the disk does not take it; what stood at `path` is then untouched.
    """
    temporary = path.with_name(path.name + PART)
    try:
        with temporary.open("wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode("utf-8", errors="replace"))  # a file name may be no text at all
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
        if lasting:
            _sync_folder(path.parent)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A new folder that takes its name once all of it is there; where that fails nothing is left, and nothing else is touched."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name[:100]}-", dir=out.parent) as around:
        part = Path(around) / "whole"
        part.mkdir()
        yield part
        part.rename(out)


def sha256_of(path: Path) -> str:
    """Of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def readable(name: str) -> str:
    """A file name as text: bytes that are none are spelled out."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def seal(content: bytes, beside: bytes = b"") -> bytes:
    """The content with its SHA-256, and that of what lies `beside` it, in the place of `UNSEALED`."""
    assert content.count(UNSEALED) == 1
    return content.replace(UNSEALED, UNSEALED[:14] + hashlib.sha256(content + beside).hexdigest().encode())


def unsealed(content: bytes, beside: bytes = b"") -> tuple[bool, int]:
    """Whether a content is as it was sealed, and where its seal ends; nothing of it is parsed."""
    seals = list(_SEAL.finditer(content))
    if len(seals) != 1:
        return False, 0
    start, end = seals[0].span()
    return hashlib.sha256(content[:start] + UNSEALED + content[end:] + beside).hexdigest().encode() == seals[0][1], end


def _sync_folder(folder: Path) -> None:
    """Some systems and network disks cannot; then the rename lasts when they think so."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(handle)
