import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.model.presets import build
from limner.recipe import ModelSettings

TINY = ModelSettings(width=2, levels=3)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4), st.integers(1, 5))
def test_the_logits_have_the_image_s_size(h: int, w: int, channels: int, classes: int) -> None:
    network = build(TINY, channels, classes).eval()
    assert network(torch.zeros(2, channels, h, w)).shape == (2, classes, h, w)


@pytest.mark.parametrize("skip", ["concat", "add"])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_gradients_reach_every_parameter(skip: str, norm: str) -> None:
    network = build(TINY.model_copy(update={"skip": skip, "norm": norm, "activation": "gelu"}), 3, 1)
    network(torch.randn(2, 3, 16, 16)).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_the_tutorial_has_the_parameters_that_its_docstring_states() -> None:
    count = sum(parameter.numel() for parameter in build(ModelSettings(), 3, 1).parameters())
    assert count == 5_952_737
    assert "5.95 M" in (build.__doc__ or "")


def test_the_tutorial_has_the_blocks_of_its_source() -> None:
    network = build(ModelSettings(), 3, 1)
    assert [block[0].out_channels for block in network.encoder] == [32, 64, 128, 256]
    assert [block.up.out_channels for block in network.decoder] == [256, 128, 64, 32]
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in network.refine) == 3


def test_a_network_without_levels_is_a_plain_stack() -> None:
    assert build(ModelSettings(levels=0, width=2), 3, 1)(torch.zeros(1, 3, 5, 7)).shape == (1, 1, 5, 7)
