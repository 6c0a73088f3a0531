"""Skip connections: how a decoder block takes the encoder's features of its size."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from limner.model.blocks import conv2d
from limner.recipe import ModelSettings


class ConcatSkip(nn.Module):
    """Stack the encoder's features on the upsampled ones (arXiv:1505.04597).

    `channels` are those of all inputs, the upsampled one first.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.out_channels = sum(channels)

    def forward(
        self, upsampled: Tensor, _coarse: Tensor, skips: Sequence[Tensor]
    ) -> Float[Tensor, "b c h w"]:
        return torch.cat([upsampled, *skips], dim=1)


class AddSkip(nn.Module):
    """Pass all inputs through one shared convolution and add them.

    An input of another width is projected to `width` first.
    """

    def __init__(self, channels: Sequence[int], width: int, settings: ModelSettings) -> None:
        super().__init__()
        self.out_channels = width
        self.projections = nn.ModuleList(
            nn.Identity() if count == width else nn.Conv2d(count, width, kernel_size=1)
            for count in channels
        )
        self.shared = conv2d(width, width, settings)

    def forward(
        self, upsampled: Tensor, _coarse: Tensor, skips: Sequence[Tensor]
    ) -> Float[Tensor, "b c h w"]:
        total: Tensor = sum(
            self.shared(project(features))
            for project, features in zip(self.projections, [upsampled, *skips], strict=True)
        )
        return total


class AttentionSkip(nn.Module):
    """Gate each skip by the coarser level's features, then stack (arXiv:1804.03999).

    `channels` are those of all inputs, the upsampled one first.
    """

    def __init__(self, coarse_channels: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.out_channels = sum(channels)
        self.gates = nn.ModuleList(AttentionGate(coarse_channels, count) for count in channels[1:])

    def forward(
        self, upsampled: Tensor, coarse: Tensor, skips: Sequence[Tensor]
    ) -> Float[Tensor, "b c h w"]:
        gated = [gate(coarse, skip) for gate, skip in zip(self.gates, skips, strict=True)]
        return torch.cat([upsampled, *gated], dim=1)


class AttentionGate(nn.Module):
    """Weigh each pixel of a skip from 0 to 1 by additive attention (arXiv:1804.03999).

    The weights are computed at the coarser level's resolution and interpolated.
    """

    def __init__(self, coarse_channels: int, skip_channels: int) -> None:
        super().__init__()
        inner = max(1, skip_channels // 2)
        self.skip_conv = nn.Conv2d(skip_channels, inner, kernel_size=2, stride=2, bias=False)
        self.gate_conv = nn.Conv2d(coarse_channels, inner, kernel_size=1)
        self.attention_conv = nn.Conv2d(inner, 1, kernel_size=1)

    def forward(
        self, coarse: Float[Tensor, "b c h w"], skip: Float[Tensor, "b c2 h2 w2"]
    ) -> Float[Tensor, "b c2 h2 w2"]:
        combined = F.relu(self.skip_conv(skip) + self.gate_conv(coarse))
        attention = torch.sigmoid(self.attention_conv(combined))
        return skip * F.interpolate(attention, scale_factor=2, mode="bilinear", align_corners=False)


def build_skip(
    coarse_channels: int, channels: Sequence[int], width: int, settings: ModelSettings
) -> ConcatSkip | AddSkip | AttentionSkip:
    """Make the skip connection that the settings name."""
    if settings.skip == "add":
        return AddSkip(channels, width, settings)
    if settings.skip == "attention":
        return AttentionSkip(coarse_channels, channels)
    return ConcatSkip(channels)
