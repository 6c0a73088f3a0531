"""The standardised dataset: memory-mapped uint8 arrays at the working size, keyed by content."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.folder import Sample
from limner.data.images import read_image, read_mask, resize
from limner.data.preprocess import VERSION, shrink_mask
from limner.labels import Labels


@dataclass(frozen=True, slots=True)
class Standardised:
    """Images and masks of some samples, in their order, at one size; memory-mapped and read-only."""

    images: UInt8[ndarray, "n h w 3"]
    masks: UInt8[ndarray, "n h w"]

    def __len__(self) -> int:
        return len(self.images)


def cache_home() -> Path:
    """Where standardised datasets are kept: $LIMNER_CACHE, else the user's cache folder."""
    base = os.environ.get("LIMNER_CACHE")
    return Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "limner"


def prepare(
    samples: Sequence[Sample],
    labels: Labels,
    size_px: tuple[int, int],
    progress: Callable[[Iterable[object], int], Iterable[object]] | None = None,
) -> Standardised:
    """Bring every sample to `size_px`, once; a later call with the same files and settings maps what is there."""
    folder = cache_home() / _key(samples, labels, size_px)
    if not (folder / "complete").exists():
        _build(folder, samples, labels, size_px, progress)
    images = np.load(folder / "images.npy", mmap_mode="r")
    masks = np.load(folder / "masks.npy", mmap_mode="r")
    return Standardised(images, masks)


def _build(
    folder: Path,
    samples: Sequence[Sample],
    labels: Labels,
    size_px: tuple[int, int],
    progress: Callable[[Iterable[object], int], Iterable[object]] | None,
) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=folder.name, dir=folder.parent))
    try:
        height, width = size_px
        images = np.lib.format.open_memmap(temporary / "images.npy", "w+", np.uint8, (len(samples), height, width, 3))
        masks = np.lib.format.open_memmap(temporary / "masks.npy", "w+", np.uint8, (len(samples), height, width))

        for array in (images, masks):
            _reserve(Path(str(array.filename)))

        def standardise(index: int) -> None:
            sample = samples[index]
            images[index] = resize(read_image(sample.image), size_px)
            masks[index] = shrink_mask(labels.to_class_index(read_mask(sample.mask)), size_px, len(labels.names))

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            done: Iterable[object] = pool.map(standardise, range(len(samples)))
            for _ in progress(done, len(samples)) if progress else done:
                pass
        images.flush()
        masks.flush()
        (temporary / "complete").touch()
        if not folder.exists():  # another process may have been quicker; its content is the same
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _reserve(path: Path) -> None:
    """Take the file's space now: a full disk is then an error here, and not a bus error when a page is written."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _key(samples: Sequence[Sample], labels: Labels, size_px: tuple[int, int]) -> str:
    digest = hashlib.sha256(json.dumps([VERSION, size_px, labels.names, labels.values, labels.void_values]).encode())
    for sample in samples:
        for path in (sample.image, sample.mask):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:24]
