"""Seeded, shuffled batches; the order depends on seed, epoch and step alone."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from numpy import ndarray
from torch import Tensor

from limner.data.augment import augment, batch_generator, sample_parameters
from limner.data.cache import PreparedDataset
from limner.recipe import AugmentSettings

Item = TypeVar("Item")
Made = TypeVar("Made")

RESIDENT_SHARE = 0.25
"""A dataset that fits into this share of the free GPU memory is kept there."""


def epoch_order(count: int, seed: int, epoch: int) -> Int64[ndarray, " n"]:
    """The order in which one epoch visits `count` samples."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch]))).permutation(
        count
    )


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Full batches only, but at least one: a last small batch would upset batch normalisation."""
    return max(1, count // batch_size)


class DeviceDataset:
    """The canvases of a dataset as tensors on a device: kept there where they fit, else copied row
    by row through pinned memory.
    """

    def __init__(self, data: PreparedDataset, device: torch.device) -> None:
        self.device = device
        resident = (
            device.type == "cuda"
            and data.images.nbytes + data.masks.nbytes
            < RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]
        )
        self.resident = (
            (torch.tensor(data.images).to(device), torch.tensor(data.masks).to(device))
            if resident
            else None
        )
        self._images, self._masks = data.images, data.masks

    def __getitem__(
        self, rows: Int64[ndarray, " b"]
    ) -> tuple[UInt8[Tensor, "b h w c"], UInt8[Tensor, "b h w"]]:
        if self.resident is not None:
            on_device = torch.from_numpy(rows).pin_memory().to(self.device, non_blocking=True)
            return self.resident[0][on_device], self.resident[1][on_device]
        images, masks = torch.from_numpy(self._images[rows]), torch.from_numpy(self._masks[rows])
        if self.device.type == "cuda":
            images, masks = images.pin_memory(), masks.pin_memory()
        return images.to(self.device, non_blocking=True), masks.to(self.device, non_blocking=True)

    def iter_batches(
        self, batches: Sequence[Int64[ndarray, " _"]]
    ) -> Iterator[tuple[UInt8[Tensor, "_ h w c"], UInt8[Tensor, "_ h w"]]]:
        """One batch of rows after another; where they are copied to a GPU, the next one is read
        while the last is worked on.
        """
        if self.device.type == "cuda" and self.resident is None:
            return _prefetch(self.__getitem__, batches)
        return (self[rows] for rows in batches)


class BatchLoader:
    """Training batches on a device: images in 0..1 and class indices, augmented.

    Of every batch, `share` of so many (rank, ranks) are this process's part; what it is does not
    depend on how many share it.
    """

    def __init__(
        self,
        data: PreparedDataset,
        batch_size: int,
        augmentation: AugmentSettings,
        seed: int,
        device: torch.device,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.count, self.batch_size, self.augmentation, self.seed, self.device, self.shard = (
            len(data),
            batch_size,
            augmentation,
            seed,
            device,
            share,
        )
        self._data, self._pixels = data, DeviceDataset(data, device)

    def __len__(self) -> int:
        return steps_per_epoch(self.count, self.batch_size)

    def class_pixels(self, classes: int) -> Int64[ndarray, " k"]:
        """How many pixels each class has, in at most 2,000 masks spread over the set; void pixels
        are in no class.
        """
        chosen = self._data.masks[:: max(1, self.count // 2000)]
        return sum(
            (np.bincount(mask.ravel(), minlength=256) for mask in chosen), np.zeros(256, np.int64)
        )[:classes]

    def sample_ids(self, epoch: int, step: int) -> list[str]:
        """Whose canvases are in a batch."""
        return [
            self._data.ids[owner]
            for owner in self._data.sample_index[
                self._rows(epoch_order(self.count, self.seed, epoch), step)
            ]
        ]

    def epoch(
        self, epoch: int, first_step: int = 0
    ) -> Iterator[tuple[Float[Tensor, "b c h w"], UInt8[Tensor, "b h w"]]]:
        """The batches of one epoch from `first_step` on."""
        steps = range(first_step, len(self))
        visited = epoch_order(self.count, self.seed, epoch)
        whole = [self._rows(visited, step) for step in steps]
        parts = [self._part(len(rows)) for rows in whole]
        taken = self._pixels.iter_batches(
            [rows[part] for rows, part in zip(whole, parts, strict=True)]
        )
        for step, rows, part, (images, masks) in zip(steps, whole, parts, taken, strict=True):
            _, h, w, c = images.shape
            draws = sample_parameters(
                (len(rows), c, h, w), self.augmentation, batch_generator(self.seed, epoch, step)
            ).select(part, self.device)
            yield augment(images.permute(0, 3, 1, 2).float() / 255, masks, self.augmentation, draws)

    def _rows(self, visited: Int64[ndarray, " n"], step: int) -> Int64[ndarray, " b"]:
        rows = visited[step * self.batch_size : (step + 1) * self.batch_size]
        return rows[
            : max(1, len(rows) // self.shard[1])
            * self.shard[
                1
            ]
            # As many for each process
        ]

    def _part(self, count: int) -> slice:
        rank, ranks = self.shard
        return slice(rank * count // ranks, (rank + 1) * count // ranks)


def _prefetch(make: Callable[[Item], Made], items: Sequence[Item]) -> Iterator[Made]:
    """What is made of the items, in their order, each begun in another thread before the one before
    it is used.
    """
    with ThreadPoolExecutor(1) as pool:
        under_way: deque[Future[Made]] = deque()
        for item in items:
            under_way.append(pool.submit(make, item))
            if len(under_way) > 1:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
