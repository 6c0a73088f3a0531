"""Who is looking at what. A lease ends by itself when its holder is silent; the clock is one that
nobody can set.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

LEASE_S = 600.0


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds it, and until when on the clock."""

    holder: str
    until: float


class Leases:
    """Of one server. They keep people from the same work; what they write is kept apart by
    versions, whoever holds what.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[str, Lease] = {}

    def acquire(self, key: str, reviewer: str, *, over: bool = False) -> str | None:
        """Take or lengthen a lease. The name of who holds it where that is another, and `over` does
        not take it from them.
        """
        owner = self.holder(key)
        if owner not in {None, reviewer} and not over:
            return owner
        self._held[key] = Lease(reviewer, self._clock() + LEASE_S)
        return None

    def release(self, key: str, reviewer: str) -> None:
        if self.holder(key) == reviewer:
            # Another thread may have done it
            self._held.pop(key, None)

    def holder(self, key: str) -> str | None:
        """Who holds it now."""
        lease = self._held.get(key)
        if lease and lease.until <= self._clock():
            self._held.pop(key, None)
            return None
        return lease.holder if lease else None
