"""The routes of pictures: images as they are read or as people set them, thumbnails, maps."""

import gzip
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query
from fastapi.responses import Response
from jaxtyping import UInt8
from numpy import ndarray
from pydantic import BaseModel, Field

from limner.data.display import MAX_GAMMA, Display, ImageValues
from limner.data.writers.jpeg import encode_jpeg
from limner.web.errors import ProblemError
from limner.web.review.context import Context, Position
from limner.web.review.images import public_errors

NUMBER = r"-?\d{1,12}(\.\d{1,20})?(e[-+]?\d{1,2})?"
WINDOW = rf"^\d{{0,3}}:{NUMBER}:{NUMBER}$"
MOST_WINDOWS = 64

router = APIRouter(prefix="/api")


class DisplayQuery(BaseModel):
    """How an image is shown, where that is set."""

    window: Annotated[
        list[Annotated[str, Field(pattern=WINDOW, max_length=100)]],
        Field(max_length=MOST_WINDOWS, description="CHANNEL:BLACK:WHITE, or :BLACK:WHITE of all"),
    ] = []
    gamma: Annotated[float, Field(ge=1 / MAX_GAMMA, le=MAX_GAMMA)] = 1.0
    channel: Annotated[int | None, Field(ge=0)] = None


@router.get("/tasks/{place}/image")
def image(
    context: Context, position: Position, query: Annotated[DisplayQuery, Query()]
) -> Response:
    """The image as JPEG: as it is read, or as the query says."""
    context.task_at(position)
    display = Display(_windows(query.window), query.gamma, query.channel)
    if display == Display():
        pixels, fingerprint = context.images.image(position)
    else:
        values, fingerprint = context.images.values(position)
        _require_channel(values, display.channel)
        pixels = values.show(display)
    return Response(
        encode_jpeg(np.ascontiguousarray(pixels), 95),
        media_type="image/jpeg",
        headers={"X-Basis": fingerprint},
    )


@router.get("/tasks/{place}/display")
def display(
    context: Context, position: Position, channel: Annotated[int | None, Query(ge=0)] = None
) -> dict[str, Any]:
    """What can be set: the range of values, what is shown by default, and the file's windows."""
    context.task_at(position)
    values, _ = context.images.values(position)
    _require_channel(values, channel)
    lowest, highest = values.bounds(channel)
    low, high = values.proposed(channel)
    return {
        "channels": values.channels,
        "lowest": lowest,
        "highest": highest,
        "low": low,
        "high": high,
        "windows": [window._asdict() for window in values.windows],
    }


@router.get("/tasks/{place}/tiles/{level}/{row}/{column}")
def tile(context: Context, position: Position, level: int, row: int, column: int) -> Response:
    """A tile of 512 px of a large image: at its own size, and with each level at half of it."""
    context.task_at(position)
    content = context.images.tile(position, level, row, column)
    return Response(content, media_type="image/jpeg")


@router.get("/tasks/{place}/thumbnail")
def thumbnail(context: Context, position: Position) -> Response:
    context.task_at(position)
    return Response(context.images.thumbnail(position), media_type="image/jpeg")


@router.get("/tasks/{place}/predicted")
def predicted(context: Context, position: Position) -> Response:
    """The mask before anybody changed it: class indices, row by row."""
    task = context.task_at(position)
    fingerprint = context.session.fingerprint(task)
    with public_errors(task):
        pixels = context.session.predictions.mask(task.entry)
    return mask_response(pixels, f'"{fingerprint}"')


@router.get("/tasks/{place}/uncertainty")
def uncertainty(context: Context, position: Position) -> Response:
    """The map of uncertainty as PNG: 255 where the model cannot decide."""
    path = context.task_at(position).entry.uncertainty
    if path is None or not path.is_file() or path.suffix != ".png":
        raise ProblemError(404, "there is no map of uncertainty for this mask.")
    return Response(path.read_bytes(), media_type="image/png")


def _windows(texts: Sequence[str]) -> dict[int | None, tuple[float, float]]:
    """Black and white of channels, as a query states them."""
    windows: dict[int | None, tuple[float, float]] = {}
    for text in texts:
        channel, low, high = text.split(":")
        windows[int(channel) if channel else None] = float(low), float(high)
    return windows


def mask_response(pixels: UInt8[ndarray, "h w"], etag: str) -> Response:
    """Class indices, row by row, packed."""
    height, width = pixels.shape
    return Response(
        gzip.compress(np.ascontiguousarray(pixels).tobytes(), 1, mtime=0),
        media_type="application/octet-stream",
        headers={
            "ETag": etag,
            "Content-Encoding": "gzip",
            "X-Height": str(height),
            "X-Width": str(width),
        },
    )


def _require_channel(values: ImageValues, channel: int | None) -> None:
    if channel is not None and channel >= values.channels:
        raise ProblemError(
            422, f"the image has {values.channels} channels, counted from 0: there is no {channel}."
        )
