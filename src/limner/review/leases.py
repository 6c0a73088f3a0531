"""Leases: who works on which task at the moment.

A lease expires when its holder is silent. The clock is monotonic, so that nobody can set it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

LEASE_S = 600.0


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds it, and until which time of the clock."""

    holder: str
    until: float


class Leases:
    """The leases of one server.

    They only keep people from doing the same work twice. Versions protect what people write,
    whoever holds a lease.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[str, Lease] = {}

    def acquire(self, key: str, reviewer: str, *, over: bool = False) -> str | None:
        """Take or renew a lease. Return the holder's name where somebody else has it.

        With `over` it is taken from whoever holds it.
        """
        holder = self.holder(key)
        if holder not in {None, reviewer} and not over:
            return holder
        self._held[key] = Lease(reviewer, self._clock() + LEASE_S)
        return None

    def release(self, key: str, reviewer: str) -> None:
        """Give a lease up, if this reviewer holds it."""
        if self.holder(key) == reviewer:
            # Another thread may have released it since
            self._held.pop(key, None)

    def holder(self, key: str) -> str | None:
        """Who holds a lease now."""
        lease = self._held.get(key)
        if lease and lease.until <= self._clock():
            self._held.pop(key, None)
            return None
        return lease.holder if lease else None
