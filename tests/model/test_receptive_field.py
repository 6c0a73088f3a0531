from typing import Any

import numpy as np
import pytest
import torch

from limner.model.presets import PRESETS, build_network
from limner.model.receptive_field import measure_halo
from limner.recipe import Recipe, parse_recipe


def recipe(**model: Any) -> Recipe:
    return parse_recipe({"model": {"widths": [2, 3, 4], **model}})


@pytest.mark.parametrize("preset", PRESETS)
def test_what_lies_beyond_the_reach_changes_nothing_and_what_lies_within_does(preset: str) -> None:
    torch.manual_seed(0)
    network = (
        build_network(recipe(preset=preset, activation="silu").model, 3, 1).double().eval()
        # A ReLU may hide what it sees
    )
    pixels = measure_halo(network.float(), 3)
    assert pixels is not None
    network.double()
    cut = -(-pixels // network.stride) * network.stride + 4 * network.stride
    image = torch.rand(1, 3, 2 * network.stride, 2 * cut, dtype=torch.float64)
    other = image.clone()
    other[..., cut:] = torch.rand_like(other[..., cut:])
    with torch.inference_mode():
        changed = (network(image) - network(other)).abs().amax((0, 1, 2)).numpy()
    assert np.flatnonzero(changed)[0] >= cut - pixels
    assert (
        np.flatnonzero(changed)[0] <= cut - pixels // 2
        # Pools pass on one pixel of four: the bound is not always met
    )


@pytest.mark.parametrize("norm", ["instance", "group"])
def test_a_network_that_normalises_over_the_image_sees_all_of_it(norm: str) -> None:
    assert measure_halo(build_network(recipe(norm=norm).model, 3, 1).eval(), 3) is None


def test_a_single_convolution_reaches_one_pixel() -> None:
    assert (
        measure_halo(
            build_network(
                recipe(widths=[2], encoder_convolutions=1, decoder_convolutions=1).model, 3, 1
            ).eval(),
            3,
        )
        == 1
    )
