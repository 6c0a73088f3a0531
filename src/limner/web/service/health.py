"""Health and metrics of the service."""

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from limner.web.service.context import Context

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Does the process answer?")
async def healthz() -> dict[str, str]:
    return {"status": "alive"}


@router.get("/readyz", summary="Are the models loaded?")
async def readyz() -> dict[str, str]:
    return {"status": "ready"}


@router.get(
    "/metrics", summary="Counts and times, for Prometheus", response_class=PlainTextResponse
)
async def metrics(context: Context) -> Response:
    content = generate_latest(context.metrics.registry)
    return Response(content, media_type=CONTENT_TYPE_LATEST)
