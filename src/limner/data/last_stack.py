"""The stack that a thread has opened last, so that it is not read anew for each of its images."""

import hashlib
import io
import threading
from dataclasses import dataclass
from pathlib import Path

MOST_BYTES = 1 << 29
"""A larger file is not kept in memory."""

Signature = tuple[str, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Stack:
    """The content of a file of several images."""

    signature: Signature
    file: io.BytesIO
    sha256: bytes


class _Last(threading.local):
    stack: Stack | None = None


_LAST = _Last()


def sign(path: Path) -> Signature:
    """What of a file changes when it is written anew. Raises OSError where it is not there."""
    state = path.stat()
    return str(path), state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


def last_stack(path: Path) -> Stack | None:
    """The stack that this thread has kept, if it is this file and has not changed since."""
    stack = _LAST.stack
    if stack is None or stack.signature[0] != str(path):
        return None
    try:
        return stack if stack.signature == sign(path) else None
    except OSError:
        return None


def keep_stack(signature: Signature, content: bytes) -> Stack:
    """Keep the content of a file, in place of what this thread kept before."""
    stack = Stack(signature, io.BytesIO(content), hashlib.sha256(content).digest())
    _LAST.stack = stack
    return stack
