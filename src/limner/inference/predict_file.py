"""Predict one file of a folder: write its mask and its uncertainty map, and record both.

It runs in a thread of this process, or on a worker of a cluster (`ray_data`).
"""

import errno
import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.images import page_count, pixel_size, read_image
from limner.data.large_images import ArrayImage, LargeImage, open_large_image
from limner.data.storage import Storage
from limner.data.writers.png import encode_mask_png, encode_smooth_png
from limner.data.writers.tiff import (
    TILE_PX,
    compress_tiles,
    write_compressed_tiles,
    write_tiled_tiff,
)
from limner.errors import LimnerError, is_out_of_memory
from limner.files import sha256_of_file
from limner.inference.confidence import CanvasStatistics
from limner.inference.mask_bands import MaskBand
from limner.inference.out_of_distribution import is_unusual
from limner.inference.postprocess import postprocess
from limner.inference.prediction_job import (
    UNCERTAINTY,
    FileResult,
    PredictionJob,
    result_name,
)
from limner.inference.prediction_record import PredictionRecord
from limner.inference.predictor import BAND_ROWS, Predictor
from limner.labels import Labels

ATTEMPTS = 3
"""How often a file is predicted that changes meanwhile."""
DIGITS = 6
"""To which the numbers of a record are rounded."""


@dataclass(frozen=True, slots=True)
class PredictFile:
    """Predicts one file of a job, by its name."""

    predictor: Predictor
    job: PredictionJob

    def __call__(self, name: str) -> FileResult:
        """Write masks, uncertainty maps and the result that a later call resumes from.

        A file that cannot be predicted gives a failure, which is not kept: a later call tries
        again.
        """
        try:
            result = self._predict_unchanged(name)
        except Exception as error:  # noqa: BLE001
            return FileResult(name, failure=spell_failure(error, self.job.images.path_of(name)))
        self.job.out.write_bytes(result_name(name), result.to_json().encode())
        return result

    def _predict_unchanged(self, name: str) -> FileResult:
        """Predict a file, and start again where it changed meanwhile."""
        images = self.job.images
        for _ in range(ATTEMPTS):
            fingerprint = images.fingerprint(name)
            try:
                with images.local_file(name) as path:
                    records = self._predict(name, path)
                    digest = sha256_of_file(path)
            except LimnerError:
                if images.fingerprint(name) == fingerprint:
                    raise
                # The file that could not be read was replaced since
                continue
            if images.fingerprint(name) == fingerprint:
                return FileResult(
                    name,
                    fingerprint,
                    tuple(replace(record, image_sha256=digest) for record in records),
                )
        raise changed_meanwhile(images.path_of(name))

    def _predict(self, name: str, path: Path) -> list[PredictionRecord]:
        if image := open_large_image(path, self.predictor.channels):
            return [self._predict_large(name, image, self.job.large_mask(name))]
        records = self._predict_pages(name, path, PurePosixPath(self.job.masks[name]))
        size = pixel_size(path)
        return [replace(record, pixel_size=size) for record in records]

    def _predict_pages(self, name: str, path: Path, mask: PurePosixPath) -> list[PredictionRecord]:
        # A stack may have the suffix of a single image
        pages = page_count(path)
        if pages == 1:
            return [self._predict_page(name, path, 0, mask.as_posix())]
        masks = [mask.with_stem(f"{mask.stem}#{page + 1}").as_posix() for page in range(pages)]
        if shared := set(masks) & set(self.job.masks.values()):
            raise LimnerError(
                f"{self.job.images.path_of(name)}: its mask {min(shared)} would be that of "
                "another image. Rename one of them."
            )
        try:
            return [self._predict_page(name, path, page, mask) for page, mask in enumerate(masks)]
        except BaseException:
            # A stack is predicted as a whole or not at all
            remove_masks(self.job.out, masks)
            raise

    def _predict_page(self, name: str, path: Path, page: int, mask_name: str) -> PredictionRecord:
        """Predict one page in memory.

        Only a band of it has probabilities at a time: they take four bytes a pixel and class.
        """
        image = read_image(path, page=page, channels=self.predictor.channels)
        mask = np.empty(image.shape[:2], np.uint8)
        uncertainty = np.empty(image.shape[:2], np.uint8)
        total_entropy = 0.0
        bands, statistics = self.predictor.stream(ArrayImage(image), BAND_ROWS)
        for top, band in zip(range(0, len(image), BAND_ROWS), bands, strict=True):
            rows = slice(top, top + BAND_ROWS)
            mask[rows], uncertainty[rows] = band.mask, band.uncertainty
            total_entropy += band.entropy
        labels, settings = self.predictor.labels, self.predictor.settings
        mask = postprocess(mask, settings.postprocessing, labels)
        self.job.out.write_bytes(mask_name, encode_mask_png(labels.to_pixels(mask)))
        self.job.out.write_bytes(f"{UNCERTAINTY}/{mask_name}", encode_smooth_png(uncertainty))
        mean_entropy = total_entropy / uncertainty.size
        return self._record(name, page, mask_name, statistics, mean_entropy)

    def _predict_large(self, name: str, image: LargeImage, mask_name: str) -> PredictionRecord:
        """Predict an image that does not fit into memory, band by band, as tiled TIFFs."""
        stream, statistics = self.predictor.stream(image, TILE_PX)
        bands = GreyBands(stream, self.predictor.labels)
        names = (mask_name, f"{UNCERTAINTY}/{mask_name}")
        write_large_masks(self.job.out, names, image.size_px, bands)
        mean_entropy = bands.entropy / math.prod(image.size_px)
        return self.large_record(name, image, mask_name, statistics, mean_entropy)

    def large_record(
        self,
        name: str,
        image: LargeImage,
        mask_name: str,
        statistics: Sequence[Sequence[CanvasStatistics]],
        mean_entropy: float,
    ) -> PredictionRecord:
        """The record of an image that does not fit into memory."""
        record = self._record(name, 0, mask_name, statistics, mean_entropy)
        # Post-processing needs the whole mask in memory
        return replace(
            record,
            left_out=self.predictor.settings.postprocessing.enabled,
            pixel_size=image.pixel_size,
        )

    def _record(
        self,
        name: str,
        page: int,
        mask_name: str,
        statistics: Sequence[Sequence[CanvasStatistics]],
        mean_entropy: float,
    ) -> PredictionRecord:
        predicted_dice, unusualness = self.predictor.assess(statistics)
        return PredictionRecord(
            image=self.job.images.path_of(name),
            page=page,
            mask=mask_name,
            uncertainty=f"{UNCERTAINTY}/{mask_name}",
            predicted_dice=None if predicted_dice is None else round(predicted_dice, DIGITS),
            unusual=is_unusual(unusualness),
            unusualness=None if unusualness is None else round(unusualness, DIGITS),
            mean_entropy=round(mean_entropy, DIGITS),
        )


def remove_masks(out: Storage, masks: Iterable[str]) -> None:
    """Remove masks and their uncertainty maps from a folder of predictions, where they exist."""
    for mask in masks:
        out.remove_file(mask)
        out.remove_file(f"{UNCERTAINTY}/{mask}")


def spell_failure(error: Exception, path: str) -> str:
    """Say why an image cannot be predicted. Raises an error that is no fault of the image."""
    if isinstance(error, LimnerError):
        return str(error)
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"{path}: the name of its mask would be too long here. Rename it."
    if is_out_of_memory(error):
        return f"{path} needs more memory than there is. Export it as a TIFF in tiles, or cut it."
    raise error


def changed_meanwhile(path: str) -> LimnerError:
    """The error for an image that did not stay as it was."""
    return LimnerError(
        f"{path} was changed each time that it was looked at. Let it be written whole first."
    )


class GreyBand(NamedTuple):
    """Some rows of a mask, and of its uncertainty map, as they are in their files."""

    mask: UInt8[ndarray, "h w"]
    uncertainty: UInt8[ndarray, "h w"]


class GreyBands:
    """The bands of an image as they are written, and the sum of their entropy.

    Args:
        bands: Those that were predicted; they are taken once.
        labels: Give the pixels of the mask's file; without them class indices are written.
    """

    def __init__(self, bands: Iterable[MaskBand], labels: Labels | None = None) -> None:
        self._bands, self._labels = bands, labels
        self.entropy = 0.0
        """The sum over all pixels so far."""

    def __iter__(self) -> Iterator[GreyBand]:
        for band in self._bands:
            self.entropy += band.entropy
            pixels = band.mask
            if self._labels is not None:
                pixels = large_mask_pixels(pixels, self._labels)
            yield GreyBand(pixels, band.uncertainty)


def write_large_masks(
    out: Storage, names: tuple[str, str], size_px: tuple[int, int], bands: Iterable[GreyBand]
) -> None:
    """Write a mask and its uncertainty map as tiled TIFFs, band by band.

    Args:
        out: Where they are written.
        names: Of the mask and of the map.
        size_px: Height and width.
        bands: From top to bottom, each of `TILE_PX` rows; the last may have fewer.
    """
    # One file is written at a time: the tiles of the other one wait on disk
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile(dir=folder) as waiting:
        lengths: list[int] = []

        def mask_bands() -> Iterator[UInt8[ndarray, "_ w"]]:
            for band in bands:
                lengths.extend(waiting.write(tile) for tile in compress_tiles(band.uncertainty))
                yield band.mask

        mask_path, uncertainty_path = Path(folder) / "mask.tif", Path(folder) / "entropy.tif"
        write_tiled_tiff(mask_path, size_px, mask_bands())
        waiting.seek(0)
        write_compressed_tiles(uncertainty_path, size_px, map(waiting.read, lengths))
        for name, path in zip(names, (mask_path, uncertainty_path), strict=True):
            out.upload(name, path)


def large_masks_hold_classes(labels: Labels) -> bool:
    """Whether the masks of large images hold class indices.

    Their TIFFs are grey, and the pixel values of a coloured set of several classes are not.
    """
    return labels.coloured and not labels.binary


def large_mask_pixels(mask: UInt8[ndarray, "h w"], labels: Labels) -> UInt8[ndarray, "h w"]:
    """The pixels of a large image's mask, from class indices."""
    return mask if large_masks_hold_classes(labels) else labels.to_pixels(mask)
