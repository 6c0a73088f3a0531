from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from limner.review.leases import LEASE_S, Leases
from limner.review.store import ReviewStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ReviewStore]:
    with closing(ReviewStore.in_folder(tmp_path)) as opened:
        yield opened


def test_a_lease_is_renewed_by_its_holder_and_expires(store: ReviewStore) -> None:
    clock = [0.0]
    leases = Leases(store, lambda: clock[0])
    assert (
        leases.acquire("a", "anna") is None
        and leases.acquire("a", "ben") == "anna"
        and leases.holder("b") is None
    )
    clock[0] += LEASE_S - 1
    # The holder renews it
    assert leases.acquire("a", "anna") is None
    clock[0] += LEASE_S - 1
    assert leases.acquire("a", "ben") == "anna"
    clock[0] += 1
    assert (
        leases.holder("a") is None
        and leases.acquire("a", "ben") is None
        and leases.holder("a") == "ben"
    )


def test_a_lease_can_be_taken_over_and_is_released_by_its_holder_alone(
    store: ReviewStore,
) -> None:
    leases = Leases(store, lambda: 0.0)
    leases.acquire("a", "anna")
    leases.release("a", "ben")
    assert leases.holder("a") == "anna"
    assert leases.acquire("a", "ben", over=True) is None and leases.holder("a") == "ben"
    leases.release("a", "ben")
    assert leases.holder("a") is None


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_servers_over_one_database_share_leases(
    tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/x.sqlite"
    if database == "postgresql":
        url = request.getfixturevalue("postgresql")
    with closing(ReviewStore(url)) as one, closing(ReviewStore(url)) as two:
        here, there = Leases(one, lambda: 0.0), Leases(two, lambda: 0.0)
        here.acquire("a", "anna")
        assert there.acquire("a", "ben") == "anna"
        there.refresh()
        assert there.holder("a") == "anna"
        here.release("a", "anna")
        there.reload("a")
        assert there.holder("a") is None and there.acquire("a", "ben") is None
