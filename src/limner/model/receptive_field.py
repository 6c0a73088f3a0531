"""How far a network looks: found by running it, not guessed."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from limner.model.unet import UNet

FARTHEST_PX = 8192
"""An image of this length that is spoilt to its end by its other half is one that the network sees
as a whole.
"""


def measure_halo(network: UNet, channels: int) -> int | None:
    """How many pixels beyond a cut at a multiple of its stride a network's answer may depend on;
    None of one that always sees the whole image.

    The pixels on one side of a cut are made NaN, which every operation passes on, zero weights and
    pools too; how far it comes on the other side is the answer. A layer that sees the whole image,
    such as instance normalisation or squeeze-and-excitation, spoils all of it.
    """
    longest = 32 * network.stride
    with torch.inference_mode():
        while longest <= FARTHEST_PX:
            found = [
                _spoilt(network, channels, longest, upright=upright, behind=behind)
                for upright in (False, True)
                for behind in (False, True)
            ]
            if all(pixels < longest // 2 for pixels in found):
                return max(found)
            longest *= 2
    return None


def _spoilt(network: UNet, channels: int, length: int, *, upright: bool, behind: bool) -> int:
    """How many pixels of the clean half are spoilt, on a strip of twice the stride."""
    strip: Float[Tensor, "1 c h w"] = torch.zeros(1, channels, 2 * network.stride, length)
    (strip[..., length // 2 :] if behind else strip[..., : length // 2]).fill_(torch.nan)
    seen = strip.transpose(2, 3) if upright else strip
    logits: Tensor = network(seen)
    spoilt: Bool[Tensor, " n"] = logits.isnan().any(1)[0].any(1 if upright else 0)
    clean = spoilt[: length // 2].flip(0) if behind else spoilt[length // 2 :]
    return int(clean.nonzero().max()) + 1 if clean.any() else 0
