"""The route /v1/segment: an image in, its mask out, as PNG or JSON."""

import time
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from jaxtyping import UInt8
from numpy import ndarray
from pydantic import BaseModel, ConfigDict, Field

from limner.data.image_file import TooLargeError
from limner.data.images import decode_image
from limner.errors import LimnerError
from limner.inference.predictor import Prediction
from limner.web.errors import ERROR_RESPONSES, ProblemError
from limner.web.service import responses
from limner.web.service.admission import TimeoutMs
from limner.web.service.context import Context
from limner.web.service.models import ServedModel

IMAGE_TYPES = (
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/bmp",
    "image/tiff",
    "application/dicom",
    "application/octet-stream",
)
CURL_DEFAULT_TYPE = "application/x-www-form-urlencoded"
"""The type that curl --data-binary gives any file."""
MEDIA_TYPES: dict[str, Literal["png", "json"]] = {
    "image/png": "png",
    "image/*": "png",
    "*/*": "png",
    "": "png",
    "application/json": "json",
    "application/*": "json",
}
"""What is sent for an entry of Accept."""


class ClassMask(BaseModel):
    """One class of a mask."""

    model_config = ConfigDict(populate_by_name=True)
    name: Annotated[str, Field(alias="class")]
    class_index: int
    area_px: int
    share: Annotated[float, Field(description="of the image's pixels")]
    bbox: Annotated[list[int], Field(description="left, top, width, height, in px")]
    rle: Annotated[
        dict[str, Any], Field(description="COCO run lengths: size (height, width) and counts")
    ]
    polygons: Annotated[
        list[list[list[float]]],
        Field(description="rings of [x, y] in px; a hole is a ring of its own"),
    ]


class Segmentation(BaseModel):
    """What was drawn in an image."""

    model: str
    version: str
    width: int
    height: int
    threshold: float | None
    predicted_dice: float | None
    unusual: bool
    classes: list[ClassMask]
    timing_ms: dict[str, float]
    request_id: str


BINARY = {"schema": {"type": "string", "format": "binary"}}
REQUEST_BODY = {"requestBody": {"required": True, "content": dict.fromkeys(IMAGE_TYPES, BINARY)}}
MASK_RESPONSE = {
    "model": Segmentation,
    "content": {"image/png": BINARY},
    "description": "as Accept says",
}
ModelName = Annotated[
    str | None, Query(description="its name; the first that is served by default")
]
Threshold = Annotated[
    float | None,
    Query(
        gt=0,
        lt=1,
        description="of the foreground's probability, for two classes; what validation chose by "
        "default",
    ),
]
OnlyClass = Annotated[
    str | None, Query(alias="class", max_length=200, description="one class alone: 255 where it is")
]

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller asks of a model. `only` is the index of the one class that is sent."""

    media: Literal["png", "json"]
    threshold: float | None
    only: int | None


@dataclass(frozen=True, slots=True)
class Result:
    """A prediction, its mask as PNG or as classes for JSON, and how long it took."""

    prediction: Prediction
    content: bytes | list[dict[str, Any]]
    work_s: float


@router.post(
    "/v1/segment",
    tags=["segment"],
    summary="Segment an image",
    openapi_extra=REQUEST_BODY,
    responses={200: MASK_RESPONSE, **ERROR_RESPONSES},
)
async def segment(
    request: Request,
    context: Context,
    model: ModelName = None,
    threshold: Threshold = None,
    only: OnlyClass = None,
    timeout_ms: TimeoutMs = None,
) -> Response:
    """The body is the image as it is, without a form around it. The mask has its size, upright."""
    served = context.models.require(model)
    options = _options(request, served, threshold, only)
    work = partial(_segment, served, options, context.limits.pixels)
    result, waited_s = await context.admission.run(request, timeout_ms, work)
    context.metrics.stages.labels("work").observe(result.work_s)
    timing_ms = {"wait": round(waited_s * 1000, 2), "work": round(result.work_s * 1000, 2)}
    if isinstance(result.content, bytes):
        headers = _headers(served, result.prediction, timing_ms)
        return Response(result.content, media_type="image/png", headers=headers)
    description = _describe(served, options, result)
    return JSONResponse({**description, "timing_ms": timing_ms, "request_id": request.state.id})


def _options(
    request: Request, served: ServedModel, threshold: float | None, only: str | None
) -> Options:
    """Check what a request asks for. Raises ProblemError where the model cannot do it."""
    media = _accepted_media(request.headers.get("accept", "*/*"))
    _require_image_type(request.headers.get("content-type"))
    labels = served.predictor.labels
    if threshold is not None and not labels.binary:
        raise ProblemError(
            422,
            f"a threshold is for two classes, and {served.name} has {len(labels.names)}. "
            "Leave it out.",
        )
    if only is not None and only not in labels.names:
        raise ProblemError(
            422, f"{served.name} has no such class. There are: {', '.join(labels.names)}."
        )
    return Options(media, threshold, None if only is None else labels.names.index(only))


def _segment(served: ServedModel, options: Options, most_pixels: int, body: bytes) -> Result:
    """Decode an image, predict its mask, and encode it."""
    start_s = time.monotonic()
    labels = served.predictor.labels
    prediction = served.predictor.predict(_decode(body, most_pixels, served.predictor.channels))
    mask = responses.mask_at_threshold(prediction, options.threshold)
    content = (
        responses.mask_png(mask, labels, options.only)
        if options.media == "png"
        else responses.describe_classes(mask, labels, options.only)
    )
    return Result(prediction, content, time.monotonic() - start_s)


def _headers(
    served: ServedModel, prediction: Prediction, timing_ms: dict[str, float]
) -> dict[str, str]:
    """What the headers of a PNG say of it."""
    headers = {
        "X-Model": f"{served.name}:{served.version}",
        "X-Unusual": str(prediction.unusual).lower(),
        "Server-Timing": ", ".join(f"{stage};dur={ms}" for stage, ms in timing_ms.items()),
    }
    if prediction.predicted_dice is not None:
        headers["X-Predicted-Dice"] = f"{prediction.predicted_dice:.4f}"
    return headers


def _describe(served: ServedModel, options: Options, result: Result) -> dict[str, Any]:
    """The JSON of a mask, but for the timing and the request's id."""
    height, width = result.prediction.mask.shape
    predictor = served.predictor
    used_threshold = options.threshold or predictor.settings.threshold
    return {
        "model": served.name,
        "version": served.version,
        "width": width,
        "height": height,
        "threshold": used_threshold if predictor.labels.binary else None,
        "predicted_dice": result.prediction.predicted_dice,
        "unusual": result.prediction.unusual,
        "classes": result.content,
    }


def _accepted_media(accept: str) -> Literal["png", "json"]:
    """What the caller likes best, of equals the first. Raises ProblemError where it is nothing."""
    best: Literal["png", "json"] | None = None
    best_quality = 0.0
    for entry in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in entry.split(";"))
        quality = _quality(parameters)
        if kind in MEDIA_TYPES and quality > best_quality:
            best, best_quality = MEDIA_TYPES[kind], quality
    if best is None:
        raise ProblemError(
            406, "there is image/png and application/json. Name one of them in Accept."
        )
    return best


def _quality(parameters: list[str]) -> float:
    """The weight of an entry of Accept; 0 where it is not a number."""
    quality = 1.0
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                quality = float(parameter[2:])
            except ValueError:
                quality = 0.0
    return quality


def _require_image_type(content_type: str | None) -> None:
    """Raise ProblemError for a body that is sent as a form or as text."""
    bare = (content_type or "application/octet-stream").partition(";")[0].strip().lower()
    if bare not in {*IMAGE_TYPES, CURL_DEFAULT_TYPE}:
        raise ProblemError(
            415,
            f"the body is sent as it is, as one of {', '.join(IMAGE_TYPES)}; a form is not "
            "read. With curl: --data-binary @photo.jpg",
        )


def _decode(body: bytes, most_pixels: int, channels: int | None) -> UInt8[ndarray, "h w c"]:
    """Decode an image. Raises ProblemError where it is too large or cannot be read."""
    try:
        return decode_image(body, "the image", most_pixels, channels=channels)
    except TooLargeError as error:
        raise ProblemError(413, str(error)) from None
    except LimnerError as error:
        raise ProblemError(422, str(error)) from None
