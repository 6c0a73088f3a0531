"""The cache of prepared datasets: memory-mapped uint8 arrays at the working size, keyed by content.

An entry is written under another name and renamed when it is whole. So neither a kill nor a second
process leaves half of one. Checksums of its rows are verified when it is opened.
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Int64, UInt8, UInt32
from numpy import ndarray

from limner.data.parallel import Progress, map_in_order, with_progress
from limner.data.preprocess import VERSION, mask_to_canvas, to_canvas
from limner.data.sample import Sample, SampleDigest
from limner.data.sample_info import SampleInfo
from limner.data.views import views
from limner.errors import LimnerError
from limner.labels import Labels
from limner.recipe import ResizeMode

READING = 2
"""Grows where files are read as other pixels than before."""
REDUCED = 2
"""A JPEG may be decoded at a half, a quarter or an eighth as long as it stays this many times the
working size. The canvases then differ by 0.3 grey levels.
"""
VERIFIED_ROWS = 4096
TEMPORARY_PREFIX = ".limner-making-"
ABANDONED_S = 24 * 3600.0
"""A temporary folder that nobody wrote into for so long was left by a killed process."""

Canvas = tuple[UInt8[ndarray, "h w c"], UInt8[ndarray, "h w"]]
"""An image and its mask at the working size."""


@dataclass(frozen=True, slots=True)
class PreparedDataset:
    """The canvases of some samples and their masks, in their order; memory-mapped and read-only.

    `sample_index` gives for each canvas the position of its sample, whose id is in `ids`. `key` is
    a hash of all that the canvases are made from.
    """

    images: UInt8[ndarray, "n h w c"]
    masks: UInt8[ndarray, "n h w"]
    sample_index: Int64[ndarray, " n"]
    ids: tuple[str, ...] = ()
    key: str = ""

    def __len__(self) -> int:
        return len(self.images)


def cache_folder() -> Path:
    """Where prepared datasets are kept: $LIMNER_CACHE, else the user's cache folder."""
    if base := os.environ.get("LIMNER_CACHE"):
        return Path(base)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "limner"


def prepare(
    samples: Sequence[Sample],
    labels: Labels,
    size_px: tuple[int, int],
    resize_mode: ResizeMode = "resize",
    progress: Progress | None = None,
    info: Mapping[str, SampleInfo] | None = None,
) -> PreparedDataset:
    """Bring every sample to canvases of `size_px`, once; a later call with the same content and
    settings maps the cached arrays.

    A damaged entry of the cache is written anew.

    Args:
        samples: At least one.
        labels: How the masks are coded.
        size_px: Height and width of a canvas.
        resize_mode: How an image is brought to that size.
        progress: Wraps the iteration over the samples, where any is prepared.
        info: What `check` learnt of the samples, by id. Their files are then not read to find the
            entry, and preparing refuses a file that changed since.

    Raises LimnerError where a file cannot be read, a file changed since it was checked, or the disk
    does not keep what is written.
    """
    source = _Source(samples, _digests(samples, info or {}), labels, size_px, resize_mode)
    key = source.key()
    folder = cache_folder() / key
    existed = folder.exists()
    prepared = _open_entry(folder, len(samples), size_px)
    if prepared is None and existed:
        # Damaged; what appears from now on is another process's and whole
        shutil.rmtree(folder, ignore_errors=True)
    # Another process that met the same damage may remove the new entry a moment too late
    for _ in range(2):
        if prepared is None:
            _write_entry(folder, source, info or {}, progress)
            prepared = _open_entry(folder, len(samples), size_px)
    if prepared is None:
        raise LimnerError(
            f"{folder} was written but does not read back the same. Is the disk sound? Set "
            "LIMNER_CACHE to a folder on another one."
        )
    return replace(prepared, ids=tuple(sample.id for sample in samples), key=key)


@dataclass(frozen=True, slots=True)
class _Source:
    """All that the canvases of an entry are made from."""

    samples: Sequence[Sample]
    digests: Sequence[SampleDigest]
    labels: Labels
    size_px: tuple[int, int]
    resize_mode: ResizeMode

    def key(self) -> str:
        """The entry's name: a hash of the settings and of each file's content."""
        labels = self.labels
        coding = [labels.names, labels.values, labels.void_values, labels.coloured]
        settings = [VERSION, READING, REDUCED, self.size_px, self.resize_mode, *coding]
        digest = hashlib.sha256(json.dumps(settings).encode())
        for sample, content in zip(self.samples, self.digests, strict=True):
            # The content of a part is its pixels, wherever it lies
            place = f"{sample.page} {sample.channels}"
            if sample.mask_page is not None:
                place += f" {sample.mask_page}"
            digest.update(place.encode() + content.image + content.mask)
        return digest.hexdigest()[:24]

    def canvases(self, position: int) -> list[Canvas]:
        """Read a sample and bring it to its canvases: one, or one for each tile."""
        sample, size_px = self.samples[position], self.size_px
        reduced = (
            None if self.resize_mode == "tile" else (REDUCED * size_px[0], REDUCED * size_px[1])
        )
        mask, mask_info = sample.read_mask_with_info()
        image, image_info = sample.read_image_with_info(reduced)
        checked = self.digests[position]
        for file, sha256, checked_sha256 in (
            (sample.image, image_info.sha256, checked.image),
            (sample.mask, mask_info.sha256, checked.mask),
        ):
            if sha256 != checked_sha256:
                raise LimnerError(
                    f"{file} changed while its dataset was prepared. The files must stay as they "
                    "were checked: wait until nothing writes to them, and start again."
                )
        class_index = sample.to_class_index(mask, self.labels)
        image_px = class_index.shape[0], class_index.shape[1]
        classes = len(self.labels.names)
        return [
            (to_canvas(image, view, size_px), mask_to_canvas(class_index, view, size_px, classes))
            for view in views(image_px, size_px, self.resize_mode)
        ]

    def sample_index(self, info: Mapping[str, SampleInfo]) -> Int64[ndarray, " n"]:
        """For each canvas the position of its sample."""
        positions = np.arange(len(self.samples))
        if self.resize_mode != "tile":
            return positions

        def count_tiles(sample: Sample) -> int:
            image_px = info[sample.id].size_px if sample.id in info else sample.size_px()
            return len(views(image_px, self.size_px, "tile"))

        return np.repeat(positions, list(map_in_order(count_tiles, self.samples)))


def _digests(samples: Sequence[Sample], info: Mapping[str, SampleInfo]) -> list[SampleDigest]:
    """What each sample's files hold, as the check saw them, or read now."""

    def digest(sample: Sample) -> SampleDigest:
        checked = info[sample.id].digest if sample.id in info else None
        return checked or sample.read_digest()

    return list(map_in_order(digest, samples))


def _open_entry(folder: Path, count: int, size_px: tuple[int, int]) -> PreparedDataset | None:
    """Map the arrays of an entry; None where it is missing, of another shape, or damaged."""
    try:
        images = np.load(folder / "images.npy", mmap_mode="r")
        masks = np.load(folder / "masks.npy", mmap_mode="r")
        sample_index = np.load(folder / "owners.npy")
        checksums = np.load(folder / "checksums.npy")
    except (OSError, ValueError, EOFError):
        return None
    rows = sample_index.size
    shapes = (rows, *size_px), (rows, *size_px), (rows + 1,)
    if (
        images.ndim != 4
        or (images.shape[:3], masks.shape, checksums.shape) != shapes
        or checksums[rows] != zlib.crc32(sample_index.tobytes())
        or len(set(sample_index.tolist())) != count
        or not _rows_match(folder, images, masks, checksums)
    ):
        return None
    return PreparedDataset(images, masks, sample_index)


def _rows_match(
    folder: Path,
    images: UInt8[ndarray, "n h w c"],
    masks: UInt8[ndarray, "n h w"],
    checksums: UInt32[ndarray, " n1"],
) -> bool:
    """Whether rows spread over the arrays have the checksums that were written.

    The rows are read from the files, since what is read of a map counts as memory.
    """
    with (
        (folder / "images.npy").open("rb") as image_file,
        (folder / "masks.npy").open("rb") as mask_file,
    ):
        for row in range(0, len(masks), max(1, len(masks) // VERIFIED_ROWS)):
            image, mask = _read_row(image_file, images, row), _read_row(mask_file, masks, row)
            if _row_checksum(image, mask) != checksums[row]:
                return False
    return True


def _read_row(file: BinaryIO, array: ndarray, row: int) -> bytes:
    length = array[0].nbytes
    file.seek(-(len(array) - row) * length, os.SEEK_END)
    return file.read(length)


def _row_checksum(image: bytes, mask: bytes) -> int:
    return zlib.crc32(mask, zlib.crc32(image))


def _write_entry(
    folder: Path, source: _Source, info: Mapping[str, SampleInfo], progress: Progress | None
) -> None:
    """Prepare all samples into a temporary folder, and rename it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder.parent)
    temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=folder.parent))
    count = len(source.samples)
    try:
        sample_index = source.sample_index(info)
        canvases = map_in_order(source.canvases, range(count))
        _write_arrays(
            temporary, with_progress(canvases, count, progress), sample_index, source.size_px
        )
        temporary.rename(folder)
    except OSError as error:
        # Another process was quicker, and its entry is the same
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_arrays(
    folder: Path,
    samples: Iterator[list[Canvas]],
    sample_index: Int64[ndarray, " n"],
    size_px: tuple[int, int],
) -> None:
    """Write the arrays row by row through files; a map's dirty pages would count as memory."""
    first = next(samples)
    image_shape = (len(sample_index), *first[0][0].shape)
    checksums = []
    with (folder / "images.npy").open("wb") as images, (folder / "masks.npy").open("wb") as masks:
        _write_header(images, image_shape)
        _write_header(masks, (len(sample_index), *size_px))
        for canvas in chain(first, chain.from_iterable(samples)):
            image, mask = (array.tobytes() for array in canvas)
            images.write(image)
            masks.write(mask)
            checksums.append(_row_checksum(image, mask))
        for file in (images, masks):
            file.flush()
            os.fsync(file.fileno())
    np.save(folder / "owners.npy", sample_index)
    checksums.append(zlib.crc32(sample_index.tobytes()))
    np.save(folder / "checksums.npy", np.array(checksums, np.uint32))


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _remove_abandoned(parent: Path) -> None:
    """Remove the temporary folders of killed processes, a day later."""
    for folder in parent.glob(f"{TEMPORARY_PREFIX}*"):
        try:
            modified = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
            if time.time() - modified > ABANDONED_S:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            # Another process removed it
            continue
