import pytest

from limner.recipe import TrainSettings
from limner.training.optim import learning_rate


@pytest.mark.parametrize("schedule", ["cosine", "polynomial", "step", "none"])
def test_the_rate_rises_to_its_peak_and_never_above(schedule: str) -> None:
    settings = TrainSettings(lr_schedule=schedule, learning_rate=0.01, warmup=0.1)
    rates = [learning_rate(i / 100, settings) for i in range(101)]
    assert max(rates) == pytest.approx(0.01)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert all(rate > 0 for rate in rates)
