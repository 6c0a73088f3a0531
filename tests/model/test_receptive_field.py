from typing import Any

import numpy as np
import pytest
import torch

from limner.model.presets import PRESETS
from limner.model.receptive_field import measure_halo
from limner.model.unet import UNet
from limner.recipe import Recipe, parse_recipe


def recipe(**model: Any) -> Recipe:
    return parse_recipe({"model": {"widths": [2, 3, 4], **model}})


@pytest.mark.parametrize("preset", PRESETS)
def test_pixels_beyond_the_halo_change_nothing_and_those_within_do(preset: str) -> None:
    torch.manual_seed(0)
    # A ReLU may hide what it sees
    settings = recipe(preset=preset, activation="silu").model
    network = UNet.from_settings(settings, 3, 1).double().eval()
    halo_px = measure_halo(network.float(), 3)
    assert halo_px is not None
    network.double()
    cut = -(-halo_px // network.stride) * network.stride + 4 * network.stride
    image = torch.rand(1, 3, 2 * network.stride, 2 * cut, dtype=torch.float64)
    other = image.clone()
    other[..., cut:] = torch.rand_like(other[..., cut:])
    with torch.inference_mode():
        changed = (network(image) - network(other)).abs().amax((0, 1, 2)).numpy()
    assert np.flatnonzero(changed)[0] >= cut - halo_px
    # Pools pass on one pixel of four: the bound is not always met
    assert np.flatnonzero(changed)[0] <= cut - halo_px // 2


@pytest.mark.parametrize("norm", ["instance", "group"])
def test_a_network_that_normalises_over_the_image_sees_all_of_it(norm: str) -> None:
    assert measure_halo(UNet.from_settings(recipe(norm=norm).model, 3, 1).eval(), 3) is None


def test_a_single_convolution_reaches_one_pixel() -> None:
    settings = recipe(widths=[2], encoder_convolutions=1, decoder_convolutions=1).model
    assert measure_halo(UNet.from_settings(settings, 3, 1).eval(), 3) == 1
