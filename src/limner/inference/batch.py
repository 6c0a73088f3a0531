"""Predict a folder of images: masks, uncertainty maps, `predictions.json` and an overview picture.

The result of each file is kept until all are done. The same call resumes a job that was stopped,
on whatever machines it ran.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.image_pixels import to_rgb
from limner.data.images import read_image, read_predicted_mask
from limner.data.large_images import LargeImage, downsample, open_large_image
from limner.data.overlays import CELL_PX, COLUMNS, contact_sheet, draw_overlay, shrink_pair
from limner.data.parallel import Progress, map_in_order, with_progress
from limner.data.tiled_tiff import TiledTiff
from limner.data.views import Box
from limner.data.writers.jpeg import encode_jpeg
from limner.errors import LimnerError
from limner.files import not_empty, sha256_of_file
from limner.inference.predict_file import (
    PredictFile,
    large_masks_hold_classes,
    remove_masks,
)
from limner.inference.prediction_job import UNFINISHED, FileResult, PredictionJob
from limner.inference.prediction_record import PREDICTIONS_FILE, PredictionFile, PredictionRecord
from limner.inference.predictor import Predictor
from limner.labels import Labels

OVERVIEW_FILE = "overview.jpg"
OVERVIEW_IMAGES = 4 * COLUMNS
SETTINGS_FILE = f"{UNFINISHED}/settings.json"
"""What an unfinished job predicts, and how."""
SETTING = re.compile(r"(\w+)=('\w*'|[\w.+-]+)[,)]")
"""A setting in the text that a job keeps of them, and its value."""

MapFiles = Callable[[Callable[[str], FileResult], Iterable[str]], Iterable[FileResult]]
"""Calls a function for each of many file names, in threads or on other machines."""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What a folder of predictions holds."""

    records: list[PredictionRecord]
    """Sorted for review, the least certain first."""
    failures: list[str]
    """A message for each file that was not predicted."""
    resumed: int
    """How many files an earlier call had done."""
    images_gone: tuple[str, ...] = ()
    """Paths of images that an earlier call predicted, and that are there no more."""


def predict_folder(
    predictor: Predictor,
    job: PredictionJob,
    progress: Progress | None = None,
    map_files: MapFiles = map_in_order,
) -> BatchResult:
    """Predict the files of a job, and write masks, `predictions.json` and `overview.jpg`.

    Each image gives `<name>.png` and `uncertainty/<name>.png`, which is 0 where the mask is certain
    and 255 where all classes are equally likely. An image too large for memory gives tiled TIFFs.
    The JSON and the overview start with the lowest predicted Dice. A file that cannot be read does
    not stop the rest.

    Where `job.out` holds predictions by the same models and settings, finished or not, only what
    is missing is predicted, and what has changed since.

    Args:
        predictor: segments the images.
        job: which images, and where the masks go.
        progress: wraps the files that are left, to show a progress bar.
        map_files: runs the files; threads by default.

    Raises LimnerError where `job.out` holds anything else, or another process predicts into it.
    """
    out = job.out
    with out.exclusive() as alone:
        if not alone:
            raise LimnerError(
                f"another process predicts into {out.path_of('')}. Wait for it, or stop it "
                "first; then the same command goes on from there."
            )
        settings = _settings(predictor, job)
        results = _earlier_results(job, settings)
        job = job.beside(results.values())
        resumed = sum(name in results for name in job.masks)
        remaining = [name for name in job.masks if name not in results]
        new_results = iter(map_files(PredictFile(predictor, job), remaining))
        for result in with_progress(new_results, len(remaining), progress):
            results[result.name] = result
        # Images of earlier calls keep their place in the folder
        names = [*job.masks, *sorted(results.keys() - job.masks.keys())]
        ordered = [*(results[name] for name in names), *job.foreign_results()]
        others = results.keys() - job.masks.keys()
        gone = tuple(
            job.images.path_of(name) for name in sorted(others) if not job.images.fingerprint(name)
        )
        file = PredictionFile(
            tuple(job.models),
            predictor.labels,
            tuple(_in_order_of_review(ordered)),
            tuple(result.failure for result in ordered if result.failure is not None),
            gone,
            settings,
        )
        _write_predictions(job, file, ordered)
        out.remove_folder(UNFINISHED)
    return BatchResult(list(file.records), list(file.failures), resumed, gone)


def _settings(predictor: Predictor, job: PredictionJob) -> dict[str, Any]:
    """What makes two calls the same job."""
    return {
        "images": job.images.path_of(""),
        "models": dict(job.models),
        "classes": list(predictor.labels.names),
        "inference": str(predictor.settings),
        # Results of earlier versions have no such key
        **({"precision": job.precision} if job.precision != "float32" else {}),
    }


def _earlier_results(job: PredictionJob, settings: dict[str, Any]) -> dict[str, FileResult]:
    """What earlier calls have done, by file name; their failures are tried again.

    Raises LimnerError where the folder holds anything else.
    """
    out = job.out
    content = out.read_bytes(SETTINGS_FILE)
    if content is not None and _parse_settings(content) != settings:
        raise LimnerError(
            f"{out.path_of('')} holds unfinished predictions of "
            f"{_difference(_parse_settings(content), settings)}. Finish them with the same "
            "command, or name a new folder with --out."
        )
    results = _results_of_finished(job, settings)
    if content is None and results is None and not out.is_empty():
        raise _holds_others(job, settings)
    out.write_bytes(SETTINGS_FILE, json.dumps(settings).encode())
    results = results or {}
    for file_name in out.list_files(UNFINISHED) if content is not None else ():
        result = _read_result(job, file_name)
        if (
            result
            and result.name in job.masks
            and result.fingerprint == job.images.fingerprint(result.name)
        ):
            results[result.name] = result
    return results


def _holds_others(job: PredictionJob, settings: dict[str, Any]) -> LimnerError:
    """The error for a folder that holds something else than results of the same job."""
    out = job.out
    content = out.read_bytes(PREDICTIONS_FILE)
    if content is None:
        return not_empty(out.path_of(), "--out")
    file = PredictionFile.from_bytes(content, Path(out.path_of(PREDICTIONS_FILE)))
    return LimnerError(
        f"{out.path_of()} holds predictions of {_difference(file.settings, settings)}. Nothing is "
        "overwritten: name a new folder with --out."
    )


def _difference(earlier: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """What an earlier job had otherwise, such as "other models (a.safetensors)"."""
    if not earlier:
        return "an earlier version or a job that cannot be read"
    models, earlier_models = settings["models"], earlier.get("models", {})
    if models != earlier_models:
        if models.keys() != set(earlier_models):
            return f"other models ({', '.join(earlier_models)})"
        changed = next(path for path in models if models[path] != earlier_models[path])
        return f"the model {changed} as it was before it changed"
    if earlier.get("images") != settings["images"]:
        return f"other images ({earlier.get('images')})"
    if earlier.get("precision") != settings.get("precision"):
        return f"--precision {earlier.get('precision', 'float32')}"
    before, now = (
        dict(SETTING.findall(str(each.get("inference")))) for each in (earlier, settings)
    )
    changed = [
        f"{name} {value.strip(chr(39))}" for name, value in before.items() if now.get(name) != value
    ]
    return f"other settings ({', '.join(changed)})"


def _results_of_finished(
    job: PredictionJob, settings: dict[str, Any]
) -> dict[str, FileResult] | None:
    """The results in `predictions.json` of images that are as they were.

    The masks of images that have changed are removed. None where there is no such file, or one of
    other models or settings.
    """
    content = job.out.read_bytes(PREDICTIONS_FILE)
    if content is None:
        return None
    file = PredictionFile.from_bytes(content, Path(job.out.path_of(PREDICTIONS_FILE)))
    if file.settings != settings:
        return None
    records_by_name: dict[str, list[PredictionRecord]] = {}
    root = job.images.path_of("").rstrip("/") + "/"
    for record in file.records:
        records_by_name.setdefault(record.image.removeprefix(root), []).append(record)
    results: dict[str, FileResult] = {}
    for name, records in records_by_name.items():
        if name not in job.masks or _is_unchanged(job, name, records):
            results[name] = FileResult(name, records=tuple(records))
        else:
            remove_masks(job.out, [record.mask for record in records])
    return results


def _is_unchanged(job: PredictionJob, name: str, records: Sequence[PredictionRecord]) -> bool:
    """Whether an image has the content that its records tell of, and its masks are there."""
    with job.images.local_file(name) as path:
        same = sha256_of_file(path) == records[0].image_sha256
    return same and all(job.out.fingerprint(record.mask) for record in records)


def _parse_settings(content: bytes) -> dict[str, Any]:
    try:
        settings: dict[str, Any] = json.loads(content)
    except ValueError:
        # A loss of power cut it off
        return {}
    return settings


def _read_result(job: PredictionJob, file_name: str) -> FileResult | None:
    """The result in a file of the unfinished folder; None where a loss of power cut it off."""
    if not file_name.endswith(".json") or file_name == SETTINGS_FILE:
        return None
    try:
        return FileResult.from_json(job.out.read_bytes(file_name) or b"")
    except ValueError:
        return None


def _in_order_of_review(results: Iterable[FileResult]) -> list[PredictionRecord]:
    records = [record for result in results for record in result.records]
    return sorted(records, key=lambda record: record.priority)


def _write_predictions(
    job: PredictionJob, file: PredictionFile, results: Iterable[FileResult]
) -> None:
    """Write `predictions.json`, and the overview of the images of this call."""
    job.out.write_bytes(PREDICTIONS_FILE, file.to_bytes())
    # Images of earlier calls may be gone
    names = {
        record.mask: result.name
        for result in results
        for record in result.records
        if result.name in job.masks
    }
    shown = [record for record in file.records if record.mask in names][:OVERVIEW_IMAGES]
    if shown:
        thumbnails = [_thumbnail(record, names[record.mask], job, file.labels) for record in shown]
        captions = [(Path(record.mask).stem, _spell_predicted(record)) for record in shown]
        job.out.write_bytes(OVERVIEW_FILE, encode_jpeg(contact_sheet(thumbnails, captions), 92))


def _spell_predicted(record: PredictionRecord) -> str:
    """The predicted Dice of an image, for its caption; empty where there is none."""
    return "" if record.predicted_dice is None else f"{record.predicted_dice:.2f}"


def _thumbnail(
    record: PredictionRecord, name: str, job: PredictionJob, labels: Labels
) -> UInt8[ndarray, "h w 3"]:
    """An image with its mask, at the size of a cell of the overview."""
    with job.images.local_file(name) as path, job.out.local_file(record.mask) as mask_path:
        if image := open_large_image(path):
            return _large_thumbnail(image, mask_path, labels)
        mask = read_predicted_mask(mask_path, labels)
        return draw_overlay(*shrink_pair(read_image(path, page=record.page), mask), labels)


def _large_thumbnail(image: LargeImage, mask_path: Path, labels: Labels) -> UInt8[ndarray, "h w 3"]:
    """A large image with its mask, of which only the rows that are shown are read."""
    height, width = image.size_px
    longer = max(height, width)
    size_px = max(1, height * CELL_PX // longer), max(1, width * CELL_PX // longer)
    columns = np.arange(size_px[1]) * width // size_px[1]
    mask_file = TiledTiff(mask_path)
    mask = np.stack(
        [
            mask_file.read(Box(row * height // size_px[0], 0, 1, width))[0, columns, 0]
            for row in range(size_px[0])
        ]
    )
    if not large_masks_hold_classes(labels):
        mask = labels.from_pixels(mask)
    return draw_overlay(to_rgb(downsample(image, size_px)), mask, labels)
