import pytest
import torch

from limner.losses import LOSSES
from limner.model.unet import UNet
from limner.recipe import TrainSettings
from limner.training.distributed import SINGLE_PROCESS
from limner.training.optim import (
    HEAD_LR_FACTOR,
    INTERPOLATION,
    build_optimiser,
    learning_rate,
)
from limner.training.state import initial_state
from limner.training.step import TrainStep


@pytest.mark.parametrize("schedule", ["cosine", "polynomial", "step", "none", "schedule-free"])
def test_the_rate_rises_to_its_peak_and_never_above(schedule: str) -> None:
    settings = TrainSettings(lr_schedule=schedule, learning_rate=0.01, warmup=0.1)
    rates = [learning_rate(i / 100, settings) for i in range(101)]
    assert max(rates) == pytest.approx(0.01)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert all(rate > 0 for rate in rates)


def test_the_average_of_schedule_free_training_weighs_steps_by_their_rates() -> None:
    """By hand, on a single layer: the network's weights lie between base and average."""
    settings = TrainSettings(lr_schedule="schedule-free", learning_rate=0.1, weight_decay=0.0)
    torch.manual_seed(0)
    state = initial_state(UNet(1, 1, widths=(2, 2), norm="none"), settings)
    step = TrainStep(state, LOSSES["dice+cross-entropy"], settings, SINGLE_PROCESS)
    images, masks = torch.rand(2, 1, 8, 8), torch.randint(0, 2, (2, 8, 8), dtype=torch.uint8)
    average, total = state.base[0].detach().clone(), 0.0
    for rate in (0.01, 0.1, 0.1):
        step.step(images, masks, rate)
        total += rate**2
        average.lerp_(state.base[0].detach(), rate**2 / total)
        assert torch.allclose(next(state.ema.parameters()), average)
        between = state.base[0].detach().lerp(average, INTERPOLATION)
        assert torch.allclose(next(state.network.parameters()), between)
    assert not torch.allclose(average, state.base[0])


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
