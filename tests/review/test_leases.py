from limner.review.leases import LEASE_S, Leases


def test_a_lease_is_kept_by_its_holder_and_ends_by_itself() -> None:
    clock = [0.0]
    leases = Leases(lambda: clock[0])
    assert leases.take("a", "anna") is None and leases.take("a", "ben") == "anna" and leases.owner("b") is None
    clock[0] += LEASE_S - 1
    assert leases.take("a", "anna") is None  # a heartbeat
    clock[0] += LEASE_S - 1
    assert leases.take("a", "ben") == "anna"
    clock[0] += 1
    assert leases.owner("a") is None and leases.take("a", "ben") is None and leases.owner("a") == "ben"


def test_it_can_be_taken_over_and_given_back_by_its_holder_alone() -> None:
    leases = Leases(lambda: 0.0)
    leases.take("a", "anna")
    leases.give_back("a", "ben")
    assert leases.owner("a") == "anna"
    assert leases.take("a", "ben", over=True) is None and leases.owner("a") == "ben"
    leases.give_back("a", "ben")
    assert leases.owner("a") is None
