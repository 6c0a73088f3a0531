"""Encoders of timm: the features of any of its convolutional models."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from limner.errors import LimnerError, requires_extra
from limner.model.blocks import FixedPaddingConv2d
from limner.model.encoders import Features, PretrainedEncoder

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EXAMPLES = "tf_efficientnet_lite0, resnet34, convnext_tiny"


class TimmEncoder(PretrainedEncoder):
    """Encode by the features of a timm model, untrained; see `pretrained` for its weights.

    Args:
        name: timm's name, such as "resnet34" or "convnext_tiny".
        channels: Image channels.

    Raises LimnerError where timm is not installed, does not know the name, or the model's features
    do not halve. A trial pass shows that: what a model says of itself is not always what it does.
    """

    def __init__(self, name: str, channels: int) -> None:
        super().__init__(name)
        body = _create_features_model(name, channels)
        _fix_padding(body)
        self.body, info = body, body.feature_info
        self.channels, self.reductions = info.channels(), info.reduction()
        # Only the model itself says so; `feature_info` does not
        self._channels_last = str(getattr(body, "output_fmt", "")).endswith("NHWC")
        if not _halve(self.reductions):
            raise LimnerError(
                f"the encoder {name!r} gives features at 1/{self.reductions} of the side, "
                f"which do not halve. Choose a convolutional one, such as {EXAMPLES}."
            )
        self._require_features_of_any_size(channels)
        first = _config(name).get("first_conv") or ()
        self.first_convolutions = (first,) if isinstance(first, str) else tuple(first)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Features:
        features: list[Tensor] = self.body(images)
        if self._channels_last:
            return [tensor.permute(0, 3, 1, 2) for tensor in features]
        return features

    def classifier_tensors(self) -> dict[str, Tensor]:
        with torch.device("meta"):
            tensors: dict[str, Tensor] = (
                import_timm().create_model(self.name, pretrained=False).state_dict()
            )
        return tensors

    def _require_features_of_any_size(self, channels: int) -> None:
        """Raise LimnerError unless an image of other sides gives the features that are promised."""
        height, width = 2 * self.reductions[-1], 3 * self.reductions[-1]
        expected = [
            (1, count, height // reduction, width // reduction)
            for count, reduction in zip(self.channels, self.reductions, strict=True)
        ]
        self.body.eval()
        try:
            with torch.no_grad():
                features = self(torch.zeros(1, channels, height, width))
            shapes = [tuple(tensor.shape) for tensor in features]
            problem = f"the shapes {shapes} instead of {expected}"
        # Models that want one fixed size raise exceptions of any kind
        except Exception as error:  # noqa: BLE001
            shapes, problem = [], f"an error: {' '.join(str(error).split())[:200]}"
        self.body.train()
        if shapes != expected:
            raise LimnerError(
                f"the encoder {self.name!r} cannot be used: an image of {width}x{height} px gave "
                f"{problem}. Choose a convolutional one, such as {EXAMPLES}."
            )


def timm_normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation (0..1, of red, green and blue) of a model's training images.

    ImageNet's stand in for unknown ones.
    """
    config = _config(name)
    return tuple(config.get("mean", IMAGENET_MEAN)), tuple(config.get("std", IMAGENET_STD))


def import_timm() -> Any:
    """Import timm. Raises LimnerError naming the command that installs it."""
    with requires_extra("an encoder other than EfficientNet-Lite", "timm"):
        import timm
    return timm


def _config(name: str) -> dict[str, Any]:
    config = import_timm().get_pretrained_cfg(name)
    return config.to_dict() if config else {}


def _create_features_model(name: str, channels: int) -> Any:
    timm = import_timm()
    try:
        return timm.create_model(name, pretrained=False, features_only=True, in_chans=channels)
    except Exception as error:
        # timm and its models raise exceptions of any kind
        similar = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:6]) or EXAMPLES
        raise LimnerError(
            f"timm has no encoder {name!r} that gives features ({error}). There are, for "
            f"example: {similar}."
        ) from error


def _halve(reductions: Sequence[int]) -> bool:
    """Whether each is twice the one before, and the first is a power of two."""
    halve = all(later == 2 * earlier for earlier, later in pairwise(reductions))
    return halve and reductions[0].bit_count() == 1


def _fix_padding(body: nn.Module) -> None:
    from timm.layers.conv2d_same import Conv2dSame

    for name, module in list(body.named_modules()):
        if isinstance(module, Conv2dSame):
            parent, _, attribute = name.rpartition(".")
            setattr(body.get_submodule(parent), attribute, FixedPaddingConv2d.from_conv(module))
