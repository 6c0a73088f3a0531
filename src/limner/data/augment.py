"""Paired augmentation of images and masks, a batch at a time on its device.

All geometry is one resampling, all colour one affine map of the channels, so the cost is a few
passes over the batch. The parameters are functions of (seed, epoch, step). They are drawn on the
CPU for the whole batch, so they are the same on every device and for any part of the batch. They go
to the device in one copy, which costs no synchronisation.
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
    """The random generator of one batch."""
    state = np.random.SeedSequence([seed, epoch, step]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


@dataclass(frozen=True, slots=True)
class AugmentParameters:
    """What happens to each image of a batch, in the order of the batch.

    `affine` maps output to input positions, in units of half an image side, as does `displacement`
    at the control points. Colours are multiplied by `colour_matrix`, then `brightness` is added.
    `sharpness` is 1 for an image that is not blurred. `noise` is a standard deviation in units of
    the range 0..1.
    """

    affine: Float[Tensor, "b 2 3"]
    displacement: Float[Tensor, "b 2 g g"]
    colour_matrix: Float[Tensor, "b c c"]
    brightness: Float[Tensor, "b 1"]
    sharpness: Float[Tensor, "b 1"]
    noise: Float[Tensor, "b 1"]
    noise_seed: Float[Tensor, "b 1"]

    def select(self, rows: slice, device: torch.device) -> "AugmentParameters":
        """The parameters of some of the batch's images, on their device."""
        values = [getattr(self, name)[rows] for name in self.__slots__]
        packed = torch.cat([value.flatten(1) for value in values], 1)
        if device.type == "cuda":
            packed = packed.pin_memory()
        packed = packed.to(device, non_blocking=True)
        parts = torch.split(packed, [value[0].numel() for value in values], 1)
        return AugmentParameters(
            *(part.reshape(value.shape) for part, value in zip(parts, values, strict=True))
        )


def sample_parameters(
    shape: tuple[int, int, int, int], settings: AugmentSettings, generator: torch.Generator
) -> AugmentParameters:
    """Draw the parameters for a batch of images (b, c, h, w).

    The order of the draws is part of a run's identity: each one moves the generator on.
    """
    b, c, h, w = shape
    affine = _sample_affine(b, h / w, settings, generator)
    grid = (b, 2, ELASTIC_GRID, ELASTIC_GRID)
    displacement = _uniform(grid, 2 * settings.elastic, generator)
    contrast = 1 + _uniform((b, 1, 1), settings.contrast, generator)
    colour_matrix = _sample_colour(contrast, c, settings, generator)
    # Contrast is around mid-grey
    brightness = _uniform((b, 1), settings.brightness, generator) + 0.5 * (1 - contrast[:, 0])
    sharpness = 1 - settings.blur * torch.rand(b, 1, generator=generator)
    noise = settings.noise * torch.rand(b, 1, generator=generator)
    noise_seed = torch.randint(NOISE_SEEDS, (b, 1), generator=generator).float()
    return AugmentParameters(
        affine, displacement, colour_matrix, brightness, sharpness, noise, noise_seed
    )


def _sample_affine(
    b: int, aspect: float, settings: AugmentSettings, generator: torch.Generator
) -> Float[Tensor, "b 2 3"]:
    """Rotations, scales, flips and shifts; `aspect` is the images' height by their width."""
    angle = _uniform((b,), math.radians(settings.rotate_degrees), generator)
    scale = torch.exp(_uniform((b,), math.log1p(settings.scale), generator))
    flip_x = 1 - 2 * (torch.rand(b, generator=generator) < settings.horizontal_flip).float()
    flip_y = 1 - 2 * (torch.rand(b, generator=generator) < settings.vertical_flip).float()
    shift = _uniform((b, 2), 2 * settings.shift, generator)
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    # The grid's unit is half a side, so a rotation must not shear a wide image
    rows = [
        torch.stack([flip_x * cos, -flip_x * sin * aspect, shift[:, 0]], 1),
        torch.stack([flip_y * sin / aspect, flip_y * cos, shift[:, 1]], 1),
    ]
    return torch.stack(rows, 1)


def _sample_colour(
    contrast: Float[Tensor, "b 1 1"], c: int, settings: AugmentSettings, generator: torch.Generator
) -> Float[Tensor, "b c c"]:
    """Contrast, white balance and saturation as a matrix over the channels."""
    b = len(contrast)
    balance = 1 + _uniform((b, c, 1), settings.colour / 2, generator)
    # The channels of a microscope are not colours
    largest = settings.colour if c == 3 else 0.0
    saturation = 1 + _uniform((b, 1, 1), largest, generator)
    return contrast * balance * (saturation * torch.eye(c) + (1 - saturation) / c)


def augment(
    images: Float[Tensor, "b c h w"],
    masks: UInt8[Tensor, "b h w"],
    settings: AugmentSettings,
    parameters: AugmentParameters,
) -> tuple[Float[Tensor, "b c h w"], UInt8[Tensor, "b h w"]]:
    """Move and recolour a batch.

    Args:
        images: In 0..1.
        masks: Class indices; they keep exactly these values.
        settings: What is switched off there costs nothing.
        parameters: Of these images, on their device.

    What lies outside an image is its mirror image, in the mask too.
    """
    b, _, h, w = images.shape
    grid = F.affine_grid(parameters.affine, [b, 1, h, w], align_corners=False)
    if settings.elastic > 0:
        grid = grid + F.interpolate(
            parameters.displacement, (h, w), mode="bicubic", align_corners=True
        ).permute(0, 2, 3, 1)
    moved = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    moved_masks = F.grid_sample(
        masks.unsqueeze(1).to(images.dtype),
        grid,
        mode="nearest",
        padding_mode="reflection",
        align_corners=False,
    )
    return _recolour(moved, settings, parameters), moved_masks[:, 0].round().to(torch.uint8)


def _recolour(
    images: Float[Tensor, "b c h w"], settings: AugmentSettings, parameters: AugmentParameters
) -> Float[Tensor, "b c h w"]:
    coloured = torch.einsum("bij,bjhw->bihw", parameters.colour_matrix, images)
    coloured = coloured + parameters.brightness[..., None, None]
    if settings.blur > 0:
        blurred = F.avg_pool2d(F.pad(coloured, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        coloured = torch.lerp(blurred, coloured, parameters.sharpness[..., None, None])
    if settings.noise > 0:
        noise = hash_noise(parameters.noise_seed, images.shape[2], images.shape[3])
        coloured = coloured + parameters.noise[..., None, None] * noise
    return coloured.clamp(0, 1)


def hash_noise(seeds: Float[Tensor, "b 1"], height: int, width: int) -> Float[Tensor, "b 1 h w"]:
    """Noise of mean 0 and variance 1 from a hash of seed and position, the same on every device.

    It is the sum of two uniform draws of 16 bits. The hash is one of those that C. Wellons found by
    search (github.com/skeeto/hash-prospector), in 32 bits that overflow.
    """
    positions = torch.arange(height * width, dtype=torch.int32, device=seeds.device)
    bits = positions + seeds.to(torch.int32) * 1_664_525
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B - 2**32)):
        bits = (bits ^ ((bits >> shift) & 0xFFFF)) * factor
    sums = (bits & 0xFFFF) + ((bits >> 16) & 0xFFFF)
    return ((sums.float() - 65535) / 26754.9).view(-1, 1, height, width)


def _uniform(
    shape: tuple[int, ...], largest: float, generator: torch.Generator
) -> Float[Tensor, "*shape"]:
    """Uniform in -largest..largest."""
    return (2 * torch.rand(shape, generator=generator) - 1) * largest
