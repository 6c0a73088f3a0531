"""How the process takes memory from the system."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Of glibc's mallopt(3)."""
KEPT_BYTES, PAD_BYTES = 1 << 30, 64 << 20


def keep_memory() -> None:
    """Keep memory that arrays give back, for the next ones.

    glibc maps each large array anew and unmaps it again, and the system clears every page: for
    images of a megapixel that took a fifth of the time. Elsewhere nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_TOP_PAD, PAD_BYTES)
