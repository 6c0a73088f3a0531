"""The receptive field of a network, measured by running it."""

from itertools import product

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from limner.model.ensemble import Ensemble
from limner.model.unet import UNet

LONGEST_PX = 8192
"""A network whose receptive field exceeds half of this length counts as seeing the whole image."""


def measure_halo(network: UNet | Ensemble, channels: int) -> int | None:
    """Measure how many pixels beyond a cut the network's output may depend on.

    The cut lies at a multiple of the network's stride. None means that the network always sees the
    whole image. The pixels on one side of the cut are made NaN. Every operation passes NaN on,
    zero weights and pools too. The distance that it spreads past the cut is the
    halo. A layer that sees
    the whole image, such as instance normalisation or squeeze-and-excitation, spreads it over all.
    """
    # It would spread over every length
    if any(isinstance(module, nn.GroupNorm | nn.InstanceNorm2d) for module in network.modules()):
        return None
    length = 32 * network.stride
    with torch.inference_mode():
        while length <= LONGEST_PX:
            reached_px = []
            for vertical, nan_last in product((False, True), repeat=2):
                reach_px = _nan_reach_px(
                    network, channels, length, vertical=vertical, nan_last=nan_last
                )
                if reach_px >= length // 2:
                    break
                reached_px.append(reach_px)
            else:
                return max(reached_px)
            length *= 2
    return None


def _nan_reach_px(
    network: UNet | Ensemble, channels: int, length: int, *, vertical: bool, nan_last: bool
) -> int:
    """How far NaN reaches into the clean half of a strip, which is twice the stride wide."""
    half = length // 2
    strip: Float[Tensor, "1 c h w"] = torch.zeros(1, channels, 2 * network.stride, length)
    (strip[..., half:] if nan_last else strip[..., :half]).fill_(torch.nan)
    logits: Tensor = network(strip.transpose(2, 3) if vertical else strip)
    is_nan: Bool[Tensor, " n"] = logits.isnan().any(1)[0].any(1 if vertical else 0)
    clean_half = is_nan[:half].flip(0) if nan_last else is_nan[half:]
    return int(clean_half.nonzero().max()) + 1 if clean_half.any() else 0
