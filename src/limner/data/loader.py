"""Seeded, shuffled training batches; their order depends on seed, epoch and step alone."""

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
Result = TypeVar("Result")

RESIDENT_SHARE = 0.25
"""A dataset that fits into this share of the free GPU memory is kept there."""
COUNTED_MASKS = 2000
"""Masks whose class pixels are counted, at most about so many, spread over the set."""


def epoch_order(count: int, seed: int, epoch: int) -> Int64[ndarray, " n"]:
    """The order in which one epoch visits `count` canvases."""
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch])))
    return generator.permutation(count)


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Full batches only, but at least one: a last small batch would upset batch normalisation."""
    return max(1, count // batch_size)


class DeviceDataset:
    """The canvases of a dataset as tensors on a device.

    They are kept on a GPU where they fit, else copied row by row through pinned memory.
    """

    def __init__(self, data: PreparedDataset, device: torch.device) -> None:
        self.device = device
        self._images, self._masks = data.images, data.masks
        self.resident: tuple[Tensor, Tensor] | None = None
        """Images and masks on the GPU, where they are kept there."""
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if data.images.nbytes + data.masks.nbytes < RESIDENT_SHARE * free:
                self.resident = (
                    torch.tensor(data.images).to(device),
                    torch.tensor(data.masks).to(device),
                )

    def __getitem__(
        self, rows: Int64[ndarray, " b"]
    ) -> tuple[UInt8[Tensor, "b h w c"], UInt8[Tensor, "b h w"]]:
        """The images and the masks of some rows."""
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
        """One batch of rows after another.

        Where rows are copied to a GPU, the next batch is read while the last one is worked on.
        """
        if self.device.type == "cuda" and self.resident is None:
            return _prefetch(self.__getitem__, batches)
        return (self[rows] for rows in batches)


class BatchLoader:
    """Training batches on a device: images in 0..1 and class indices, augmented.

    Args:
        data: The prepared training set.
        batch_size: Canvases of a batch, all processes together.
        augmentation: How strongly images are moved and recoloured.
        seed: Of the order and of the augmentation.
        device: Where the batches go.
        shard: This process's rank and the number of processes that share each batch. What a batch
            holds does not depend on the latter.
    """

    def __init__(
        self,
        data: PreparedDataset,
        batch_size: int,
        augmentation: AugmentSettings,
        seed: int,
        device: torch.device,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        self.count = len(data)
        self.batch_size = batch_size
        self.augmentation = augmentation
        self.seed = seed
        self.device = device
        self.shard = shard
        self._data, self._canvases = data, DeviceDataset(data, device)

    def __len__(self) -> int:
        """Steps of an epoch."""
        return steps_per_epoch(self.count, self.batch_size)

    def class_pixels(self, classes: int) -> Int64[ndarray, " k"]:
        """Count each class's pixels in masks spread over the set; void pixels are in no class."""
        masks = self._data.masks[:: max(1, self.count // COUNTED_MASKS)]
        counts = np.zeros(256, np.int64)
        for mask in masks:
            counts += np.bincount(mask.ravel(), minlength=256)
        return counts[:classes]

    def sample_ids(self, epoch: int, step: int) -> list[str]:
        """The ids of the samples whose canvases are in a batch."""
        rows = self._batch_rows(epoch_order(self.count, self.seed, epoch), step)
        return [self._data.ids[position] for position in self._data.sample_index[rows]]

    def epoch(
        self, epoch: int, first_step: int = 0
    ) -> Iterator[tuple[Float[Tensor, "b c h w"], UInt8[Tensor, "b h w"]]]:
        """This process's part of the batches of one epoch, from `first_step` on."""
        steps = range(first_step, len(self))
        order = epoch_order(self.count, self.seed, epoch)
        batches = [self._batch_rows(order, step) for step in steps]
        parts = [self._shard_rows(len(rows)) for rows in batches]
        canvases = self._canvases.iter_batches(
            [rows[part] for rows, part in zip(batches, parts, strict=True)]
        )
        for step, rows, part, (images, masks) in zip(steps, batches, parts, canvases, strict=True):
            _, h, w, c = images.shape
            generator = batch_generator(self.seed, epoch, step)
            parameters = sample_parameters((len(rows), c, h, w), self.augmentation, generator)
            yield augment(
                images.permute(0, 3, 1, 2).float() / 255,
                masks,
                self.augmentation,
                parameters.select(part, self.device),
            )

    def _batch_rows(self, order: Int64[ndarray, " n"], step: int) -> Int64[ndarray, " b"]:
        """The rows of a batch, as many for each process."""
        rows = order[step * self.batch_size : (step + 1) * self.batch_size]
        _, processes = self.shard
        return rows[: max(1, len(rows) // processes) * processes]

    def _shard_rows(self, count: int) -> slice:
        """Which rows of a batch of `count` are this process's."""
        rank, processes = self.shard
        return slice(rank * count // processes, (rank + 1) * count // processes)


def _prefetch(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """The results in the order of the items, each started in a thread before the last is used."""
    with ThreadPoolExecutor(1) as pool:
        pending: deque[Future[Result]] = deque()
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > 1:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
