"""Named members of the U-Net family: what each sets of the model settings.

Counts are for 3 channels and 1 class; multiply-adds are those of the convolutions for an image of
256x256.

- `tutorial`: four encoder blocks of two 3x3 convolutions and a max pool, a fifth as the bottleneck.
  Four decoder blocks have a stride-2 transposed convolution and three 3x3 convolutions. A fifth
  refines at full resolution. 5.95 M parameters and 15.6 G multiply-adds.
- `tutorial-expanded`: the same, each block followed by a dilated convolution that widens its
  channels. 10.31 M parameters and 26.3 G multiply-adds.
- `unet`: the original (arXiv:1505.04597), padded, so that the mask has the image's size. 31.03 M
  parameters and 48.2 G multiply-adds.
- `resunet`: residual units and strides instead of pools (arXiv:1711.10684). 8.22 M parameters and
  45.2 G multiply-adds.
- `attention-unet`: gates on the skips (arXiv:1804.03999, which is for volumes; its planes here).
  32.08 M parameters and 49.0 G multiply-adds.
- `unet++`: nested skips and deep supervision (arXiv:1807.10165). 9.04 M parameters and 29.8 G
  multiply-adds.
- `limner`: the plan's own, a U-Net of half the width with batch normalisation: of the networks from
  scratch the best for the time (docs/family.md). 7.76 M parameters and 12.1 G multiply-adds; half
  as wide again on a processor.
"""

from typing import Any

from limner.errors import LimnerError
from limner.recipe import ModelSettings

TUTORIAL: dict[str, Any] = {
    "widths": (32, 64, 128, 256, 256),
    "decoder_convolutions": 3,
    "refine_convolutions": 3,
}
PRESETS: dict[str, dict[str, Any]] = {
    "tutorial": TUTORIAL,
    "tutorial-expanded": {**TUTORIAL, "expansion_ratio": 1.5},
    "unet": {"widths": (64, 128, 256, 512, 1024), "norm": "none"},
    "resunet": {
        "widths": (64, 128, 256, 512),
        "block": "residual",
        "pooling": "stride",
        "upsampling": "bilinear",
    },
    "attention-unet": {"widths": (64, 128, 256, 512, 1024), "skip": "attention"},
    "unet++": {"norm": "none", "nested": True, "deep_supervision": True},
    "limner": {},
}
"""What each preset sets; every other key has the recipe's default."""
ENCODER_DEFAULTS: dict[str, Any] = {"widths": (16, 32, 64, 96, 128)}
"""What a pretrained encoder sets instead: the channels of a light decoder at each halving."""


def resolve_settings(settings: ModelSettings) -> ModelSettings:
    """Fill in the preset's values for the keys that were not set explicitly.

    Raises LimnerError where the settings contradict each other.
    """
    explicit = {key: getattr(settings, key) for key in settings.model_fields_set}
    defaults = ENCODER_DEFAULTS if settings.encoder else PRESETS[settings.preset]
    resolved = ModelSettings.model_validate({**defaults, **explicit})
    if resolved.nested and resolved.refine_convolutions:
        raise LimnerError(
            "model.nested has no last block, so model.refine_convolutions would do nothing. "
            "Set it to 0, or leave one of the two."
        )
    if resolved.nested and resolved.encoder:
        raise LimnerError(
            "model.nested needs an encoder with features at full resolution, which pretrained "
            "ones lack. Leave one of the two."
        )
    return resolved
