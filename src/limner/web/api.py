"""The routes: an image in, its mask out, as PNG or JSON, and the same by the Open Inference Protocol; health and metrics beside them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Header, Path, Query, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import limner
from limner.data.images import TooLargeError, decode_image
from limner.errors import LimnerError
from limner.inference.predictor import Prediction
from limner.web import answers
from limner.web.queue import FullError, LateError, Queue
from limner.web.shelf import Served, Shelf

IMAGE_TYPES = ("image/png", "image/jpeg", "image/webp", "image/bmp", "image/tiff", "application/octet-stream")
CURL = "application/x-www-form-urlencoded"
"""What curl --data-binary says of any file where nobody told it otherwise."""
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may ask for; all of it is checked before anything is decoded."""

    body_bytes: int = 50_000_000
    pixels: int = 50_000_000
    body_s: float = 15.0
    """In which a body must have come."""
    deadline_s: float = 30.0
    """In which its turn must have come, where the caller names no other."""
    memory_bytes: int = 1_000_000_000
    """Of all bodies that are held at once."""


class ProblemError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}


class Metrics:
    """What is counted, for Prometheus."""

    def __init__(self, queue: Queue) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("limner_requests", "answers by route and status", ["route", "status"], registry=self.registry)
        self.seconds = Histogram("limner_request_seconds", "from a request's head to its answer", ["route"], buckets=BUCKETS_S, registry=self.registry)
        self.stages = Histogram("limner_stage_seconds", "waiting, and decoding with all that follows", ["stage"], buckets=BUCKETS_S, registry=self.registry)
        Gauge("limner_inside", "requests that wait or are worked on", registry=self.registry).set_function(lambda: queue.inside)


class Failure(BaseModel):
    """What went wrong, what was expected, how to mend it."""

    error: str
    request_id: str


class Drawn(BaseModel):
    """One class of a mask."""

    model_config = ConfigDict(populate_by_name=True)
    name: Annotated[str, Field(alias="class")]
    class_index: int
    area_px: int
    share: Annotated[float, Field(description="of the image's pixels")]
    bbox: Annotated[list[int], Field(description="left, top, width, height, in px")]
    rle: Annotated[dict[str, Any], Field(description="COCO run lengths: size (height, width) and counts")]
    polygons: Annotated[list[list[list[float]]], Field(description="rings of [x, y] in px; a hole is a ring of its own")]


class Segmentation(BaseModel):
    """What was drawn in an image."""

    model: str
    version: str
    width: int
    height: int
    threshold: float | None
    predicted_dice: float | None
    unusual: bool
    classes: list[Drawn]
    timing_ms: dict[str, float]
    request_id: str


class Tensor(BaseModel):
    name: str
    shape: Annotated[list[int], Field(max_length=4)]
    datatype: str
    data: list[Any]


class InferRequest(BaseModel):
    id: str | None = None
    inputs: Annotated[list[Tensor], Field(min_length=1, max_length=1)]


FAILURES: dict[int | str, dict[str, Any]] = {
    status: {"model": Failure, "description": text}
    for status, text in {
        400: "malformed, or a Host that is not answered to", 401: "no token", 403: "another origin", 404: "no such model",
        406: "neither PNG nor JSON is wanted",
        408: "the body came too slowly", 413: "more bytes or pixels than are taken", 415: "no image", 422: "an image or an option that cannot be used",
        503: "no room: come again after Retry-After seconds", 504: "its turn did not come in time",
    }.items()
}  # fmt: skip
BODY = {"requestBody": {"required": True, "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in IMAGE_TYPES}}}
DRAWN = {"model": Segmentation, "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}, "description": "as Accept says"}
Threshold = Annotated[float | None, Query(gt=0, lt=1, description="of the foreground's probability, for two classes; what validation chose by default")]
OnlyClass = Annotated[str | None, Query(alias="class", max_length=200, description="one class alone: 255 where it is")]
Timeout = Annotated[int | None, Header(alias="X-Timeout-Ms", ge=100, le=600_000, description="give up where its turn has not come by then")]


def routes(shelf: Shelf, queue: Queue, limits: Limits, metrics: Metrics) -> APIRouter:
    """All routes but the pages."""
    router = APIRouter()
    ModelName = Annotated[str, Path(description="a model's name", json_schema_extra={"enum": shelf.names})]  # noqa: N806  # a type
    MaybeName = Annotated[str | None, Query(description="its name; the first that is served by default", json_schema_extra={"enum": shelf.names})]  # noqa: N806
    held = _Held(limits)

    def served(name: str | None) -> Served:
        found = shelf.get(name or shelf.default)
        if found is None:
            raise ProblemError(404, f"there is no model of that name. There are: {', '.join(shelf.names)}.")
        return found

    async def worked(request: Request, timeout_ms: int | None, work: Callable[[bytes], Any]) -> tuple[Any, float]:
        """What `work` makes of the request's body when its turn comes, and how long it waited."""
        deadline = time.monotonic() + (timeout_ms / 1000 if timeout_ms else limits.deadline_s)
        try:
            queue.check()
            async with held.body(request) as body:
                result, waited = await queue.call(lambda: work(body), deadline)
        except FullError as full:
            raise ProblemError(503, "there is no room for another request now. Come again later.", {"Retry-After": str(full.seconds)}) from None
        except LateError:
            raise ProblemError(504, "the request's turn did not come in time.", {"Retry-After": "1"}) from None
        metrics.stages.labels("wait").observe(waited)
        return result, waited

    @router.post("/v1/segment", tags=["segment"], summary="Segment an image", openapi_extra=BODY, responses={200: DRAWN, **FAILURES})
    async def segment(
        request: Request,
        model: MaybeName = None,
        threshold: Threshold = None,
        only: OnlyClass = None,
        timeout_ms: Timeout = None,
    ) -> Response:
        """The body is the image as it is, without a form around it. The mask has its size, upright."""
        chosen, kind = served(model), _accepted(request.headers.get("accept", "*/*"))
        _check_type(request.headers.get("content-type"))
        labels = chosen.predictor.labels
        if threshold is not None and not labels.binary:
            raise ProblemError(422, f"a threshold is for two classes, and {chosen.name} has {len(labels.names)}. Leave it out.")
        if only is not None and only not in labels.names:
            raise ProblemError(422, f"{chosen.name} has no such class. There are: {', '.join(labels.names)}.")
        index = None if only is None else labels.names.index(only)

        def work(body: bytes) -> tuple[Prediction, bytes | list[dict[str, Any]], float]:
            began = time.monotonic()
            prediction = chosen.predictor.predict(_decoded(body, limits))
            drawn = answers.class_index(prediction, threshold)
            content = answers.png(drawn, labels, index) if kind == "png" else answers.described(drawn, labels, index)
            return prediction, content, time.monotonic() - began

        (prediction, content, seconds), waited = await worked(request, timeout_ms, work)
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
                "model": chosen.name, "version": chosen.version, "width": width, "height": height,
                "threshold": (threshold or chosen.predictor.choices.threshold) if labels.binary else None,
                "predicted_dice": prediction.predicted_dice, "unusual": prediction.unusual, "classes": content, "timing_ms": timing,
                "request_id": request.state.id,
            }
        )  # fmt: skip

    @router.get("/healthz", tags=["health"], summary="Does the process answer?")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz", tags=["health"], summary="Are the models loaded?")
    async def readyz() -> dict[str, str]:
        return {"status": "ready"}

    @router.get("/metrics", tags=["health"], summary="Counts and times, for Prometheus", response_class=PlainTextResponse)
    async def counted() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @router.get("/v2", tags=["open inference protocol"], summary="The server")
    async def server() -> dict[str, Any]:
        return {"name": "limner", "version": limner.__version__, "extensions": ["model_repository"]}

    @router.get("/v2/health/live", tags=["open inference protocol"], summary="Does the process answer?")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @router.get("/v2/health/ready", tags=["open inference protocol"], summary="Are the models loaded?")
    async def ready() -> dict[str, bool]:
        return {"ready": True}

    def described(name: str, version: str | None) -> dict[str, Any]:
        found = served(name)
        if version not in {None, found.version}:
            raise ProblemError(404, f"{name} is served in the version {found.version} alone.")
        return {
            "name": found.name, "versions": [found.version], "platform": "limner",
            "inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, -1, -1, -1]}],
            "outputs": [{"name": "mask", "datatype": "UINT8", "shape": [1, -1, -1]}, {"name": "predicted_dice", "datatype": "FP32", "shape": [1]}],
            "parameters": {"classes": list(found.predictor.labels.names)},
        }  # fmt: skip

    @router.get("/v2/models/{name}", tags=["open inference protocol"], summary="A model", responses={404: FAILURES[404]})
    async def model_metadata(name: ModelName) -> dict[str, Any]:
        return described(name, None)

    @router.get("/v2/models/{name}/versions/{version}", tags=["open inference protocol"], summary="A version", responses={404: FAILURES[404]})
    async def version_metadata(name: ModelName, version: str) -> dict[str, Any]:
        return described(name, version)

    @router.get("/v2/models/{name}/ready", tags=["open inference protocol"], summary="Is a model loaded?", responses={404: FAILURES[404]})
    async def model_ready(name: ModelName) -> dict[str, Any]:
        return {"name": served(name).name, "ready": True}

    @router.post("/v2/models/{name}/infer", tags=["open inference protocol"], summary="Segment an array", responses=FAILURES,
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": _infer_schema()}}}})  # fmt: skip
    async def infer(request: Request, name: ModelName, timeout_ms: Timeout = None) -> Response:
        """One image as an array UINT8 of shape [1, height, width, channels]; class indices come back."""
        chosen = served(name)
        if not request.headers.get("content-type", "application/json").lower().startswith("application/json"):
            raise ProblemError(415, "an array is sent as application/json. Images go to /v1/segment.")

        def work(body: bytes) -> tuple[str | None, Prediction]:
            asked = _parsed(body)
            return asked.id, chosen.predictor.predict(_array(asked.inputs[0], limits))

        (called, prediction), _ = await worked(request, timeout_ms, work)
        mask = prediction.class_index
        outputs: list[dict[str, Any]] = [{"name": "mask", "datatype": "UINT8", "shape": [1, *mask.shape], "data": mask.ravel().tolist()}]
        if prediction.predicted_dice is not None:
            outputs.append({"name": "predicted_dice", "datatype": "FP32", "shape": [1], "data": [prediction.predicted_dice]})
        answer = {"model_name": chosen.name, "model_version": chosen.version, "outputs": outputs}
        return JSONResponse(answer | ({"id": called} if called is not None else {}))

    @router.post("/v2/repository/models/{name}/load", tags=["open inference protocol"], summary="Serve what a model's file holds now", responses=FAILURES)
    async def load(name: ModelName) -> dict[str, Any]:
        """The old version answers until the new one is ready, and goes on where the new one cannot be used."""
        before = served(name)
        try:
            after = await asyncio.to_thread(shelf.reload, name)
        except LimnerError:
            raise ProblemError(422, f"the file of {name} cannot be used, and its version {before.version} is served on. The server's log says why.") from None
        return {"name": name, "version": after.version, "before": before.version}

    return router


class _Held:
    """Bodies that are in memory."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._bytes = limits, 0

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """A request's body, for as long as it is needed."""
        body = await self._read(request)
        try:
            yield body
        finally:
            self._bytes -= len(body)

    async def _read(self, request: Request) -> bytes:
        """The body. Raises ProblemError where it is larger, or comes more slowly, than the limits, or there is no room for it."""
        most = self._limits.body_bytes
        length = request.headers.get("content-length", "0")
        if not length.isdigit() or int(length) > most:
            raise ProblemError(413, f"the body has more than {most:,} bytes. Send a smaller image.", {"Connection": "close"})
        parts, size = list[bytes](), 0
        try:
            async with asyncio.timeout(self._limits.body_s):
                async for part in request.stream():
                    size += len(part)
                    self._bytes += len(part)
                    parts.append(part)
                    if size > most:
                        raise ProblemError(413, f"the body has more than {most:,} bytes. Send a smaller image.", {"Connection": "close"})
                    if self._bytes > self._limits.memory_bytes:
                        raise ProblemError(503, "there is no room for another body now. Come again later.", {"Retry-After": "1", "Connection": "close"})
        except BaseException as error:
            self._bytes -= size
            if isinstance(error, TimeoutError):
                raise ProblemError(408, f"the body did not come in {self._limits.body_s:g} seconds.", {"Connection": "close"}) from None
            raise
        if not size:
            raise ProblemError(422, "the body is empty. Send the image as it is, for example with curl --data-binary @photo.jpg.")
        return b"".join(parts)


def _infer_schema() -> dict[str, Any]:
    """What an inference request is like, in one piece."""
    schema = InferRequest.model_json_schema()
    schema["properties"]["inputs"]["items"] = schema.pop("$defs")["Tensor"]
    return schema


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
            "png" if kind in {"image/png", "image/*", "*/*", ""} else "json" if kind in {"application/json", "application/*"} else None
        )
        if found and quality > 0 and (best is None or (quality, -place) > best[:2]):
            best = (quality, -place, found)
    if best is None:
        raise ProblemError(406, "there is image/png and application/json. Name one of them in Accept.")
    return best[2]


def _check_type(kind: str | None) -> None:
    bare = (kind or "application/octet-stream").partition(";")[0].strip().lower()
    if bare not in {*IMAGE_TYPES, CURL}:
        raise ProblemError(415, f"the body is sent as it is, as one of {', '.join(IMAGE_TYPES)}; a form is not read. With curl: --data-binary @photo.jpg")


def _decoded(body: bytes, limits: Limits) -> Any:
    try:
        return decode_image(body, "the image", limits.pixels)
    except TooLargeError as error:
        raise ProblemError(413, str(error)) from None
    except LimnerError as error:
        raise ProblemError(422, str(error)) from None


def _parsed(body: bytes) -> InferRequest:
    try:
        return InferRequest.model_validate(json.loads(body))
    except ValidationError as error:
        first = error.errors()[0]
        raise ProblemError(400, f"the request is not as the protocol has it: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from None
    except (ValueError, RecursionError):
        raise ProblemError(400, "the body is no JSON.") from None


def _array(tensor: Tensor, limits: Limits) -> Any:
    shape = tensor.shape
    if tensor.datatype != "UINT8" or len(shape) != 4 or shape[0] != 1 or min(shape) < 1 or shape[3] > 64:
        raise ProblemError(400, "the input is one image, UINT8, of shape [1, height, width, channels].")
    if shape[1] * shape[2] > limits.pixels:
        raise ProblemError(413, f"the image has more than {limits.pixels:,} pixels.")
    try:
        values = np.array(tensor.data)
        if values.dtype.kind not in "iu" or values.size != np.prod(shape) or values.min() < 0 or values.max() > 255:
            raise ValueError
    except (ValueError, OverflowError):
        raise ProblemError(400, "the data are as many whole numbers from 0 to 255 as the shape says.") from None
    pixels = values.reshape(shape[1:]).astype(np.uint8)
    return np.repeat(pixels, 3, axis=2) if shape[3] == 1 else pixels
