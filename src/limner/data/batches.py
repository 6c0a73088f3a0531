"""Seeded, shuffled batches; the order depends on seed, epoch and step alone."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from numpy import ndarray
from torch import Tensor

from limner.data.augment import augment, generator
from limner.data.cache import Standardised
from limner.recipe import AugmentSettings

RESIDENT_SHARE = 0.25
"""A dataset that fits into this share of the free GPU memory is kept there."""


def order(count: int, seed: int, epoch: int) -> Int64[ndarray, " n"]:
    """The order in which one epoch visits `count` samples."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch]))).permutation(count)


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Full batches only, but at least one: a last small batch would upset batch normalisation."""
    return max(1, count // batch_size)


class Batches:
    """Training batches on a device: images in 0..1 and class indices, augmented."""

    def __init__(self, data: Standardised, batch_size: int, augmentation: AugmentSettings, seed: int, device: torch.device) -> None:
        self.count, self.batch_size, self.augmentation, self.seed, self.device = len(data), batch_size, augmentation, seed, device
        images, masks = data.images, data.masks
        resident = device.type == "cuda" and images.nbytes + masks.nbytes < RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]
        self._resident = (torch.tensor(images).to(device), torch.tensor(masks).to(device)) if resident else None
        self._images, self._masks = images, masks

    def __len__(self) -> int:
        return steps_per_epoch(self.count, self.batch_size)

    def class_pixels(self, classes: int) -> Int64[ndarray, " k"]:
        """How many pixels each class has, in at most 2,000 masks spread over the set; void pixels are in no class."""
        chosen = self._masks[:: max(1, self.count // 2000)]
        return sum((np.bincount(mask.ravel(), minlength=256) for mask in chosen), np.zeros(256, np.int64))[:classes]

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[tuple[Float[Tensor, "b 3 h w"], UInt8[Tensor, "b h w"]]]:
        """The batches of one epoch from `first_step` on."""
        visited = order(self.count, self.seed, epoch)
        for step in range(first_step, len(self)):
            indices = visited[step * self.batch_size : (step + 1) * self.batch_size]
            images, masks = self._take(indices)
            yield augment(images.permute(0, 3, 1, 2).float() / 255, masks, self.augmentation, generator(self.seed, epoch, step))

    def _take(self, indices: Int64[ndarray, " b"]) -> tuple[UInt8[Tensor, "b h w 3"], UInt8[Tensor, "b h w"]]:
        if self._resident is not None:
            on_device = torch.from_numpy(indices).to(self.device, non_blocking=True)
            return self._resident[0][on_device], self._resident[1][on_device]
        images, masks = torch.from_numpy(self._images[indices]), torch.from_numpy(self._masks[indices])
        if self.device.type == "cuda":
            images, masks = images.pin_memory(), masks.pin_memory()
        return images.to(self.device, non_blocking=True), masks.to(self.device, non_blocking=True)
