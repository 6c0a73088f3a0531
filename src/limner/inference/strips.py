"""A large image in strips of rows, which several workers predict and whose masks are joined.

The tiles of all strips are those of the whole image, and so is what the image is judged by.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.large_images import LargeImage, open_large_image
from limner.data.tiled_tiff import TiledTiff
from limner.data.views import Box
from limner.data.writers.tiff import TILE_PX
from limner.files import sha256_of_file
from limner.inference.confidence import CanvasStatistics
from limner.inference.predict_file import (
    GreyBand,
    GreyBands,
    PredictFile,
    changed_meanwhile,
    large_mask_pixels,
    spell_failure,
    write_large_masks,
)
from limner.inference.prediction_job import UNCERTAINTY, FileResult, PredictionJob, result_name
from limner.inference.prediction_record import PredictionRecord
from limner.inference.predictor import Predictor
from limner.inference.quality import MaskStatistics
from limner.inference.tile_grid import Strip
from limner.inference.tiling import split_rows


@dataclass(frozen=True, slots=True)
class StripResult:
    """What is known of a strip beside its mask, or why there is none."""

    name: str
    """Of the image."""
    strip: Strip
    fingerprint: str = ""
    """Of the image as it was predicted."""
    entropy: float = 0.0
    """The sum over the strip's pixels."""
    statistics: tuple[tuple[CanvasStatistics, ...], ...] = ()
    """Of each model's canvases."""
    failure: str | None = None

    def to_json(self) -> str:
        """The result as text, for another process or a later call."""
        statistics = [
            [
                [[asdict(mask) for mask in canvas.masks], canvas.appearance.tolist()]
                for canvas in canvases
            ]
            for canvases in self.statistics
        ]
        return json.dumps(
            {
                "name": self.name,
                "strip": astuple(self.strip),
                "fingerprint": self.fingerprint,
                "entropy": self.entropy,
                "statistics": statistics,
                "failure": self.failure,
            }
        )

    @classmethod
    def from_json(cls, content: str | bytes) -> "StripResult":
        """Read the text back. Raises ValueError where it was cut off."""
        values: dict[str, Any] = json.loads(content)
        statistics = tuple(
            tuple(
                CanvasStatistics([MaskStatistics(**mask) for mask in masks], np.array(appearance))
                for masks, appearance in canvases
            )
            for canvases in values["statistics"]
        )
        return cls(**{**values, "strip": Strip(*values["strip"]), "statistics": statistics})


@dataclass(frozen=True, slots=True)
class PredictStrip:
    """Predicts one strip of an image of a job."""

    predictor: Predictor
    job: PredictionJob

    def __call__(self, name: str, strip: Strip) -> StripResult:
        """Write the strip's mask and uncertainty among what is unfinished.

        A strip that an earlier call predicted is not predicted again. One that cannot be predicted
        gives a failure.
        """
        fingerprint = self.job.images.fingerprint(name)
        earlier = self._earlier(name, strip)
        if earlier is not None and earlier.fingerprint == fingerprint:
            return earlier
        try:
            with self.job.images.local_file(name) as path:
                image = open_large_image(path, self.predictor.channels)
                if image is None:
                    raise changed_meanwhile(self.job.images.path_of(name))
                result = self._predict(name, strip, fingerprint, image)
        except Exception as error:  # noqa: BLE001
            failure = spell_failure(error, self.job.images.path_of(name))
            return StripResult(name, strip, failure=failure)
        self.job.out.write_bytes(_result_name(name, strip), result.to_json().encode())
        return result

    def _earlier(self, name: str, strip: Strip) -> StripResult | None:
        try:
            return StripResult.from_json(self.job.out.read_bytes(_result_name(name, strip)) or b"")
        except ValueError:
            # There is none, or a loss of power cut it off
            return None

    def _predict(self, name: str, strip: Strip, fingerprint: str, image: LargeImage) -> StripResult:
        stream, statistics = self.predictor.stream(image, TILE_PX, strip)
        bands = GreyBands(stream)
        top, end = self.predictor.strip_rows(image.size_px, strip)
        size_px = (end - top, image.size_px[1])
        write_large_masks(self.job.out, _mask_names(name, strip), size_px, bands)
        return StripResult(name, strip, fingerprint, bands.entropy, tuple(map(tuple, statistics)))


def join_strips(
    predictor: Predictor, job: PredictionJob, results: Sequence[StripResult]
) -> FileResult:
    """Write the mask and the uncertainty map of an image from those of its strips.

    Args:
        predictor: The models, as the strips were predicted by.
        job: The job that they belong to.
        results: Of all strips of one image, in any order.

    Returns the result that a later call resumes from; a failure is not kept.
    """
    results = sorted(results, key=lambda result: result.strip)
    name = results[0].name
    for result in results:
        if result.failure is not None:
            return FileResult(name, failure=result.failure)
    fingerprint = job.images.fingerprint(name)
    with job.images.local_file(name) as path:
        image = open_large_image(path, predictor.channels)
        if image is None or any(result.fingerprint != fingerprint for result in results):
            return FileResult(name, failure=str(changed_meanwhile(job.images.path_of(name))))
        record = _join_masks(PredictFile(predictor, job), image, results)
        record = replace(record, image_sha256=sha256_of_file(path))
    joined = FileResult(name, fingerprint, (record,))
    job.out.write_bytes(result_name(name), joined.to_json().encode())
    return joined


def _join_masks(
    work: PredictFile, image: LargeImage, results: Sequence[StripResult]
) -> PredictionRecord:
    """Write an image's mask and uncertainty map from those of its strips, in their order."""
    name, labels = results[0].name, work.predictor.labels
    mask_name = work.job.large_mask(name)
    bands = (
        GreyBand(large_mask_pixels(mask, labels), uncertainty)
        for mask, uncertainty in split_rows(_read_strips(work.job, results), TILE_PX)
    )
    names = (mask_name, f"{UNCERTAINTY}/{mask_name}")
    write_large_masks(work.job.out, names, image.size_px, bands)
    statistics = [
        [canvas for canvases in strips for canvas in canvases]
        for strips in zip(*(result.statistics for result in results), strict=True)
    ]
    entropy = math.fsum(result.entropy for result in results) / math.prod(image.size_px)
    return work.large_record(name, image, mask_name, statistics, entropy)


def _read_strips(
    job: PredictionJob, results: Sequence[StripResult]
) -> Iterator[UInt8[ndarray, "2 h w"]]:
    """Masks and uncertainty of strips, in their order and in bands."""
    for result in results:
        mask_name, uncertainty_name = _mask_names(result.name, result.strip)
        with job.out.local_file(mask_name) as mask, job.out.local_file(uncertainty_name) as grey:
            files = TiledTiff(mask), TiledTiff(grey)
            height, width = files[0].size_px
            for top in range(0, height, TILE_PX):
                box = Box(top, 0, min(TILE_PX, height - top), width)
                yield np.stack([file.read_stored(box)[0][..., 0] for file in files])


def _result_name(name: str, strip: Strip) -> str:
    """Not .json, as the results of whole images."""
    return f"{_stem(name, strip)}.strip"


def _mask_names(name: str, strip: Strip) -> tuple[str, str]:
    """The names of a strip's mask, in class indices, and of its uncertainty map."""
    return f"{_stem(name, strip)}.tif", f"{_stem(name, strip)}-{UNCERTAINTY}.tif"


def _stem(name: str, strip: Strip) -> str:
    return f"{result_name(name).removesuffix('.json')}-{strip.index}-of-{strip.count}"
