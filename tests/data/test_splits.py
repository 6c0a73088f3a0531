from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.data.folder import Sample, Split
from limner.data.splits import digest, split
from limner.errors import LimnerError


def samples(count: int, side: Split | None = None) -> list[Sample]:
    return [Sample(f"{side}{i}", Path(f"{i}.png"), Path(f"{i}.png"), side) for i in range(count)]


@given(st.permutations(range(40)), st.integers(0, 5))
def test_a_split_does_not_depend_on_the_order(order: list[int], seed: int) -> None:
    ordered = samples(40)
    assert split([ordered[i] for i in order], 0.1, 0.2, seed) == split(ordered, 0.1, 0.2, seed)


def test_adding_samples_moves_none() -> None:
    few, many = split(samples(300), 0.1, 0.2, 0), split(samples(400), 0.1, 0.2, 0)
    assert all(set(few[side]) <= set(many[side]) for side in few)


def test_the_shares_are_about_what_was_asked() -> None:
    sides = split(samples(4000), 0.1, 0.2, 0)
    assert abs(len(sides["test"]) - 800) < 100
    assert abs(len(sides["val"]) - 400) < 80


def test_official_splits_are_kept() -> None:
    sides = split(samples(5, "train") + samples(2, "val") + samples(3, "test"), 0.5, 0.5, 0)
    assert {side: len(members) for side, members in sides.items()} == {"train": 5, "val": 2, "test": 3}


def test_an_official_set_without_validation_cuts_it_from_training() -> None:
    sides = split(samples(50, "train") + samples(9, "test"), 0.1, 0.2, 0)
    assert len(sides["test"]) == 9
    assert sides["val"]
    assert {sample.split for sample in sides["val"]} == {"train"}


def test_a_tiny_set_still_has_every_side() -> None:
    assert all(split(samples(3), 0.1, 0.2, 0).values())


def test_a_single_sample_cannot_be_split() -> None:
    with pytest.raises(LimnerError, match="add samples"):
        split(samples(1), 0.1, 0.2, 0)


def test_the_digest_depends_on_the_ids_alone() -> None:
    assert digest(samples(5)) == digest(samples(5)[::-1]) != digest(samples(6))
