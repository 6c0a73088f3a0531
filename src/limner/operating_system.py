"""What not every operating system has. Each function does nothing where it is missing.

No other module calls what Windows or macOS lack; tests/test_operating_system.py looks for it.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8
"""Of glibc's mallopt(3)."""
KEPT_BYTES, PAD_BYTES = 1 << 30, 64 << 20


def keep_memory() -> None:
    """Keep memory that arrays give back, for the next ones.

    glibc maps each large array anew and unmaps it again, and the system clears every page: for
    images of a megapixel that took a fifth of the time. And each thread has memory of its own, so
    that what the reader of an image gave back would not serve the network. Elsewhere nothing is
    changed.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_TOP_PAD, PAD_BYTES)
        mallopt(M_ARENA_MAX, 1)


def hold_hangup() -> None:
    """Let SIGHUP wait until `take_hangup`; without it a process that gets one ends."""
    if hasattr(signal, "SIGHUP"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def take_hangup(loop: "AbstractEventLoop", function: Callable[[], None]) -> None:
    """Call a function within an event loop at each SIGHUP, one that waits included."""
    if hasattr(signal, "SIGHUP"):
        loop.add_signal_handler(signal.SIGHUP, function)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def lower_priority(steps: int) -> None:
    """Let other processes go before this one, by so many steps of nice(2)."""
    if hasattr(os, "nice"):
        os.nice(steps)
