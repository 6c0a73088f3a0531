import numpy as np
import pytest

from limner.metrics.bootstrap import (
    bootstrap_interval,
    bootstrap_mean_interval,
    format_interval,
    paired_difference,
    paired_scores,
)


def test_the_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(0.8, 0.1, (400, 1))
    low, high = bootstrap_mean_interval(values)[0]
    error = values.std(ddof=1) / 20
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_the_interval_holds_the_mean_95_times_of_100() -> None:
    rng = np.random.default_rng(1)
    held = sum(
        low <= 0.5 <= high
        for low, high in (bootstrap_mean_interval(rng.random((80, 1)))[0] for _ in range(200))
    )
    assert 180 <= held <= 199


def test_what_is_not_a_number_is_left_out_of_the_interval() -> None:
    values = np.random.default_rng(0).random((50, 1))
    gaps = np.concatenate([values, np.full((50, 1), np.nan)])
    np.testing.assert_allclose(
        bootstrap_mean_interval(gaps), bootstrap_mean_interval(values), atol=0.03
    )
    assert np.isnan(bootstrap_mean_interval(np.full((5, 1), np.nan))).all()


def test_the_interval_of_a_pooled_score_follows_the_images_that_were_drawn() -> None:
    hits, pixels = np.array([[1.0], [9.0], [5.0]]), np.array([[10.0], [10.0], [10.0]])
    low, high = bootstrap_interval(3, lambda weights: (weights @ hits) / (weights @ pixels))[0]
    assert 0.1 <= low < 0.5 < high <= 0.9


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
    assert np.isnan(bootstrap_mean_interval(np.array([[0.5]]))).all()
    assert np.isnan(bootstrap_mean_interval(np.array([[0.5, 0.5], [0.6, np.nan]]))[1]).all()
    assert np.isfinite(bootstrap_mean_interval(np.array([[0.5, 0.5], [0.6, np.nan]]))[0]).all()
    assert np.isnan(bootstrap_interval(1, lambda weights: weights)).all()
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
