from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.data.sample import Sample, Split
from limner.data.splits import SplitFacts, apply_split, split_ids, split_samples
from limner.errors import LimnerError


def samples(count: int, side: Split | None = None, groups: int = 0) -> list[Sample]:
    return [
        Sample(
            f"{side}{i:04}",
            Path(f"{i}.png"),
            Path(f"{i}.png"),
            side,
            f"g{i % groups}" if groups else None,
        )
        for i in range(count)
    ]


def cut(
    members: list[Sample],
    seed: int = 0,
    copies: dict[str, str] | None = None,
    foreground: dict[str, float] | None = None,
    digest: dict[str, str] | None = None,
    classes: dict[str, frozenset[int]] | None = None,
) -> dict[str, list[Sample]]:
    return split_samples(
        members,
        validation_fraction=0.1,
        test_fraction=0.2,
        seed=seed,
        facts=SplitFacts(digest or {}, copies or {}, foreground or {}, classes or {}),
    )


@given(st.permutations(range(40)), st.integers(0, 5))
def test_a_split_does_not_depend_on_the_order(order: list[int], seed: int) -> None:
    ordered = samples(40)
    assert cut([ordered[i] for i in order], seed) == cut(ordered, seed)


@given(st.permutations(range(40)))
def test_a_split_does_not_depend_on_names(names: list[int]) -> None:
    digest = {sample.id: f"d{i}" for i, sample in enumerate(samples(40))}
    renamed = {sample.id: f"d{i}" for sample, i in zip(samples(40), names, strict=True)}
    sides, again = cut(samples(40), digest=digest), cut(samples(40), digest=renamed)
    assert all(
        {digest[s.id] for s in sides[name]} == {renamed[s.id] for s in again[name]}
        for name in sides
    )


@given(st.integers(3, 120), st.integers(0, 9))
def test_every_sample_is_on_one_side_and_no_side_is_empty(count: int, seed: int) -> None:
    sides = cut(samples(count), seed)
    assert sorted(sample.id for side in sides.values() for sample in side) == [
        sample.id for sample in samples(count)
    ]
    assert all(sides.values())


@given(
    st.lists(st.tuples(st.integers(0, 59), st.integers(0, 59)), max_size=40),
    st.integers(2, 30),
    st.integers(0, 3),
)
def test_copies_and_groups_stay_together(
    links: list[tuple[int, int]], groups: int, seed: int
) -> None:
    from limner.data.duplicates import connected_components

    members = samples(60, groups=0)
    members = [
        Sample(s.id, s.image, s.mask, None, f"g{i % groups}" if i % 3 == 0 else None)
        for i, s in enumerate(members)
    ]
    lowest = connected_components(60, links)
    copies = {sample.id: members[low].id for sample, low in zip(members, lowest, strict=True)}
    try:
        sides = cut(members, seed, copies)
    except LimnerError:
        # So much stays together that too little is left
        return
    side_of = {sample.id: name for name, side in sides.items() for sample in side}
    assert all(side_of[id] == side_of[other] for id, other in copies.items())
    by_group = {}
    for sample in members:
        if sample.group:
            assert by_group.setdefault(sample.group, side_of[sample.id]) == side_of[sample.id]


def test_the_fractions_are_kept() -> None:
    sides = cut(samples(1000))
    assert abs(len(sides["test"]) - 200) <= 5
    assert abs(len(sides["val"]) - 100) <= 5


def test_every_side_has_small_and_large_foregrounds_alike() -> None:
    members = samples(300)
    shares = np.random.default_rng(0).beta(0.6, 3, 300)
    foreground = {sample.id: float(share) for sample, share in zip(members, shares, strict=True)}
    for seed in range(5):
        means = {
            name: np.mean([foreground[s.id] for s in side])
            for name, side in cut(members, seed, foreground=foreground).items()
        }
        assert max(means.values()) - min(means.values()) < 0.02, means


def test_another_seed_gives_another_split() -> None:
    assert cut(samples(100), 0) != cut(samples(100), 1)


def test_official_splits_are_kept() -> None:
    sides = cut(samples(5, "train") + samples(2, "val") + samples(3, "test"))
    assert {side: len(members) for side, members in sides.items()} == {
        "train": 5,
        "val": 2,
        "test": 3,
    }


def test_an_official_set_without_validation_cuts_it_from_training() -> None:
    sides = cut(samples(50, "train") + samples(9, "test"))
    assert len(sides["test"]) == 9
    assert sides["val"]
    assert {sample.split for sample in sides["val"]} == {"train"}


def test_a_single_sample_cannot_be_split() -> None:
    with pytest.raises(LimnerError, match="add samples"):
        cut(samples(1))


def test_one_group_alone_cannot_be_split() -> None:
    with pytest.raises(LimnerError, match="samples of one group stay together"):
        cut(samples(20, groups=1))


@given(st.sets(st.integers(0, 39), min_size=1, max_size=5), st.integers(0, 5))
def test_a_rare_class_is_trained_on_and_the_sizes_stay(holders: set[int], seed: int) -> None:
    members = samples(40, groups=20)
    classes = {s.id: frozenset({0, 1} if i in holders else {0}) for i, s in enumerate(members)}
    sides, without = cut(members, seed, classes=classes), cut(members, seed)
    assert any(1 in classes[sample.id] for sample in sides["train"])
    assert abs(len(sides["test"]) - len(without["test"])) <= 2
    if any(1 in classes[sample.id] for sample in without["train"]):
        assert sides == without
    side_of = {sample.id: name for name, side in sides.items() for sample in side}
    groups = {sample.group: side_of[sample.id] for sample in members}
    assert all(side_of[sample.id] == groups[sample.group] for sample in members)


@given(st.permutations(range(40)))
def test_a_split_of_rare_classes_does_not_depend_on_names(names: list[int]) -> None:
    def split(numbers: list[int]) -> dict[str, set[str]]:
        digest = {s.id: f"d{i}" for s, i in zip(samples(40), numbers, strict=True)}
        classes = {id: frozenset({int(d[1:]) % 15}) for id, d in digest.items()}
        sides = cut(samples(40), digest=digest, classes=classes)
        return {name: {digest[s.id] for s in side} for name, side in sides.items()}

    assert split(list(range(40))) == split(names)


def test_images_of_a_class_each_leave_nothing_to_validate_on() -> None:
    classes = {sample.id: frozenset({i}) for i, sample in enumerate(samples(3))}
    with pytest.raises(LimnerError, match="each class is trained on"):
        cut(samples(3), classes=classes)


def test_a_class_of_an_official_test_split_is_left_there() -> None:
    members = samples(30, "train") + samples(9, "test")
    classes = {sample.id: frozenset({0 if sample.split == "train" else 1}) for sample in members}
    sides = cut(members, classes=classes)
    assert len(sides["test"]) == 9 and sides["val"]


def test_a_recorded_split_is_found_again_and_new_samples_are_named() -> None:
    sides = cut(samples(30))
    again = apply_split(samples(33), split_ids(sides))
    assert {name: again[name] for name in sides} == sides
    assert [sample.id for sample in again["new"]] == ["None0030", "None0031", "None0032"]
