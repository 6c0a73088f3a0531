from limner.review.leases import LEASE_S, Leases


def test_a_lease_is_renewed_by_its_holder_and_expires() -> None:
    clock = [0.0]
    leases = Leases(lambda: clock[0])
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


def test_a_lease_can_be_taken_over_and_is_released_by_its_holder_alone() -> None:
    leases = Leases(lambda: 0.0)
    leases.acquire("a", "anna")
    leases.release("a", "ben")
    assert leases.holder("a") == "anna"
    assert leases.acquire("a", "ben", over=True) is None and leases.holder("a") == "ben"
    leases.release("a", "ben")
    assert leases.holder("a") is None
