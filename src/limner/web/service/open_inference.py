"""The Open Inference Protocol, version 2: routes that describe the models, and infer on arrays."""

import asyncio
import json
import logging
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

import limner
from limner.errors import LimnerError
from limner.web.content_encoding import compress
from limner.web.errors import ERROR_RESPONSES, ProblemError
from limner.web.service.admission import TimeoutMs
from limner.web.service.context import Context, ServiceContext
from limner.web.service.models import ServedModel
from limner.web.service.tensors import encode_answer, infer_schema, parse_request

MAX_JSON_BYTES = 16_000_000
"""Parsing numbers as text delays all other requests by 15 ms for each megabyte."""
ADVICE = "Send the array as binary data (binary_data_size), or the image's file to /v1/segment."
JSON_LENGTH = "Inference-Header-Content-Length"
"""The header with the length of the JSON, where tensors stand behind it."""
ModelName = Annotated[str, Path(description="a model's name")]
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: ERROR_RESPONSES[404]}
INFER_BODY = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": infer_schema()}}}
}
log = logging.getLogger("limner.web")

router = APIRouter(tags=["open inference protocol"])


@router.get("/v2", summary="The server")
async def server() -> dict[str, Any]:
    return {"name": "limner", "version": limner.__version__, "extensions": ["binary_tensor_data"]}


@router.get("/v2/health/live", summary="Does the process answer?")
async def live() -> dict[str, bool]:
    return {"live": True}


@router.get("/v2/health/ready", summary="Are the models loaded?")
async def ready() -> dict[str, bool]:
    return {"ready": True}


@router.get("/v2/models/{name}", summary="A model", responses=NOT_FOUND)
async def model_metadata(context: Context, name: ModelName) -> dict[str, Any]:
    return _describe(_model(context, name))


@router.get("/v2/models/{name}/versions/{version}", summary="A version", responses=NOT_FOUND)
async def version_metadata(context: Context, name: ModelName, version: str) -> dict[str, Any]:
    return _describe(_model(context, name, version))


@router.get("/v2/models/{name}/ready", summary="Is a model loaded?", responses=NOT_FOUND)
async def model_ready(context: Context, name: ModelName) -> dict[str, Any]:
    return {"name": _model(context, name).name, "ready": True}


@router.get(
    "/v2/models/{name}/versions/{version}/ready", summary="And a version?", responses=NOT_FOUND
)
async def version_ready(context: Context, name: ModelName, version: str) -> dict[str, Any]:
    return {"name": _model(context, name, version).name, "ready": True}


@router.post(
    "/v2/models/{name}/versions/{version}/infer",
    summary="Segment an array by a version",
    responses=ERROR_RESPONSES,
    openapi_extra=INFER_BODY,
)
async def version_infer(
    request: Request,
    context: Context,
    name: ModelName,
    version: str,
    timeout_ms: TimeoutMs = None,
) -> Response:
    """The same as without a version; `version` must be the one that is served."""
    return await _infer(request, context, _model(context, name, version), timeout_ms)


@router.post(
    "/v2/models/{name}/infer",
    summary="Segment an array",
    responses=ERROR_RESPONSES,
    openapi_extra=INFER_BODY,
)
async def infer(
    request: Request, context: Context, name: ModelName, timeout_ms: TimeoutMs = None
) -> Response:
    """One image or several of one size as an array UINT8 of shape [images, height, width,
    channels]; class indices come back. Of large images send the file to /v1/segment.
    """
    return await _infer(request, context, _model(context, name), timeout_ms)


@router.post(
    "/v2/repository/models/{name}/load",
    summary="Serve what a model's file holds now",
    responses=ERROR_RESPONSES,
)
async def load(request: Request, context: Context, name: ModelName) -> dict[str, Any]:
    """The old version answers until the new one is ready, and goes on where the new one cannot
    be used.
    """
    before = context.models.require(name)
    try:
        after = await asyncio.to_thread(context.models.reload, name)
    except LimnerError as error:
        log.error(json.dumps({"id": request.state.id, "model": name, "error": str(error)}))
        raise ProblemError(
            422,
            f"the file of {name} cannot be used, and its version {before.version} is "
            "served on. The server's log says why.",
        ) from None
    return {"name": name, "version": after.version, "before": before.version}


def _model(context: ServiceContext, name: str, version: str | None = None) -> ServedModel:
    """A model. Raises ProblemError where it, or its version, is not served."""
    model = context.models.require(name)
    if version not in {None, model.version}:
        raise ProblemError(404, f"{name} is served in the version {model.version} alone.")
    return model


def _describe(model: ServedModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": "limner",
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, -1]}],
        "outputs": [
            {"name": "mask", "datatype": "UINT8", "shape": [-1, -1, -1]},
            {"name": "predicted_dice", "datatype": "FP32", "shape": [-1]},
        ],
        "parameters": {"classes": list(model.predictor.labels.names)},
    }


async def _infer(
    request: Request, context: ServiceContext, model: ServedModel, timeout_ms: int | None
) -> Response:
    json_bytes = _json_length(request)
    most_bytes = MAX_JSON_BYTES if json_bytes is None else None
    accepted = request.headers.get("accept-encoding", "")

    def work(body: bytes) -> Response:
        asked = parse_request(body, json_bytes, context.limits.pixels)
        predictions = [model.predictor.predict(image) for image in asked.images]
        answer = encode_answer(model, asked, predictions)
        content, headers = compress(answer.content, accepted)
        if answer.json_bytes is None:
            return Response(content, media_type="application/json", headers=headers)
        headers[JSON_LENGTH] = str(answer.json_bytes)
        return Response(content, media_type="application/octet-stream", headers=headers)

    response, _ = await context.admission.run(request, timeout_ms, work, most_bytes, ADVICE)
    return response


def _json_length(request: Request) -> int | None:
    """The length of the JSON where tensors stand behind it.

    Raises ProblemError for one that is no length, and for a body that is neither JSON nor that.
    """
    length = request.headers.get(JSON_LENGTH)
    if length is None:
        kind = request.headers.get("content-type", "application/json").lower()
        if not kind.startswith("application/json"):
            raise ProblemError(
                415,
                f"an array is sent as application/json, or as binary data behind JSON whose length "
                f"is in {JSON_LENGTH}. Images go to /v1/segment.",
            )
        return None
    if not (length.isascii() and length.isdigit()) or int(length) > MAX_JSON_BYTES:
        raise ProblemError(
            400, f"{JSON_LENGTH} is the length of the JSON, at most {MAX_JSON_BYTES:,}."
        )
    return int(length)
