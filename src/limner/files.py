"""Files that are whole or not there: what stood at a path stays until what replaces it is complete."""

import errno
import os
from pathlib import Path

PART = ".part"


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
