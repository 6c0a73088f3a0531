"""create_app: models as a service, and the pages to try them."""

from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware

import limner
from limner.data.image_file import IMAGE_SUFFIXES
from limner.labels import PALETTE
from limner.web import static
from limner.web.auth import Access
from limner.web.limits import Limits
from limner.web.metrics import Metrics
from limner.web.middleware import add_middleware
from limner.web.service import health, open_inference, segment
from limner.web.service.admission import Admission
from limner.web.service.context import Context, ServiceContext
from limner.web.service.models import ModelRepository
from limner.web.service.work_queue import WorkQueue

MODEL_PARAMETERS = {"model", "name"}
"""The parameters that take the name of a served model."""

CALLERS_HEADERS = (
    "Authorization",
    "Content-Encoding",
    "Content-Type",
    open_inference.JSON_LENGTH,
    "X-Request-Id",
    "X-Timeout-Ms",
)
OWN_HEADERS = (
    open_inference.JSON_LENGTH,
    "Retry-After",
    "Server-Timing",
    "X-Model",
    "X-Predicted-Dice",
    "X-Request-Id",
    "X-Unusual",
)
"""What pages of other origins may read of an answer."""

pages = APIRouter(include_in_schema=False)


class ServiceApp(FastAPI):
    """An application whose OpenAPI document lists the served models."""

    def openapi(self) -> dict[str, Any]:
        schema = super().openapi()
        for methods in schema["paths"].values():
            for operation in methods.values():
                for parameter in operation.get("parameters", ()):
                    if parameter["name"] in MODEL_PARAMETERS:
                        parameter["schema"]["enum"] = self.state.service.models.names
        return schema


def create_app(
    models: ModelRepository,
    queue: WorkQueue,
    access: Access | None = None,
    limits: Limits | None = None,
    root_path: str = "",
) -> FastAPI:
    """Create the application.

    Args:
        models: what is served.
        queue: where requests wait for a thread.
        access: who may call; by default only this machine.
        limits: of a request.
        root_path: the path that a proxy has the application at, such as "/limner".
    """
    app = ServiceApp(
        title="limner",
        version=limner.__version__,
        description="Images in, masks out.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        root_path=root_path,
    )
    limits, metrics = limits or Limits(), Metrics(lambda: queue.in_flight)
    admission = Admission(queue, limits, metrics)
    app.state.service = ServiceContext(models, admission, limits, metrics)
    for router in (
        segment.router,
        health.router,
        open_inference.router,
        pages,
        static.router,
    ):
        app.include_router(router)
    access = access or Access()
    add_middleware(app, access, metrics, admission.reject_if_full)
    if access.origins:
        # Before the check of access: a browser asks without a token whether it may call
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(access.origins),
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=CALLERS_HEADERS,
            expose_headers=OWN_HEADERS,
        )
    return app


@pages.get("/")
async def index(context: Context) -> Response:
    palette = " ".join(map("#{0[0]:02x}{0[1]:02x}{0[2]:02x}".format, PALETTE))
    suffixes = ",".join(sorted(IMAGE_SUFFIXES))
    return static.render_page(
        "segment.html", names=context.models.names, palette=palette, suffixes=suffixes
    )


@pages.get("/docs")
async def docs(request: Request) -> Response:
    base = str(request.base_url).rstrip("/") + "/"
    return static.render_page("docs.html", schema=request.app.openapi(), base=base)
