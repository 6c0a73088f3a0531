import numpy as np
import pytest
from scipy import stats

from limner.metrics.intervals import (
    format_interval,
    mean_interval,
    paired_difference,
    paired_scores,
    statistic_interval,
)


def test_the_interval_of_a_mean_is_student_s() -> None:
    values = np.random.default_rng(0).normal(0.8, 0.1, (7, 1))
    expected = stats.t.interval(0.95, 6, values.mean(), stats.sem(values[:, 0]))
    np.testing.assert_allclose(mean_interval(values)[0], expected)


@pytest.mark.parametrize("images", [3, 5, 10, 50])
def test_the_interval_holds_the_mean_95_times_of_100(images: int) -> None:
    values = np.random.default_rng(1).normal(0, 1, (images, 2000))
    low, high = mean_interval(values).T
    assert np.mean((low <= 0) & (high >= 0)) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("sizes", [(10,) * 10, (1, 2, 5, 9, 14, 20, 3, 8, 25, 30)])
@pytest.mark.parametrize("alike", [0.0, 0.8])
def test_the_interval_of_groups_holds_the_mean_95_times_of_100(
    sizes: tuple[int, ...], alike: float
) -> None:
    """Images of one group share a value; taken for independent ones they would cover 40 %."""
    rng, index = np.random.default_rng(2), np.repeat(np.arange(len(sizes)), sizes)
    values = np.sqrt(alike) * rng.normal(size=(len(sizes), 1000))[index]
    values += np.sqrt(1 - alike) * rng.normal(size=values.shape)
    low, high = mean_interval(values, [f"patient {number}" for number in index]).T
    assert 0.93 <= np.mean((low <= 0) & (high >= 0)) <= 0.985


def test_groups_of_one_image_are_as_no_groups() -> None:
    values = np.random.default_rng(3).random((9, 2))
    names: list[str | None] = [None, "a", "b", None, "c", "d", "e", "f", "g"]
    np.testing.assert_allclose(mean_interval(values, names), mean_interval(values))
    assert np.isnan(mean_interval(values, ["one"] * 9)).all()


def test_no_end_lies_where_no_mean_can() -> None:
    values = np.array([[1.0], [1.0], [0.7]])
    assert mean_interval(values)[0, 1] > 1
    assert mean_interval(values, bounds=(0.0, 1.0))[0, 1] == 1


def test_a_pooled_score_of_groups_has_a_wider_interval() -> None:
    rng = np.random.default_rng(4)
    hits = np.repeat(rng.random(12), 10)[:, None]

    def share(weights: np.ndarray) -> np.ndarray:
        return (weights @ hits) / weights.sum(1, keepdims=True)

    groups = [str(number // 10) for number in range(120)]
    (low, high), (lower, higher) = (
        statistic_interval(120, share)[0],
        statistic_interval(120, share, groups)[0],
    )
    np.testing.assert_allclose((low, high), mean_interval(hits)[0], atol=0.005)
    np.testing.assert_allclose((lower, higher), mean_interval(hits, groups)[0], atol=0.02)
    assert higher - lower > 2.5 * (high - low)


def test_of_many_differences_that_are_looked_at_each_has_a_wider_interval() -> None:
    scores = np.random.default_rng(5).random((2, 20))
    one, three = paired_difference(*scores), paired_difference(*scores, comparisons=3)
    assert three.high - three.low > 1.15 * (one.high - one.low)
    assert three.difference == one.difference


def test_the_best_of_many_is_a_gain_by_chance_2_5_times_of_100() -> None:
    rng, taken = np.random.default_rng(6), 0
    for _ in range(200):
        before = rng.random((15, 1))
        candidates = before + rng.normal(0, 0.01, (15, 20)).cumsum(1)
        best = candidates[:, candidates.mean(0).argmax()]
        taken += paired_difference(before[:, 0], best, picked_from=candidates).is_gain
    assert taken / 200 <= 0.05


def test_images_of_few_groups_decide_nothing_and_say_so() -> None:
    first = np.linspace(0.5, 0.6, 30)
    result = paired_difference(first, first + 0.01, [f"p{row % 4}" for row in range(30)])
    assert not result.is_gain
    assert result.doubt == (
        "30 images of 4 groups are too few to tell the two apart: 10 are needed."
    )
    assert paired_difference(first, first + 0.01).doubt == ""


def test_what_is_not_a_number_is_left_out_of_the_interval() -> None:
    values = np.random.default_rng(0).random((50, 1))
    gaps = np.concatenate([values, np.full((50, 1), np.nan)])
    np.testing.assert_allclose(mean_interval(gaps), mean_interval(values))
    assert np.isnan(mean_interval(np.full((5, 1), np.nan))).all()


def test_the_interval_of_a_pooled_score_follows_the_images_that_were_drawn() -> None:
    hits, pixels = np.array([[1.0], [9.0], [5.0]]), np.array([[10.0], [10.0], [10.0]])
    low, high = statistic_interval(3, lambda weights: (weights @ hits) / (weights @ pixels))[0]
    assert low < 0.1 < 0.5 < 0.9 < high
    assert (low, high) == tuple(
        statistic_interval(3, lambda weights: (weights @ hits) / (weights @ pixels))[0]
    )


def test_a_gain_helps_where_chance_does_not_explain_it() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(200)
    assert paired_difference(base, base + 0.01 + rng.normal(0, 0.02, 200)).is_gain
    assert not paired_difference(base, base + rng.normal(0, 0.05, 200)).is_gain
    assert not paired_difference(base, base).is_gain


def test_a_paired_difference_counts_wins_losses_and_ties() -> None:
    first = np.array([0.5, 0.6, 0.7, 0.8])
    result = paired_difference(first, first + np.array([0.1, 0.2, 0.0, -0.1]))
    assert (result.wins, result.losses, result.ties, result.pairs) == (2, 1, 1, 4)
    assert result.first == pytest.approx(0.65)
    assert result.second == pytest.approx(0.7)
    assert result.difference == pytest.approx(0.05)
    assert result.interval == (result.low, result.high)
    assert result.low < result.difference < result.high


def test_a_missing_score_counts_as_1_beside_one_that_is_there() -> None:
    nan = np.nan
    assert paired_scores(np.array([[nan, 0.2], [0.4, nan], [nan, nan]])).tolist() == [
        [1.0, 0.2],
        [0.4, 1.0],
    ]
    result = paired_difference(np.array([nan, 0.4, nan]), np.array([0.2, nan, nan]))
    assert (result.first, result.second, result.pairs) == (0.7, 0.6, 2)


def test_without_a_pair_every_number_is_nan() -> None:
    nothing = np.full(3, np.nan)
    result = paired_difference(nothing, nothing)
    assert result.pairs == result.wins == result.losses == result.ties == 0
    assert np.isnan([result.first, result.second, result.difference, *result.interval]).all()
    assert not result.is_gain


def test_one_image_gives_no_interval() -> None:
    assert np.isnan(mean_interval(np.array([[0.5]]))).all()
    assert np.isnan(mean_interval(np.array([[0.5, 0.5], [0.6, np.nan]]))[1]).all()
    assert np.isfinite(mean_interval(np.array([[0.5, 0.5], [0.6, np.nan]]))[0]).all()
    assert np.isnan(statistic_interval(1, lambda weights: weights)).all()
    assert paired_difference(np.array([0.5]), np.array([0.6])).difference == pytest.approx(0.1)


@pytest.mark.parametrize(("images", "decides"), [(1, False), (2, False), (9, False), (10, True)])
def test_few_images_tell_no_two_methods_apart(images: int, decides: bool) -> None:
    scores = np.linspace(0.5, 0.6, images)
    assert paired_difference(scores, scores + 0.0001).is_gain == decides
    assert paired_difference(scores, scores - 0.0001).is_loss == decides


def test_an_interval_is_spelled_out() -> None:
    assert format_interval((0.8123, 0.9), 3) == "0.812 to 0.900"
    assert format_interval((-0.01, 0.02), 2, signed=True) == "-0.01 to +0.02"
    assert format_interval((np.nan, np.nan), 3) == "none"
