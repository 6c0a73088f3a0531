"""Named members of the U-Net family."""

from limner.model.unet import UNet
from limner.recipe import ModelSettings


def build(settings: ModelSettings, channels: int, classes: int) -> UNet:
    """The network that the settings name.

    `tutorial`: four encoder blocks of two 3x3 convolutions and a max pool, a fifth as the bottleneck, four decoder blocks of a
    stride-2 transposed convolution and three 3x3 convolutions, and a fifth that refines at full resolution. With width 32
    and concatenated skips it has 5.95 M parameters and 15.6 G multiply-adds at 256x256.
    """
    return UNet(settings, channels, classes)
