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

from limner.errors import LimnerError
from limner.inference.prediction import Prediction
from limner.labels import Labels
from limner.web.errors import ERROR_RESPONSES, ProblemError
from limner.web.service import responses
from limner.web.service.admission import TimeoutMs
from limner.web.service.context import Context
from limner.web.service.forms import FORM_TYPE
from limner.web.service.models import ServedModel
from limner.web.service.uploads import decode_uploads, files_of, form_type_of, open_file

Media = Literal["png", "json", "zip"]
IMAGE_TYPES = (
    "image/*",
    "application/dicom",
    "application/octet-stream",
    FORM_TYPE,
)
"""Of a body, for the description of the routes. What the image is its bytes tell."""
OTHER_TYPES = frozenset(
    {"application/dicom", "application/octet-stream", "binary/octet-stream", FORM_TYPE}
    # Packed volumes
    | {"application/gzip", "application/x-gzip"}
    # What curl --data-binary gives any file
    | {"application/x-www-form-urlencoded"}
)
"""Types that are read beside those of images. S3 calls any file binary/octet-stream."""
MEDIA_TYPES: dict[str, Media] = {
    "image/png": "png",
    "image/*": "png",
    "*/*": "png",
    "": "png",
    "application/json": "json",
    "application/*": "json",
    "application/zip": "zip",
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


class ImageSegmentation(BaseModel):
    """What was drawn in one image of several."""

    model: str
    version: str
    width: int
    height: int
    threshold: float | None
    predicted_dice: float | None
    unusual: bool
    classes: list[ClassMask]
    name: Annotated[
        str, Field(description="of the file in the form; of a stack, with the image's number")
    ] = ""
    objects: Annotated[
        list[dict[str, Any]] | None,
        Field(description="each connected part, with the measures of limner measure in px"),
    ] = None


class Segmentation(ImageSegmentation):
    """What was drawn in an image."""

    timing_ms: dict[str, float]
    request_id: str


class Segmentations(BaseModel):
    """What was drawn in the images of a form or of a stack, in their order."""

    images: list[ImageSegmentation]
    timing_ms: dict[str, float]
    request_id: str


BINARY = {"schema": {"type": "string", "format": "binary"}}
REQUEST_BODY = {"requestBody": {"required": True, "content": dict.fromkeys(IMAGE_TYPES, BINARY)}}
MASK_RESPONSE = {
    "model": Segmentation | Segmentations,
    "content": {"image/png": BINARY, "application/zip": BINARY},
    "description": "as Accept says",
}
MODEL_NAME = "its name; the first that is served by default"
ModelName = Annotated[str | None, Query(description=MODEL_NAME)]
Page = Annotated[int, Query(ge=1, description="which image of a stack or volume, from 1")]


class SegmentQuery(BaseModel):
    """What a caller says in the query."""

    model: Annotated[str | None, Field(description=MODEL_NAME)] = None
    threshold: Annotated[
        float | None,
        Field(
            gt=0,
            lt=1,
            description="of the foreground's probability, for two classes; what validation chose "
            "by default",
        ),
    ] = None
    only: Annotated[
        str | None,
        Field(alias="class", max_length=200, description="one class alone: 255 where it is"),
    ] = None
    objects: Annotated[
        bool,
        Field(description="in JSON, also each connected part with its measures (limner[measure])"),
    ] = False


router = APIRouter()


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller asks of a model. `only` is the index of the one class that is sent."""

    media: Media
    threshold: float | None
    only: int | None
    objects: bool


@dataclass(frozen=True, slots=True)
class Result:
    """A prediction, its mask as PNG or as classes for JSON, and the file's name in a form."""

    prediction: Prediction
    content: bytes | list[dict[str, Any]]
    name: str
    objects: list[dict[str, Any]] | None


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
    query: Annotated[SegmentQuery, Query()],
    timeout_ms: TimeoutMs = None,
) -> Response:
    """The body is the image as it is, or a form (multipart/form-data) with one or several. The mask
    has the image's size, upright. Of several images, such as the slices of a volume, JSON or
    application/zip is sent.
    """
    served = context.models.require(query.model)
    options = _options(request, served, query)
    form_type = form_type_of(request.headers.get("content-type", ""))
    work = partial(_segment, served, options, context.limits.pixels, form_type)
    (results, work_s), waited_s = await context.admission.run(request, timeout_ms, work)
    context.metrics.stages.labels("work").observe(work_s)
    timing_ms = {"wait": round(waited_s * 1000, 2), "work": round(work_s * 1000, 2)}
    if options.media == "json":
        described = [_describe(served, options, result) for result in results]
        content = described[0] if len(described) == 1 else {"images": described}
        return JSONResponse({**content, "timing_ms": timing_ms, "request_id": request.state.id})
    masks = [(result.name, result.content) for result in results]
    if options.media == "zip":
        return Response(responses.pack_masks(masks), media_type="application/zip")
    headers = _headers(served, results[0].prediction, timing_ms)
    return Response(masks[0][1], media_type="image/png", headers=headers)


@router.post(
    "/v1/preview",
    tags=["segment"],
    summary="Show an image as it is read",
    openapi_extra=REQUEST_BODY,
    responses={200: {"content": {"image/jpeg": BINARY}}, **ERROR_RESPONSES},
    response_class=Response,
)
async def preview(
    request: Request,
    context: Context,
    model: ModelName = None,
    page: Page = 1,
    timeout_ms: TimeoutMs = None,
) -> Response:
    """The image upright and in 8 bits, as JPEG of at most 1,600 px, for what browsers cannot show:
    TIFF, DICOM, volumes, and more than three channels.
    """
    served = context.models.require(model)
    content_type = request.headers.get("content-type", "")
    _require_image_type(content_type)
    pixels, form_type = context.limits.pixels, form_type_of(content_type)

    def work(body: bytes) -> bytes:
        with open_file(files_of(body, form_type)[0], pixels) as upload:
            return responses.preview_jpeg(upload.read(page - 1, served.predictor.channels))

    content, _ = await context.admission.run(request, timeout_ms, work)
    return Response(content, media_type="image/jpeg")


def _options(request: Request, served: ServedModel, query: SegmentQuery) -> Options:
    """Check what a request asks for. Raises ProblemError where the model cannot do it."""
    media = _accepted_media(request.headers.get("accept", "*/*"))
    _require_image_type(request.headers.get("content-type"))
    labels = served.predictor.labels
    if query.threshold is not None and not labels.binary:
        raise ProblemError(
            422,
            f"a threshold is for two classes, and {served.name} has {len(labels.names)}. "
            "Leave it out.",
        )
    if query.only is not None and query.only not in labels.names:
        raise ProblemError(
            422, f"{served.name} has no such class. There are: {', '.join(labels.names)}."
        )
    if query.objects and media != "json":
        raise ProblemError(
            406, "objects come as JSON. Say Accept: application/json, or leave objects out."
        )
    index = None if query.only is None else labels.names.index(query.only)
    return Options(media, query.threshold, index, query.objects)


def _segment(
    served: ServedModel, options: Options, most_pixels: int, form_type: str, body: bytes
) -> tuple[list[Result], float]:
    """Decode images, predict their masks, and encode them; also tells how long that took, in s.

    All images of a request have the pixels of one together.
    """
    start_s = time.monotonic()
    files = files_of(body, form_type)
    labels, results = served.predictor.labels, list[Result]()
    for name, image in decode_uploads(files, most_pixels, served.predictor.channels):
        if results and options.media == "png":
            raise ProblemError(
                406,
                "the body holds several images, and one PNG is one mask. Say Accept: "
                "application/json or application/zip.",
            )
        prediction = served.predictor.predict(image)
        mask = responses.mask_at_threshold(prediction, options.threshold)
        content = (
            responses.describe_classes(mask, labels, options.only)
            if options.media == "json"
            else responses.mask_png(mask, labels, options.only)
        )
        objects = _describe_objects(mask, labels, options) if options.objects else None
        results.append(Result(prediction, content, name, objects))
    return results, time.monotonic() - start_s


def _describe_objects(
    mask: UInt8[ndarray, "h w"], labels: Labels, options: Options
) -> list[dict[str, Any]]:
    try:
        return responses.describe_objects(mask, labels, options.only)
    except LimnerError as error:
        # A package is missing here
        raise ProblemError(501, str(error)) from None


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
        **({"name": result.name} if result.name else {}),
        **({} if result.objects is None else {"objects": result.objects}),
    }


def _accepted_media(accept: str) -> Media:
    """What the caller likes best, of equals the first. Raises ProblemError where it is nothing."""
    best: Media | None = None
    best_quality = 0.0
    for entry in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in entry.split(";"))
        quality = _quality(parameters)
        if kind in MEDIA_TYPES and quality > best_quality:
            best, best_quality = MEDIA_TYPES[kind], quality
    if best is None:
        raise ProblemError(
            406,
            "there is image/png and application/json, and of several images application/zip. Name "
            "one of them in Accept.",
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
    if not bare.startswith("image/") and bare not in OTHER_TYPES:
        raise ProblemError(
            415,
            f"the body is the image, as one of {', '.join(IMAGE_TYPES)}. With curl: --data-binary "
            "@photo.jpg",
        )
