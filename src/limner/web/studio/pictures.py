"""The routes of pictures: images and masks of the dataset, and predicted masks."""

import io
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, TypeVar

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from limner.data.images import read_image
from limner.data.overlays import draw_overlay, shrink_pair
from limner.data.writers.jpeg import encode_jpeg
from limner.errors import LimnerError
from limner.inference.prediction_record import PREDICTIONS_FILE
from limner.labels import Labels
from limner.review.predictions import Entry, Predictions
from limner.review.sources import read_predictions
from limner.review.void import dice_between
from limner.studio.projects import Project
from limner.web.errors import ProblemError
from limner.web.studio.context import OpenedProject

THUMBNAIL_PX, SHOWN_PX = 224, 1024
MAX_PIXELS = 64_000_000
"""Larger images are looked at in the review, part by part."""
MOST_RECORDS = 200
KEPT_FOLDERS, KEPT_PICTURES = 4, 600
QUALITY = 80
Item = TypeVar("Item")
Index = Annotated[int, Query(ge=0)]

router = APIRouter(prefix="/api/projects/{id}")


class PictureCache:
    """Pictures as they were sent, by what they are of, and the predictions that were read last."""

    def __init__(self) -> None:
        self._pictures: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self._folders: OrderedDict[tuple[str, int], Predictions] = OrderedDict()
        self._lock = Lock()

    def picture(self, key: tuple[object, ...], draw: Callable[[], bytes]) -> bytes:
        """The picture with a key, drawn where it is not there yet."""
        with self._lock:
            if key in self._pictures:
                self._pictures.move_to_end(key)
                return self._pictures[key]
        content = draw()
        with self._lock:
            self._pictures[key] = content
            while len(self._pictures) > KEPT_PICTURES:
                self._pictures.popitem(last=False)
        return content

    def predictions(self, folder: Path) -> Predictions:
        """The predictions in a folder. Raises LimnerError where they cannot be read."""
        with self._lock:
            key = str(folder), (folder / PREDICTIONS_FILE).stat().st_mtime_ns
            if key not in self._folders:
                self._folders[key] = read_predictions(folder)
                while len(self._folders) > KEPT_FOLDERS:
                    self._folders.popitem(last=False)
            self._folders.move_to_end(key)
            return self._folders[key]


@router.get("/images/{index}")
def image(request: Request, project: OpenedProject, index: int) -> Response:
    """An image of the dataset, small."""
    path = _at(project.data.images, index)
    return _jpeg(request, ("image", path, _changed(path)), lambda: _draw_image(path))


@router.get("/samples/{index}")
def sample(request: Request, project: OpenedProject, index: int) -> Response:
    """An image of the dataset with its mask over it, small, once a check has seen the classes."""
    found = _at(project.data.samples, index)
    labels = project.check.labels if project.check else None
    if labels is None:
        raise ProblemError(404, "the classes are not known yet. Check the masks first.")

    def draw() -> bytes:
        pixels = found.read_image((THUMBNAIL_PX, THUMBNAIL_PX))
        return _draw_pair(pixels, found.class_index(labels), labels, THUMBNAIL_PX)

    key = "sample", found.id, *(_changed(path) for path in found.files()), labels
    return _jpeg(request, key, draw)


@router.get("/predictions/{name}")
def records(
    request: Request,
    project: OpenedProject,
    name: str,
    start: Index = 0,
    count: Annotated[int, Query(ge=1, le=MOST_RECORDS)] = 60,
    beside: Annotated[str, Query(max_length=255)] = "",
) -> dict[str, Any]:
    """Predicted masks, the least certain first; `beside` compares them with those of others."""
    predictions = _predictions(request, project, name)
    entries = _sorted_entries(predictions)
    others = _others(request, project, beside) if beside else {}
    shown = []
    for index, entry in enumerate(entries[start : start + count], start):
        other = others.get(_content(entry))
        shown.append(
            {
                "index": index,
                "name": entry.name,
                "predicted_dice": entry.predicted_dice,
                "unusual": entry.unusual,
                "other": None if other is None else other[0],
                "agreement": None
                if other is None
                else _agreement(predictions, entry, other[1], other[2]),
            }
        )
    labels = predictions.labels
    return {
        "count": len(entries),
        "records": shown,
        "has_threshold": len(labels.scored) == 1 and len(labels.names) == 2,
    }


@router.get("/predictions/{name}/{index:int}")
def prediction(
    request: Request,
    project: OpenedProject,
    name: str,
    index: int,
    what: Annotated[str, Query(pattern="^(overlay|large|image|probability)$")] = "overlay",
) -> Response:
    """A predicted mask: drawn into its image, small or large, the image, or the probability."""
    predictions = _predictions(request, project, name)
    entry = _at(_sorted_entries(predictions), index)
    key = what, name, entry.id, predictions.identity, predictions.fingerprint(entry)
    if what == "probability":
        content = _cache(request).picture(key, lambda: _draw_probability(predictions, entry))
        return Response(content, media_type="image/png")
    side = THUMBNAIL_PX if what == "overlay" else SHOWN_PX

    def draw() -> bytes:
        pixels = _read_whole(predictions, entry)
        mask = predictions.mask(entry)
        if what == "image":
            mask = np.zeros_like(mask)
        return _draw_pair(pixels, mask, predictions.labels, side)

    return _jpeg(request, key, draw)


def _draw_image(path: Path) -> bytes:
    pixels = read_image(path, at_least_px=(THUMBNAIL_PX, THUMBNAIL_PX))
    small, _ = shrink_pair(pixels, np.zeros(pixels.shape[:2], np.uint8), THUMBNAIL_PX)
    return encode_jpeg(small, QUALITY)


def _draw_pair(
    pixels: UInt8[ndarray, "h w c"], mask: UInt8[ndarray, "h2 w2"], labels: Labels, side_px: int
) -> bytes:
    overlay = draw_overlay(*shrink_pair(pixels, mask, side_px), labels)
    return encode_jpeg(overlay, QUALITY)


def _read_whole(predictions: Predictions, entry: Entry) -> UInt8[ndarray, "h w c"]:
    _require_small(predictions.size_px(entry))
    return predictions.image(entry)


def _draw_probability(predictions: Predictions, entry: Entry) -> bytes:
    """The probability of the one class as a grey PNG, no larger than it is shown.

    It is what the mask and its map of uncertainty tell: calibrated, and of the pixels between the
    model's threshold and 0.5, which are the least certain, mirrored at 0.5.
    """
    if entry.uncertainty is None or entry.uncertainty.suffix != ".png":
        raise ProblemError(404, "there is no map of uncertainty for this mask.")
    mask = predictions.mask(entry)
    _require_small(mask.shape)
    with Image.open(entry.uncertainty) as map_file:
        uncertain = np.asarray(map_file)
    if uncertain.shape != mask.shape:
        raise ProblemError(404, "the map of uncertainty has another size than the mask.")
    inside = mask == predictions.labels.scored[0]
    certain = CERTAINTY[uncertain]
    grey = Image.fromarray(np.where(inside, certain, 255 - certain).astype(np.uint8))
    grey.thumbnail((SHOWN_PX, SHOWN_PX), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    grey.save(file, "PNG")
    return file.getvalue()


def _certainty_of_entropy() -> UInt8[ndarray, " 256"]:
    """By the entropy of two classes, 0 to 255, the probability of the likelier, 127 to 255."""
    probability = np.linspace(0.5, 1, 4096)
    rest = np.maximum(1 - probability, 1e-12)
    bits = -(probability * np.log2(probability) + rest * np.log2(rest))
    # np.interp takes rising values
    found = np.interp(np.arange(256) / 255, bits[::-1], probability[::-1])
    return np.round(255 * found).astype(np.uint8)


CERTAINTY = _certainty_of_entropy()


def _require_small(size_px: tuple[int, ...]) -> None:
    height, width = size_px
    if height * width > MAX_PIXELS:
        raise ProblemError(413, f"the image has {width}x{height} px. Look at it in the review.")


def _predictions(request: Request, project: Project, name: str) -> Predictions:
    if not any(each.name == name for each in project.predictions):
        raise ProblemError(404, f"there are no predictions {name}.")
    try:
        return _cache(request).predictions(project.work / name)
    except (LimnerError, OSError) as error:
        raise ProblemError(404, str(error)) from None


def _sorted_entries(predictions: Predictions) -> list[Entry]:
    return sorted(predictions.entries, key=lambda entry: (entry.priority, entry.id))


def _others(
    request: Request, project: Project, name: str
) -> dict[tuple[str | None, int], tuple[int, Predictions, Entry]]:
    """Other predictions by the content of their images, each with its place in their order."""
    others = _predictions(request, project, name)
    return {
        _content(entry): (index, others, entry)
        for index, entry in enumerate(_sorted_entries(others))
    }


def _content(entry: Entry) -> tuple[str | None, int]:
    return entry.image_sha256, entry.page


def _agreement(
    predictions: Predictions, entry: Entry, others: Predictions, other: Entry
) -> float | None:
    """The Dice between two masks of an image; None where they cannot be compared."""
    try:
        first, second = predictions.mask(entry), others.mask(other)
    except LimnerError:
        return None
    if first.shape != second.shape:
        return None
    dice = dice_between(first, second, predictions.labels)
    # Both find nothing
    return 1.0 if math.isnan(dice) else round(dice, 4)


def _cache(request: Request) -> PictureCache:
    cache: PictureCache = request.app.state.pictures
    return cache


def _jpeg(request: Request, key: tuple[object, ...], draw: Callable[[], bytes]) -> Response:
    try:
        content = _cache(request).picture(key, draw)
    except LimnerError as error:
        raise ProblemError(422, str(error)) from None
    return Response(content, media_type="image/jpeg")


def _at(items: Sequence[Item], index: int) -> Item:
    """An item by its place. Raises ProblemError where there is none."""
    if not 0 <= index < len(items):
        raise ProblemError(404, f"there are {len(items)}, counted from 0.")
    return items[index]


def _changed(path: Path) -> int:
    """When a file was changed last; 0 where it is gone."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
