"""Paired augmentation of images and masks, a batch at a time on its device.

All geometry is one resampling, all colour one affine map of the channels, so the cost is a few
passes over the batch. The draws are functions of (seed, epoch, step), made on the CPU for the whole
batch, so that they are the same on every device and for any part of the batch, and go to the device
in one copy that costs no synchronisation.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from limner.recipe import AugmentSettings

ELASTIC_GRID = 5
"""Control points a side of the elastic displacement; bicubic between them."""
NOISE_SEEDS = 2**24
"""Seeds of the noise: whole numbers that float32 holds exactly."""


def batch_generator(seed: int, epoch: int, step: int) -> torch.Generator:
    """The source of one batch's draws."""
    state = np.random.SeedSequence([seed, epoch, step]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


@dataclass(frozen=True, slots=True)
class AugmentParameters:
    """What happens to each image of a batch, in the order of the batch."""

    affine: Float[Tensor, "b 2 3"]
    displacement: Float[Tensor, "b 2 g g"]
    colour_matrix: Float[Tensor, "b c c"]
    brightness: Float[Tensor, "b 1"]
    sharpness: Float[Tensor, "b 1"]
    noise: Float[Tensor, "b 1"]
    noise_seed: Float[Tensor, "b 1"]

    def select(self, rows: slice, device: torch.device) -> "AugmentParameters":
        """The draws of some of the batch's images, on their device."""
        values = [getattr(self, name)[rows] for name in self.__slots__]
        packed = torch.cat([value.flatten(1) for value in values], 1)
        packed = (packed.pin_memory() if device.type == "cuda" else packed).to(
            device, non_blocking=True
        )
        parts = torch.split(packed, [value[0].numel() for value in values], 1)
        return AugmentParameters(
            *(part.reshape(value.shape) for part, value in zip(parts, values, strict=True))
        )


def sample_parameters(
    shape: tuple[int, int, int, int], settings: AugmentSettings, source: torch.Generator
) -> AugmentParameters:
    """The draws for a batch of images (b, c, h, w)."""
    b, c, h, w = shape
    angle = _uniform((b,), math.radians(settings.rotate_degrees), source)
    scale = torch.exp(_uniform((b,), math.log1p(settings.scale), source))
    mirror = 1 - 2 * (torch.rand(b, generator=source) < settings.horizontal_flip).float()
    topple = 1 - 2 * (torch.rand(b, generator=source) < settings.vertical_flip).float()
    shift = _uniform((b, 2), 2 * settings.shift, source)
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    # The grid's unit is half a side, so a turn must not shear a wide image
    aspect = h / w
    rows = [
        torch.stack([mirror * cos, -mirror * sin * aspect, shift[:, 0]], 1),
        torch.stack([topple * sin / aspect, topple * cos, shift[:, 1]], 1),
    ]
    displacement = _uniform((b, 2, ELASTIC_GRID, ELASTIC_GRID), 2 * settings.elastic, source)
    contrast = 1 + _uniform((b, 1, 1), settings.contrast, source)
    balance = 1 + _uniform((b, c, 1), settings.colour / 2, source)
    saturation = 1 + _uniform(
        (b, 1, 1),
        settings.colour if c == 3 else 0.0,
        source,
        # The channels of a microscope are no colours
    )
    mix = contrast * balance * (saturation * torch.eye(c) + (1 - saturation) / c)
    brightness = _uniform((b, 1), settings.brightness, source) + 0.5 * (1 - contrast[:, 0])
    sharp = 1 - settings.blur * torch.rand(b, 1, generator=source)
    noise = settings.noise * torch.rand(b, 1, generator=source)
    grain = torch.randint(NOISE_SEEDS, (b, 1), generator=source).float()
    return AugmentParameters(
        torch.stack(rows, 1), displacement, mix, brightness, sharp, noise, grain
    )


def augment(
    images: Float[Tensor, "b c h w"],
    masks: UInt8[Tensor, "b h w"],
    settings: AugmentSettings,
    draws: AugmentParameters,
) -> tuple[Float[Tensor, "b c h w"], UInt8[Tensor, "b h w"]]:
    """Move and recolour a batch as its draws, on the same device, say; images are in 0..1, masks
    hold class indices and keep exactly those values.

    What lies outside the image is its mirror image, in the mask too.
    """
    b, _, h, w = images.shape
    grid = F.affine_grid(draws.affine, [b, 1, h, w], align_corners=False)
    if settings.elastic > 0:
        grid = grid + F.interpolate(
            draws.displacement, (h, w), mode="bicubic", align_corners=True
        ).permute(0, 2, 3, 1)
    moved = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    classes = F.grid_sample(
        masks.unsqueeze(1).to(images.dtype),
        grid,
        mode="nearest",
        padding_mode="reflection",
        align_corners=False,
    )
    return _recolour(moved, settings, draws), classes[:, 0].round().to(torch.uint8)


def _recolour(
    images: Float[Tensor, "b c h w"], settings: AugmentSettings, draws: AugmentParameters
) -> Float[Tensor, "b c h w"]:
    coloured = (
        torch.einsum("bij,bjhw->bihw", draws.colour_matrix, images)
        + draws.brightness[..., None, None]
    )
    if settings.blur > 0:
        blurred = F.avg_pool2d(F.pad(coloured, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        coloured = torch.lerp(blurred, coloured, draws.sharpness[..., None, None])
    if settings.noise > 0:
        coloured = coloured + draws.noise[..., None, None] * _noise(
            draws.noise_seed, images.shape[2], images.shape[3]
        )
    return coloured.clamp(0, 1)


def _noise(seeds: Float[Tensor, "b 1"], height: int, width: int) -> Float[Tensor, "b 1 h w"]:
    """Noise of mean 0 and variance 1 from a hash of seed and position, the same on every device:
    the sum of two even draws of 16 bits.

    The hash is one of those that C. Wellons found by search (github.com/skeeto/hash-prospector), in
    32 bits that overflow.
    """
    bits = (
        torch.arange(height * width, dtype=torch.int32, device=seeds.device)
        + seeds.to(torch.int32) * 1_664_525
    )
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B - 2**32)):
        bits = (bits ^ ((bits >> shift) & 0xFFFF)) * factor
    both = (bits & 0xFFFF) + ((bits >> 16) & 0xFFFF)
    return ((both.float() - 65535) / 26754.9).view(-1, 1, height, width)


def _uniform(
    shape: tuple[int, ...], largest: float, source: torch.Generator
) -> Float[Tensor, "*shape"]:
    return (2 * torch.rand(shape, generator=source) - 1) * largest
