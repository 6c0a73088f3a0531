"""Leases: who works on which task at the moment.

They lie in the review's database, so that several servers over one database share them. A lease
expires when its holder is silent.
"""

import time
from collections.abc import Callable

from limner.review.events import Lease
from limner.review.store import ReviewStore

LEASE_S = 600.0


class Leases:
    """The leases of a review, as one server knows them.

    They only keep people from doing the same work twice. Versions protect what people write,
    whoever holds a lease. That is why a server may know of a lease a little late.

    Args:
        store: Where they lie.
        clock: Gives the time in seconds since the epoch. Servers over one database agree on it.
    """

    def __init__(self, store: ReviewStore, clock: Callable[[], float] = time.time) -> None:
        self._store, self._clock = store, clock
        self._held = store.leases()

    def refresh(self) -> None:
        """Take over what other servers wrote."""
        self._held = self._store.leases()

    def reload(self, key: str) -> None:
        """Take over what other servers wrote of one task."""
        self._remember(key, self._store.lease(key))

    def acquire(self, key: str, reviewer: str, *, over: bool = False) -> str | None:
        """Take or renew a lease. Return the holder's name where somebody else has it.

        With `over` it is taken from whoever holds it.
        """
        now = self._clock()
        lease = self._store.take_lease(key, Lease(reviewer, now + LEASE_S), now, over=over)
        self._remember(key, lease)
        return None if lease.holder == reviewer else lease.holder

    def release(self, key: str, reviewer: str) -> None:
        """Give a lease up, if this reviewer holds it."""
        self._remember(key, self._store.drop_lease(key, reviewer))

    def holder(self, key: str) -> str | None:
        """Who holds a lease now."""
        lease = self._held.get(key)
        return lease.holder if lease and lease.until > self._clock() else None

    def _remember(self, key: str, lease: Lease | None) -> None:
        if lease:
            self._held[key] = lease
        else:
            # Another thread may have released it since
            self._held.pop(key, None)
