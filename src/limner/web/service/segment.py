"""The routes: an image in, its mask out, as PNG or JSON; health and metrics beside them."""

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict, Field

from limner.data.images import TooLargeError, decode_image
from limner.errors import LimnerError
from limner.inference.predictor import Prediction
from limner.web.limits import FAILURES, Limits, ProblemError
from limner.web.metrics import Metrics
from limner.web.service import responses
from limner.web.service.admission import Admission, Timeout
from limner.web.service.models import ModelRepository

IMAGE_TYPES = (
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/bmp",
    "image/tiff",
    "application/octet-stream",
)
CURL = "application/x-www-form-urlencoded"
"""What curl --data-binary says of any file where nobody told it otherwise."""


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


BODY = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}} for kind in IMAGE_TYPES
        },
    }
}
DRAWN = {
    "model": Segmentation,
    "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
    "description": "as Accept says",
}
Threshold = Annotated[
    float | None,
    Query(
        gt=0,
        lt=1,
        description="of the foreground's probability, for two classes; what validation chose by default",
    ),
]
OnlyClass = Annotated[
    str | None, Query(alias="class", max_length=200, description="one class alone: 255 where it is")
]


def routes(shelf: ModelRepository, turns: Admission, limits: Limits, metrics: Metrics) -> APIRouter:
    """All routes but the pages and those of the Open Inference Protocol."""
    router = APIRouter()
    MaybeName = Annotated[  # noqa: N806
        str | None,
        Query(
            description="its name; the first that is served by default",
            json_schema_extra={"enum": shelf.names},
        ),
    ]

    @router.post(
        "/v1/segment",
        tags=["segment"],
        summary="Segment an image",
        openapi_extra=BODY,
        responses={200: DRAWN, **FAILURES},
    )
    async def segment(
        request: Request,
        model: MaybeName = None,
        threshold: Threshold = None,
        only: OnlyClass = None,
        timeout_ms: Timeout = None,
    ) -> Response:
        """The body is the image as it is, without a form around it. The mask has its size,
        upright.
        """
        chosen, kind = shelf.require(model), _accepted(request.headers.get("accept", "*/*"))
        _check_type(request.headers.get("content-type"))
        labels = chosen.predictor.labels
        if threshold is not None and not labels.binary:
            raise ProblemError(
                422,
                (
                    f"a threshold is for two classes, and {chosen.name} has {len(labels.names)}. "
                    "Leave it out."
                ),
            )
        if only is not None and only not in labels.names:
            raise ProblemError(
                422, f"{chosen.name} has no such class. There are: {', '.join(labels.names)}."
            )
        index = None if only is None else labels.names.index(only)

        def work(body: bytes) -> tuple[Prediction, bytes | list[dict[str, Any]], float]:
            began = time.monotonic()
            prediction = chosen.predictor.predict(_decoded(body, limits))
            drawn = responses.mask_at_threshold(prediction, threshold)
            content = (
                responses.mask_png(drawn, labels, index)
                if kind == "png"
                else responses.describe_classes(drawn, labels, index)
            )
            return prediction, content, time.monotonic() - began

        (prediction, content, seconds), waited = await turns.run(request, timeout_ms, work)
        metrics.stages.labels("work").observe(seconds)
        timing = {"wait": round(waited * 1000, 2), "work": round(seconds * 1000, 2)}
        if isinstance(content, bytes):
            headers = {
                "X-Model": f"{chosen.name}:{chosen.version}",
                "X-Unusual": str(prediction.unusual).lower(),
                "Server-Timing": ", ".join(f"{name};dur={ms}" for name, ms in timing.items()),
            }
            if prediction.predicted_dice is not None:
                headers["X-Predicted-Dice"] = f"{prediction.predicted_dice:.4f}"
            return Response(content, media_type="image/png", headers=headers)
        height, width = prediction.class_index.shape
        return JSONResponse(
            {
                "model": chosen.name,
                "version": chosen.version,
                "width": width,
                "height": height,
                "threshold": (threshold or chosen.predictor.settings.threshold)
                if labels.binary
                else None,
                "predicted_dice": prediction.predicted_dice,
                "unusual": prediction.unusual,
                "classes": content,
                "timing_ms": timing,
                "request_id": request.state.id,
            }
        )

    @router.get("/healthz", tags=["health"], summary="Does the process answer?")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz", tags=["health"], summary="Are the models loaded?")
    async def readyz() -> dict[str, str]:
        return {"status": "ready"}

    @router.get(
        "/metrics",
        tags=["health"],
        summary="Counts and times, for Prometheus",
        response_class=PlainTextResponse,
    )
    async def counted() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router


def _accepted(accept: str) -> Literal["png", "json"]:
    """What the caller wants most of what there is. Raises ProblemError where that is nothing."""
    best: tuple[float, int, Literal["png", "json"]] | None = None
    for place, entry in enumerate(accept.split(",")):
        kind, *parameters = (part.strip().lower() for part in entry.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        found: Literal["png", "json"] | None = (
            "png"
            if kind in {"image/png", "image/*", "*/*", ""}
            else "json"
            if kind in {"application/json", "application/*"}
            else None
        )
        if found and quality > 0 and (best is None or (quality, -place) > best[:2]):
            best = (quality, -place, found)
    if best is None:
        raise ProblemError(
            406, "there is image/png and application/json. Name one of them in Accept."
        )
    return best[2]


def _check_type(kind: str | None) -> None:
    bare = (kind or "application/octet-stream").partition(";")[0].strip().lower()
    if bare not in {*IMAGE_TYPES, CURL}:
        raise ProblemError(
            415,
            (
                f"the body is sent as it is, as one of {', '.join(IMAGE_TYPES)}; a form is not "
                "read. With curl: --data-binary @photo.jpg"
            ),
        )


def _decoded(body: bytes, limits: Limits) -> Any:
    try:
        return decode_image(body, "the image", limits.pixels)
    except TooLargeError as error:
        raise ProblemError(413, str(error)) from None
    except LimnerError as error:
        raise ProblemError(422, str(error)) from None
