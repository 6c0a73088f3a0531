"""The parts of a U-Net: conv block, down, up, skip."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from limner.recipe import ModelSettings


def conv_block(channels_in: int, channels_out: int, convolutions: int, settings: ModelSettings) -> nn.Sequential:
    """Convolutions that keep the size, each followed by normalisation and activation."""
    layers: list[nn.Module] = []
    for index in range(convolutions):
        normed = settings.norm == "batch"
        layers.append(nn.Conv2d(channels_out if index else channels_in, channels_out, settings.kernel, padding="same", bias=not normed))
        layers += [nn.BatchNorm2d(channels_out)] if normed else []
        layers.append(_activation(settings.activation))
    return nn.Sequential(*layers)


class UpBlock(nn.Module):
    """One level of the decoder: a stride-2 transposed convolution, the skip, a conv block."""

    def __init__(self, channels_in: int, channels_out: int, settings: ModelSettings) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(channels_in, channels_out, kernel_size=2, stride=2)
        self.skip = ConcatSkip() if settings.skip == "concat" else AddSkip(channels_out, settings)
        merged = 2 * channels_out if settings.skip == "concat" else channels_out
        self.block = conv_block(merged, channels_out, settings.decoder_convolutions, settings)

    def forward(self, x: Float[Tensor, "b c h w"], encoded: Float[Tensor, "b c2 h2 w2"]) -> Float[Tensor, "b c2 h2 w2"]:
        merged: Tensor = self.block(self.skip(self.up(x), encoded))
        return merged


class ConcatSkip(nn.Module):
    """Stack the encoder's output on the decoder's, to be convolved together."""

    def forward(self, x: Float[Tensor, "b c h w"], encoded: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h w"]:
        return torch.cat([x, encoded], dim=1)


class AddSkip(nn.Module):
    """Both through the same convolution, then added."""

    def __init__(self, channels: int, settings: ModelSettings) -> None:
        super().__init__()
        self.shared = nn.Conv2d(channels, channels, settings.kernel, padding="same")

    def forward(self, x: Float[Tensor, "b c h w"], encoded: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        both: Tensor = self.shared(x) + self.shared(encoded)
        return both


def _activation(name: str) -> nn.Module:
    return {"relu": nn.ReLU(inplace=True), "leaky-relu": nn.LeakyReLU(inplace=True), "gelu": nn.GELU()}[name]
