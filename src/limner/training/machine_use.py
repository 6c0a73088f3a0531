"""Whether another training runs on this machine: both would take longer."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from limner.data.cache import cache_folder
from limner.files import try_lock

LOCK = "training.lock"
"""In the cache; the first training of this user holds it."""


@contextmanager
def occupy_machine() -> Iterator[bool]:
    """Say to other processes that this one trains. Gives whether it is the only one."""
    with try_lock(_lock_path()) as is_alone:
        yield is_alone


def is_machine_occupied() -> bool:
    """Whether a process of this user trains now."""
    with try_lock(_lock_path()) as is_free:
        return not is_free


def _lock_path() -> Path:
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return folder / LOCK
