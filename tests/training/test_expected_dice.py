import csv
from itertools import combinations
from pathlib import Path

import pytest

from limner.training.expected_dice import expected_dice

TABLE = Path(__file__).parents[2] / "benchmarks" / "dice_against_time.csv"
CLEAR = 0.04
"""A difference of Dice that another seed would not turn over."""


def expected(row: dict[str, str]) -> float:
    return expected_dice(
        float(row["ceiling"]),
        float(row["shown"]),
        pretrained=True,
        binary=row["data"] != "camvid",
        tiles=row["resize_mode"] == "tile",
    )


def test_sizes_that_were_measured_are_in_the_order_that_is_expected() -> None:
    with TABLE.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["network"] == "lite0"]
    clear = [
        (first, second)
        for first, second in combinations(rows, 2)
        if (first["data"], first["minutes"]) == (second["data"], second["minutes"])
        and abs(float(first["test_dice"]) - float(second["test_dice"])) > CLEAR
    ]
    assert len(clear) >= 6
    for first, second in clear:
        better, worse = sorted((first, second), key=lambda row: -float(row["test_dice"]))
        assert expected(better) > expected(worse), (better, worse)


def test_a_network_from_scratch_and_several_classes_need_more_images() -> None:
    def loss(*, pretrained: bool, binary: bool) -> float:
        many, few = (
            expected_dice(0.9, shown, pretrained=pretrained, binary=binary)
            for shown in (1e6, 2000.0)
        )
        return many - few

    best = loss(pretrained=True, binary=True)
    assert loss(pretrained=False, binary=True) > 5 * best
    assert loss(pretrained=True, binary=False) > 2 * best


@pytest.mark.parametrize("shown", [0.0, 0.5, 1.0])
def test_next_to_nothing_shown_is_not_divided_by(shown: float) -> None:
    assert expected_dice(1.0, shown, pretrained=True, binary=True) < 0
