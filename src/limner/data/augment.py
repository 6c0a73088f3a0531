"""Paired augmentation of images and masks, a batch at a time on its device.

All geometry is one resampling, all colour one affine map of the channels, so the cost is a few passes over the batch. The
draws are functions of (seed, epoch, step), made on the CPU, so that they are the same on every device and cost no synchronisation.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from limner.recipe import AugmentSettings

ELASTIC_GRID = 5
"""Control points a side of the elastic displacement; bicubic between them."""


def generator(seed: int, epoch: int, step: int) -> torch.Generator:
    """The source of one batch's draws."""
    state = np.random.SeedSequence([seed, epoch, step]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def augment(
    images: Float[Tensor, "b c h w"], masks: UInt8[Tensor, "b h w"], settings: AugmentSettings, draws: torch.Generator
) -> tuple[Float[Tensor, "b c h w"], UInt8[Tensor, "b h w"]]:
    """Move and recolour a batch; images are in 0..1, masks hold class indices and keep exactly those values.

    What lies outside the image is its mirror image, in the mask too.
    """
    grid = _grid(images, settings, draws)
    moved = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    classes = F.grid_sample(masks.unsqueeze(1).to(images.dtype), grid, mode="nearest", padding_mode="reflection", align_corners=False)
    return _recolour(moved, settings, draws), classes[:, 0].round().to(torch.uint8)


def _grid(images: Float[Tensor, "b c h w"], settings: AugmentSettings, draws: torch.Generator) -> Float[Tensor, "b h w 2"]:
    b, _, h, w = images.shape
    angle = _uniform((b,), math.radians(settings.rotate_degrees), draws)
    scale = torch.exp(_uniform((b,), math.log1p(settings.scale), draws))
    mirror = 1 - 2 * (torch.rand(b, generator=draws) < settings.flip).float()
    topple = 1 - 2 * (torch.rand(b, generator=draws) < settings.upside_down).float()
    shift = _uniform((b, 2), 2 * settings.shift, draws)
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    aspect = h / w  # the grid's unit is half a side, so a turn must not shear a wide image
    rows = [torch.stack([mirror * cos, -mirror * sin * aspect, shift[:, 0]], 1), torch.stack([topple * sin / aspect, topple * cos, shift[:, 1]], 1)]
    matrix = torch.stack(rows, 1)  # (b, 2, 3)
    grid = F.affine_grid(matrix.to(images.device, non_blocking=True), [b, 1, h, w], align_corners=False)
    if settings.elastic > 0:
        displacement = _uniform((b, 2, ELASTIC_GRID, ELASTIC_GRID), 2 * settings.elastic, draws).to(images.device, non_blocking=True)
        grid = grid + F.interpolate(displacement, (h, w), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    return grid


def _recolour(images: Float[Tensor, "b c h w"], settings: AugmentSettings, draws: torch.Generator) -> Float[Tensor, "b c h w"]:
    b, c = images.shape[:2]
    contrast = 1 + _uniform((b, 1, 1), settings.contrast, draws)
    balance = 1 + _uniform((b, c, 1), settings.colour / 2, draws)
    saturation = 1 + _uniform((b, 1, 1), settings.colour, draws)
    brightness = _uniform((b, 1, 1, 1), settings.brightness, draws) + 0.5 * (1 - contrast).unsqueeze(-1)
    mix = saturation * torch.eye(c) + (1 - saturation) / c  # (b, c, c)
    mix = (contrast * balance * mix).to(images.device, non_blocking=True)
    sharp, noise = 1 - settings.blur * torch.rand(b, 1, 1, 1, generator=draws), settings.noise * torch.rand(b, 1, 1, 1, generator=draws)
    coloured = torch.einsum("bij,bjhw->bihw", mix, images) + brightness.to(images.device, non_blocking=True)
    if settings.blur > 0:
        blurred = F.avg_pool2d(F.pad(coloured, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        coloured = torch.lerp(blurred, coloured, sharp.to(images.device, non_blocking=True))
    if settings.noise > 0:
        grain = torch.randn(b, 1, *images.shape[2:], generator=draws).to(images.device, non_blocking=True)
        coloured = coloured + noise.to(images.device, non_blocking=True) * grain
    return coloured.clamp(0, 1)


def _uniform(shape: tuple[int, ...], largest: float, draws: torch.Generator) -> Float[Tensor, "*shape"]:
    return (2 * torch.rand(shape, generator=draws) - 1) * largest
