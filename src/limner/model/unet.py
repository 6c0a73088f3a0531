"""The U-Net for images of any height and width: encoder, decoder, and 1x1 heads."""

from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from limner.errors import LimnerError
from limner.model.decoders import Decoder, NestedDecoder
from limner.model.encoders import ConvEncoder, Encoder, PretrainedEncoder
from limner.model.presets import resolve_settings
from limner.model.pretrained import build_pretrained, load_pretrained
from limner.recipe import ModelSettings, parse_recipe


class UNet(nn.Module):
    """Segment images with an encoder, a decoder with skips, and a head (arXiv:1505.04597).

    `forward` takes (b, c, h, w) and gives logits (b, k, h, w) of the same height and width,
    whatever they are. Inside, the image is padded to a multiple of the coarsest level's stride, and
    the logits are cropped back. Images are expected standardised (see `Preprocessing`).

    Args:
        in_channels: Channels c of the images: 3 for colour, 1 for grey, or any other number.
        classes: Output channels k. For a binary task take 1 and a sigmoid: limner's own losses and
            models of two classes have one logit, the foreground's. From 2 on take a softmax over
            all classes, the background among them.
        encoder: timm's name of a pretrained encoder, such as "tf_efficientnet_lite0" (which needs
            no timm) or "resnet34". None is the preset's own.
        encoder_weights: "hub" (an installed package that holds them, else timm's hub), a file of
            weights, or None for random ones. Without an encoder it has no meaning.
        **settings: Any other key of a recipe's model section: preset ("limner", "unet", "unet++",
            "resunet", "attention-unet", "tutorial", "tutorial-expanded"), widths, block, norm,
            activation, skip, upsampling, dropout, deep_supervision and so on; docs/recipe.md has
            them all with their defaults. The preset gives what is not set here.

    Raises LimnerError for an unknown key or value, for settings that contradict each other, and
    for an encoder or weights that cannot be had.

    Example:
        >>> network = UNet(in_channels=3, classes=4, preset="attention-unet")
        >>> network(torch.zeros(2, 3, 200, 300)).shape
        torch.Size([2, 4, 200, 300])
        >>> binary = UNet(classes=1, encoder="resnet34", encoder_weights=None)
    """

    def __init__(
        self,
        in_channels: int = 3,
        classes: int = 2,
        encoder: str | None = None,
        encoder_weights: str | None = "hub",
        **settings: Any,
    ) -> None:
        super().__init__()
        if in_channels < 1 or classes < 1:
            raise LimnerError(
                f"a U-Net of {in_channels} image channels and {classes} classes was asked for. "
                "Give at least 1 of each."
            )
        table = {**settings, "encoder": encoder or "", "encoder_weights": encoder_weights or "none"}
        resolved = resolve_settings(parse_recipe({"model": table}).model)
        self.encoder = _build_encoder(resolved, in_channels)
        self.stride = self.encoder.reductions[-1]
        decoder = NestedDecoder if resolved.nested and self.stride > 1 else Decoder
        self.decoder = decoder(self.encoder, resolved)
        coarser = self.decoder.channels[1:] if resolved.deep_supervision else []
        self.head = nn.Conv2d(self.decoder.channels[0], classes, kernel_size=1)
        self.deep_heads = nn.ModuleList(
            nn.Conv2d(channels, classes, kernel_size=1) for channels in coarser
        )
        if isinstance(self.encoder, PretrainedEncoder):
            load_pretrained(self.encoder, resolved.encoder_weights, in_channels)

    @classmethod
    def from_settings(cls, settings: ModelSettings, in_channels: int, classes: int) -> "UNet":
        """Build the network that a recipe's model section describes, untrained.

        A pretrained encoder has random weights too. `classes` is 1 for a binary set.
        """
        explicit = settings.model_dump(exclude_unset=True) | {"encoder_weights": None}
        return cls(in_channels, classes, **explicit)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        height, width = images.shape[-2:]
        return self.forward_unpadded(pad_to_stride(images, self.stride))[..., :height, :width]

    def forward_unpadded(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """Give the logits of images whose sides are multiples of the stride, 2 at least."""
        logits: Tensor = self.head(self.decoder(self.encoder(images))[0])
        return logits

    def forward_supervised(
        self, images: Float[Tensor, "b c h w"]
    ) -> list[Float[Tensor, "b k h w"]]:
        """Give the logits of every supervised level, the finest first, all at the image's size.

        Without deep supervision (arXiv:1409.5185) these are the logits of `forward` alone.
        """
        height, width = images.shape[-2:]
        padded = pad_to_stride(images, self.stride)
        decoded = self.decoder(self.encoder(padded))
        coarse = [
            head(features) for head, features in zip(self.deep_heads, decoded[1:], strict=False)
        ]
        levels = [
            self.head(decoded[0]),
            *(
                F.interpolate(logits, padded.shape[-2:], mode="bilinear", align_corners=False)
                for logits in coarse
            ),
        ]
        return [logits[..., :height, :width] for logits in levels]


def pad_to_stride(images: Float[Tensor, "b c h w"], stride: int) -> Float[Tensor, "b c h2 w2"]:
    """Pad right and below to a multiple of the stride, and to twice of it at least.

    The coarsest level then has more than one pixel to be normalised by. Border pixels are repeated.
    """
    height, width = images.shape[-2:]
    below = max(2 * stride, height + -height % stride) - height
    right = max(2 * stride, width + -width % stride) - width
    return F.pad(images, (0, right, 0, below), mode="replicate") if below or right else images


def _build_encoder(settings: ModelSettings, in_channels: int) -> Encoder:
    if settings.encoder:
        return build_pretrained(settings.encoder, in_channels)
    return ConvEncoder(settings, in_channels)
