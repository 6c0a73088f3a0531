"""The Open Inference Protocol, version 2: arrays in, arrays out, and what is said of the models."""

import asyncio
import json
import logging
import math
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field, ValidationError

import limner
from limner.errors import LimnerError
from limner.inference.predictor import Prediction
from limner.web.limits import FAILURES, Limits, ProblemError
from limner.web.service.admission import Admission, Timeout
from limner.web.service.models import ModelRepository, ServedModel

MOST_BYTES, CHUNK = 16_000_000, 4096
"""Of a body, since reading numbers as text holds up all others for 15 ms a megabyte; and of the
values that are written at once.
"""
log = logging.getLogger("limner.web")


class Tensor(BaseModel):
    name: str
    shape: Annotated[list[int], Field(max_length=4)]
    datatype: str
    data: list[Any]


class InferRequest(BaseModel):
    id: str | None = None
    inputs: Annotated[list[Tensor], Field(min_length=1, max_length=1)]


def routes(shelf: ModelRepository, turns: Admission, limits: Limits) -> APIRouter:
    """All of them."""
    router = APIRouter()
    ModelName = Annotated[  # noqa: N806
        str, Path(description="a model's name", json_schema_extra={"enum": shelf.names})
        # A type
    ]

    @router.get("/v2", tags=["open inference protocol"], summary="The server")
    async def server() -> dict[str, Any]:
        return {"name": "limner", "version": limner.__version__, "extensions": []}

    @router.get(
        "/v2/health/live", tags=["open inference protocol"], summary="Does the process answer?"
    )
    async def live() -> dict[str, bool]:
        return {"live": True}

    @router.get(
        "/v2/health/ready", tags=["open inference protocol"], summary="Are the models loaded?"
    )
    async def ready() -> dict[str, bool]:
        return {"ready": True}

    def chosen(name: str, version: str | None) -> ServedModel:
        found = shelf.require(name)
        if version not in {None, found.version}:
            raise ProblemError(404, f"{name} is served in the version {found.version} alone.")
        return found

    def described(found: ServedModel) -> dict[str, Any]:
        return {
            "name": found.name,
            "versions": [found.version],
            "platform": "limner",
            "inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, -1, -1, -1]}],
            "outputs": [
                {"name": "mask", "datatype": "UINT8", "shape": [1, -1, -1]},
                {"name": "predicted_dice", "datatype": "FP32", "shape": [1]},
            ],
            "parameters": {"classes": list(found.predictor.labels.names)},
        }

    @router.get(
        "/v2/models/{name}",
        tags=["open inference protocol"],
        summary="A model",
        responses={404: FAILURES[404]},
    )
    async def model_metadata(name: ModelName) -> dict[str, Any]:
        return described(chosen(name, None))

    @router.get(
        "/v2/models/{name}/versions/{version}",
        tags=["open inference protocol"],
        summary="A version",
        responses={404: FAILURES[404]},
    )
    async def version_metadata(name: ModelName, version: str) -> dict[str, Any]:
        return described(chosen(name, version))

    @router.get(
        "/v2/models/{name}/ready",
        tags=["open inference protocol"],
        summary="Is a model loaded?",
        responses={404: FAILURES[404]},
    )
    async def model_ready(name: ModelName) -> dict[str, Any]:
        return {"name": chosen(name, None).name, "ready": True}

    @router.get(
        "/v2/models/{name}/versions/{version}/ready",
        tags=["open inference protocol"],
        summary="And a version?",
        responses={404: FAILURES[404]},
    )
    async def version_ready(name: ModelName, version: str) -> dict[str, Any]:
        return {"name": chosen(name, version).name, "ready": True}

    @router.post(
        "/v2/models/{name}/versions/{version}/infer",
        tags=["open inference protocol"],
        summary="Segment an array by a version",
        responses=FAILURES,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": _infer_schema()}},
            }
        },
    )
    async def version_infer(
        request: Request, name: ModelName, version: str, timeout_ms: Timeout = None
    ) -> Response:
        """As without a version, which must be the one that is served."""
        return await inferred(request, chosen(name, version), timeout_ms)

    @router.post(
        "/v2/models/{name}/infer",
        tags=["open inference protocol"],
        summary="Segment an array",
        responses=FAILURES,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": _infer_schema()}},
            }
        },
    )
    async def infer(request: Request, name: ModelName, timeout_ms: Timeout = None) -> Response:
        """One image as an array UINT8 of shape [1, height, width, channels]; class indices come
        back. Of large images send the file to /v1/segment.
        """
        return await inferred(request, chosen(name, None), timeout_ms)

    async def inferred(request: Request, served: ServedModel, timeout_ms: int | None) -> Response:
        if (
            not request.headers.get("content-type", "application/json")
            .lower()
            .startswith("application/json")
        ):
            raise ProblemError(
                415, "an array is sent as application/json. Images go to /v1/segment."
            )

        def work(body: bytes) -> bytes:
            asked = _parsed(body)
            return _answer(
                served, asked.id, served.predictor.predict(_array(asked.inputs[0], limits))
            )

        content, _ = await turns.run(request, timeout_ms, work, MOST_BYTES)
        return Response(content, media_type="application/json")

    @router.post(
        "/v2/repository/models/{name}/load",
        tags=["open inference protocol"],
        summary="Serve what a model's file holds now",
        responses=FAILURES,
    )
    async def load(request: Request, name: ModelName) -> dict[str, Any]:
        """The old version answers until the new one is ready, and goes on where the new one cannot
        be used.
        """
        before = shelf.require(name)
        try:
            after = await asyncio.to_thread(shelf.reload, name)
        except LimnerError as error:
            log.error(json.dumps({"id": request.state.id, "model": name, "error": str(error)}))
            raise ProblemError(
                422,
                (
                    f"the file of {name} cannot be used, and its version {before.version} is "
                    "served on. The server's log says why."
                ),
            ) from None
        return {"name": name, "version": after.version, "before": before.version}

    return router


def _answer(served: ServedModel, called: str | None, prediction: Prediction) -> bytes:
    """The answer as it is sent, made piece by piece, since others wait while one call makes all of
    it.
    """
    mask = prediction.mask.ravel()
    digits = [str(value) for value in range(256)]
    rows = (
        ",".join([digits[value] for value in mask[start : start + CHUNK].tolist()])
        for start in range(0, mask.size, CHUNK)
    )
    outputs: list[dict[str, Any]] = [
        {"name": "mask", "datatype": "UINT8", "shape": [1, *prediction.mask.shape], "data": []}
    ]
    if prediction.predicted_dice is not None:
        outputs.append(
            {
                "name": "predicted_dice",
                "datatype": "FP32",
                "shape": [1],
                "data": [prediction.predicted_dice],
            }
        )
    answer = {"outputs": outputs, "model_name": served.name, "model_version": served.version} | (
        {"id": called} if called is not None else {}
    )
    return (
        json.dumps(answer, separators=(",", ":"))
        .replace('"data":[]', f'"data":[{",".join(rows)}]', 1)
        .encode()
    )


def _infer_schema() -> dict[str, Any]:
    """What an inference request is like, in one piece."""
    schema = InferRequest.model_json_schema()
    schema["properties"]["inputs"]["items"] = schema.pop("$defs")["Tensor"]
    return schema


def _parsed(body: bytes) -> InferRequest:
    try:
        return InferRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise ProblemError(400, "the body is no JSON.") from None
        raise ProblemError(
            400,
            (
                f"the request is not as the protocol has it: {'.'.join(map(str, first['loc']))}: "
                f"{first['msg']}."
            ),
        ) from None


def _array(tensor: Tensor, limits: Limits) -> Any:
    shape = tensor.shape
    if (
        tensor.datatype != "UINT8"
        or len(shape) != 4
        or shape[0] != 1
        or min(shape) < 1
        or shape[3] > 64
    ):
        raise ProblemError(
            400, "the input is one image, UINT8, of shape [1, height, width, channels]."
        )
    if shape[1] * shape[2] > limits.pixels:
        raise ProblemError(413, f"the image has more than {limits.pixels:,} pixels.")
    try:
        values = np.array(_numbers(tensor.data, math.prod(shape)))
        if (
            values.dtype.kind not in "iu"
            or values.size != np.prod(shape)
            or values.min() < 0
            or values.max() > 255
        ):
            raise ValueError
    except (ValueError, OverflowError):
        raise ProblemError(
            400, "the data are as many whole numbers from 0 to 255 as the shape says."
        ) from None
    pixels = values.reshape(shape[1:]).astype(np.uint8)
    return np.repeat(pixels, 3, axis=2) if shape[3] == 1 else pixels


def _numbers(data: list[Any], most: int) -> list[int]:
    """The whole numbers of nested lists, in order. Raises ValueError for anything else, or more of
    them, before any array is made.
    """
    found, waiting, depth = list[int](), [iter(data)], 0
    while waiting:
        for value in waiting[-1]:
            if type(value) is int and depth in {0, len(waiting)}:
                found.append(value)
                depth = len(waiting)
            elif isinstance(value, list) and len(waiting) < 8:
                waiting.append(iter(value))
                break
            else:
                raise ValueError(f"{type(value).__name__} is no whole number")
            if len(found) > most:
                raise ValueError(f"there are more than {most} numbers")
        else:
            waiting.pop()
    return found
