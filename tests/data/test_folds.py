from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.data.folds import deal_folds, fold_split
from limner.data.sample import Sample
from limner.data.splits import SplitFacts
from limner.errors import LimnerError


def samples(groups: list[int | None]) -> list[Sample]:
    return [
        Sample(
            f"{number:03}",
            Path(f"{number}.png"),
            Path(f"{number}.png"),
            group=None if group is None else f"patient {group}",
        )
        for number, group in enumerate(groups)
    ]


def facts(members: list[Sample]) -> SplitFacts:
    shares = {sample.id: (int(sample.id) * 37 % 101) / 101 for sample in members}
    return SplitFacts(
        digest={s.id: f"pixels of {s.id}" for s in members}, copies={}, foreground=shares
    )


@given(st.lists(st.sampled_from([None, *range(12)]), min_size=5, max_size=60), st.integers(2, 5))
@settings(deadline=None, max_examples=60)
def test_every_sample_is_in_one_fold_and_groups_stay_together(
    groups: list[int | None], folds: int
) -> None:
    members = samples(groups)
    units = len({g for g in groups if g is not None}) + groups.count(None)
    if units < folds:
        with pytest.raises(
            LimnerError, match=rf"cannot be dealt out to {folds} folds. Take at most"
        ):
            deal_folds(members, folds, 0, facts(members))
        return
    dealt = deal_folds(members, folds, 0, facts(members))
    assert sorted(s.id for fold in dealt for s in fold) == [s.id for s in members]
    assert all(dealt)
    for name in {s.group for s in members if s.group}:
        assert sum(any(s.group == name for s in fold) for fold in dealt) == 1


def test_folds_are_of_one_size_and_of_like_foregrounds() -> None:
    members = samples([None] * 103)
    known = facts(members)
    dealt = deal_folds(members, 5, 0, known)
    assert sorted(map(len, dealt)) == [20, 20, 21, 21, 21]
    means = [sum(known.foreground[s.id] for s in fold) / len(fold) for fold in dealt]
    assert max(means) - min(means) < 0.05


def test_folds_do_not_depend_on_the_order_and_differ_by_seed() -> None:
    members = samples([None, None, 1, 1, 2, 2, 3, None, 4, 4, 5, None])

    def ids(order: list[Sample], seed: int) -> list[set[str]]:
        return [{s.id for s in fold} for fold in deal_folds(order, 3, seed, facts(members))]

    assert ids(members, 0) == ids(members[::-1], 0)
    assert any(ids(members, 0) != ids(members, seed) for seed in range(1, 5))


def test_the_test_split_is_in_no_fold() -> None:
    members = samples([None] * 12)
    sides = {"train": members[:6], "val": members[6:9], "test": members[9:]}
    splits = [fold_split(sides, fold, 3, 0, facts(members)) for fold in range(3)]
    validated = [s.id for split in splits for s in split["val"]]
    assert sorted(validated) == [s.id for s in members[:9]]
    for split in splits:
        assert split["test"] == members[9:]
        assert {s.id for s in split["train"]} == {s.id for s in members[:9]} - {
            s.id for s in split["val"]
        }


@pytest.mark.parametrize(
    ("fold", "folds", "message"),
    [(3, 3, "data.fold is 3. Of 3 folds it is 0 to 2"), (0, 1, "has at least 2 folds")],
)
def test_a_fold_that_there_is_not_is_refused(fold: int, folds: int, message: str) -> None:
    members = samples([None] * 6)
    sides = {"train": members[:4], "val": members[4:], "test": []}
    with pytest.raises(LimnerError, match=message):
        fold_split(sides, fold, folds, 0, facts(members))
