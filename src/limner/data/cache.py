"""The standardised dataset: memory-mapped uint8 arrays at the working size, keyed by content.

A folder of the cache is made under another name and renamed when it is whole, so that neither a
kill nor a second process leaves half of one. Checksums of its rows are looked at when it is opened.
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Int64, UInt8, UInt32
from numpy import ndarray

from limner.data.parallel import Progress, map_in_order, with_progress
from limner.data.preprocess import VERSION, mask_to_canvas, to_canvas, views
from limner.data.sample import Sample
from limner.errors import LimnerError
from limner.labels import Labels
from limner.recipe import ResizeMode

REDUCED = 2
"""A JPEG may be decoded at a half, a quarter or an eighth as long as it stays this many times the
working size (0.3 grey levels apart).
"""
VERIFIED_ROWS = 4096
MAKING = ".limner-making-"
ABANDONED_S = 24 * 3600.0

Canvas = tuple[UInt8[ndarray, "h w c"], UInt8[ndarray, "h w"]]


@dataclass(frozen=True, slots=True)
class PreparedDataset:
    """The canvases of some samples and their masks, in their order; memory-mapped and read-only.

    `owners` counts from 0 and tells the sample of each, whose id is in `ids`; `key` is a hash of
    all that they are made from.
    """

    images: UInt8[ndarray, "n h w c"]
    masks: UInt8[ndarray, "n h w"]
    sample_index: Int64[ndarray, " n"]
    ids: tuple[str, ...] = ()
    key: str = ""

    def __len__(self) -> int:
        return len(self.images)


def cache_folder() -> Path:
    """Where standardised datasets are kept: $LIMNER_CACHE, else the user's cache folder."""
    base = os.environ.get("LIMNER_CACHE")
    return (
        Path(base)
        if base
        else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "limner"
    )


def prepare(
    samples: Sequence[Sample],
    labels: Labels,
    size_px: tuple[int, int],
    resize_mode: ResizeMode = "resize",
    progress: Progress | None = None,
) -> PreparedDataset:
    """Lay every sample onto canvases of `size_px`, once; a later call with the same files and
    settings maps what is there.

    What is there but damaged is made anew. Raises LimnerError where a file cannot be read or the
    disk is full.
    """
    key = _key(samples, labels, size_px, resize_mode)
    folder = cache_folder() / key
    there = folder.exists()
    found = _open(folder, len(samples), size_px)
    if found is None and there:
        # Damaged; what appears from now on is another process's and whole
        shutil.rmtree(folder, ignore_errors=True)
    for _ in range(
        2
        # Another process that found the damage as well may remove it a moment too late
    ):
        if found is None:
            _build(folder, samples, labels, size_px, resize_mode, progress)
            found = _open(folder, len(samples), size_px)
    if found is None:
        raise LimnerError(
            f"{folder} was written but does not read back the same. Is the disk sound? Set "
            "LIMNER_CACHE to a folder on another one."
        )
    return replace(found, ids=tuple(sample.id for sample in samples), key=key)


def _open(folder: Path, count: int, size_px: tuple[int, int]) -> PreparedDataset | None:
    """What the folder holds, or None where it is missing, of another shape, or its rows are not
    those that were written.
    """
    try:
        images = np.load(folder / "images.npy", mmap_mode="r")
        masks = np.load(folder / "masks.npy", mmap_mode="r")
        owners, checksums = np.load(folder / "owners.npy"), np.load(folder / "checksums.npy")
    except (OSError, ValueError, EOFError):
        return None
    rows = owners.size
    shapes = (rows, *size_px), (rows, *size_px), (rows + 1,)
    if (
        images.ndim != 4
        or (images.shape[:3], masks.shape, checksums.shape) != shapes
        or checksums[rows] != zlib.crc32(owners.tobytes())
        or len(set(owners.tolist())) != count
    ):
        return None
    return (
        PreparedDataset(images, masks, owners) if _sound(folder, images, masks, checksums) else None
    )


def _sound(
    folder: Path,
    images: UInt8[ndarray, "n h w c"],
    masks: UInt8[ndarray, "n h w"],
    checksums: UInt32[ndarray, " n1"],
) -> bool:
    """Whether rows spread over the arrays are those that were written; read from the files, since
    what is read of a map counts as memory.
    """
    with (
        (folder / "images.npy").open("rb") as image_file,
        (folder / "masks.npy").open("rb") as mask_file,
    ):
        for row in range(0, len(masks), max(1, len(masks) // VERIFIED_ROWS)):
            image, mask = (
                _row(file, array, row) for file, array in ((image_file, images), (mask_file, masks))
            )
            if zlib.crc32(mask, zlib.crc32(image)) != checksums[row]:
                return False
    return True


def _row(file: BinaryIO, array: ndarray, row: int) -> bytes:
    length = array[0].nbytes
    file.seek(-(len(array) - row) * length, os.SEEK_END)
    return file.read(length)


def _build(
    folder: Path,
    samples: Sequence[Sample],
    labels: Labels,
    size_px: tuple[int, int],
    resize_mode: ResizeMode,
    progress: Progress | None,
) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    temporary = Path(tempfile.mkdtemp(prefix=MAKING, dir=folder.parent))
    try:
        counts = (
            map_in_order(lambda sample: len(views(sample.size_px(), size_px, resize_mode)), samples)
            if resize_mode == "tile"
            else [1] * len(samples)
        )
        owners = np.repeat(np.arange(len(samples)), list(counts))
        canvases = with_progress(
            map_in_order(
                lambda sample: _standardise(sample, labels, size_px, resize_mode), samples
            ),
            len(samples),
            progress,
        )
        _write(temporary, canvases, owners, size_px)
        temporary.rename(folder)
    except OSError as error:
        if error.errno not in (
            errno.ENOTEMPTY,
            errno.EEXIST,
            # Another process was quicker; its content is the same
        ):
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _standardise(
    sample: Sample, labels: Labels, size_px: tuple[int, int], resize_mode: ResizeMode
) -> list[Canvas]:
    class_index = sample.class_index(labels)
    image = sample.read_image(
        None if resize_mode == "tile" else (REDUCED * size_px[0], REDUCED * size_px[1])
    )
    seen = views((class_index.shape[0], class_index.shape[1]), size_px, resize_mode)
    return [
        (
            to_canvas(image, view, size_px),
            mask_to_canvas(class_index, view, size_px, len(labels.names)),
        )
        for view in seen
    ]


def _write(
    folder: Path,
    samples: Iterator[list[Canvas]],
    owners: Int64[ndarray, " n"],
    size_px: tuple[int, int],
) -> None:
    """The arrays, row by row through files: a map's dirty pages would count as memory until they
    are written.
    """
    checksums = []
    first = next(samples)
    samples = chain([first], samples)
    with (folder / "images.npy").open("wb") as images, (folder / "masks.npy").open("wb") as masks:
        for file, shape in (
            (images, (len(owners), *first[0][0].shape)),
            (masks, (len(owners), *size_px)),
        ):
            np.lib.format.write_array_header_1_0(
                file, {"descr": "|u1", "fortran_order": False, "shape": shape}
            )
        for canvases in samples:
            for image, mask in canvases:
                images.write(image.tobytes())
                masks.write(mask.tobytes())
                checksums.append(zlib.crc32(mask.tobytes(), zlib.crc32(image.tobytes())))
        for file in (images, masks):
            file.flush()
            os.fsync(file.fileno())
    np.save(folder / "owners.npy", owners)
    np.save(
        folder / "checksums.npy", np.array([*checksums, zlib.crc32(owners.tobytes())], np.uint32)
    )


def _sweep(home: Path) -> None:
    """Remove what a killed process left half made, a day later."""
    for left in home.glob(f"{MAKING}*"):
        try:
            if (
                time.time() - max(path.stat().st_mtime for path in (left, *left.iterdir()))
                > ABANDONED_S
            ):
                shutil.rmtree(left, ignore_errors=True)
        except OSError:
            # Another process swept it
            continue


def _key(
    samples: Sequence[Sample], labels: Labels, size_px: tuple[int, int], resize_mode: ResizeMode
) -> str:
    digest = hashlib.sha256(
        json.dumps(
            [
                VERSION,
                REDUCED,
                size_px,
                resize_mode,
                labels.names,
                labels.values,
                labels.void_values,
                labels.coloured,
            ]
        ).encode()
    )
    contents = map_in_order(
        lambda sample: [hashlib.sha256(part).digest() for part in sample.content()], samples
    )
    for sample, parts in zip(samples, contents, strict=True):
        digest.update(str(sample.page).encode() + b"".join(parts))
    return digest.hexdigest()[:24]
