import pytest

from limner.model.unet import UNet
from limner.recipe import TrainSettings
from limner.training.optim import HEAD_LR_FACTOR, build_optimiser, learning_rate


@pytest.mark.parametrize("schedule", ["cosine", "polynomial", "step", "none"])
def test_the_rate_rises_to_its_peak_and_never_above(schedule: str) -> None:
    settings = TrainSettings(lr_schedule=schedule, learning_rate=0.01, warmup=0.1)
    rates = [learning_rate(i / 100, settings) for i in range(101)]
    assert max(rates) == pytest.approx(0.01)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert all(rate > 0 for rate in rates)


def test_the_heads_learn_faster_and_a_pretrained_encoder_slower() -> None:
    network = UNet(
        classes=1,
        encoder="tf_efficientnet_lite0",
        encoder_weights=None,
        widths=(2, 4, 6, 8, 10),
        deep_supervision=True,
    )
    groups = build_optimiser(network, TrainSettings(encoder_lr_factor=0.5)).param_groups
    scales = {id(value): group["lr_scale"] for group in groups for value in group["params"]}
    names = {name: scales[id(value)] for name, value in network.named_parameters()}
    assert {names[name] for name in names if "head" in name} == {HEAD_LR_FACTOR}
    assert {names[name] for name in names if name.startswith("encoder.")} == {0.5}
    assert {names[name] for name in names if name.startswith("decoder.")} == {1.0}
