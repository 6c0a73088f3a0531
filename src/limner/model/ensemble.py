"""Several networks as one: an ensemble whose logits are the mean over its members."""

import re
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from limner.model.unet import UNet, pad_to_stride

MEMBER = re.compile(r"members\.(\d+)\.")
"""How the names of a member's tensors begin."""


class Ensemble(nn.Module):
    """Average the logits of networks of the same input and classes.

    Members may normalise images by other numbers than the ensemble does: each has a scale and a
    shift of its own.

    Args:
        members: At least one.
        channels: Image channels.
    """

    scale: Float[Tensor, "m c 1 1"]
    shift: Float[Tensor, "m c 1 1"]

    def __init__(self, members: Sequence[UNet], channels: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.stride = members[0].stride
        self.register_buffer("scale", torch.ones(len(members), channels, 1, 1))
        self.register_buffer("shift", torch.zeros(len(members), channels, 1, 1))

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        height, width = images.shape[-2:]
        return self.forward_unpadded(pad_to_stride(images, self.stride))[..., :height, :width]

    def forward_unpadded(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """As `UNet.forward_unpadded`."""
        logits = [
            cast("UNet", member).forward_unpadded(images * scale + shift)
            for member, scale, shift in zip(self.members, self.scale, self.shift, strict=True)
        ]
        return torch.stack(logits).mean(0)


def member_count(weights: Mapping[str, Tensor]) -> int:
    """How many members the weights of a model are of; 0 where it is a single network."""
    numbers = [int(match[1]) for name in weights if (match := MEMBER.match(name))]
    return max(numbers, default=-1) + 1


def join_weights(
    members: Sequence[Mapping[str, Tensor]],
    normalisations: Sequence[tuple[Sequence[float], Sequence[float]]],
) -> dict[str, Tensor]:
    """The weights of an ensemble.

    Args:
        members: The weights of each.
        normalisations: Mean and standard deviation by channel, of each. The ensemble has those of
            the first.
    """
    mean, std = (torch.tensor(values) for values in normalisations[0])
    means, stds = (torch.tensor(list(values)) for values in zip(*normalisations, strict=True))
    joined = {
        f"members.{number}.{name}": tensor
        for number, weights in enumerate(members)
        for name, tensor in weights.items()
    }
    joined["scale"] = (std / stds)[..., None, None]
    joined["shift"] = ((mean - means) / stds)[..., None, None]
    return joined
