"""create_app: models behind one guard, and the pages to try them."""

from importlib.resources import files

import jinja2
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response

import limner
from limner.web.auth import Access
from limner.web.limits import Limits, ProblemError
from limner.web.metrics import Metrics
from limner.web.middleware import add_middleware
from limner.web.service import open_inference, segment
from limner.web.service.admission import Admission
from limner.web.service.models import ModelRepository
from limner.web.service.work_queue import WorkQueue

STATIC = {"segment.js": "text/javascript", "style.css": "text/css", "icon.svg": "image/svg+xml"}
"""Looked up by name; nothing is joined into a path."""


def create_app(
    shelf: ModelRepository,
    queue: WorkQueue,
    access: Access | None = None,
    limits: Limits | None = None,
) -> FastAPI:
    """The service over some models. Every request goes through `Guard` first."""
    app = FastAPI(
        title="limner",
        version=limner.__version__,
        description="Images in, masks out.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    limits, metrics = limits or Limits(), Metrics(queue)
    turns = Admission(queue, limits, metrics)
    app.include_router(segment.routes(shelf, turns, limits, metrics))
    app.include_router(open_inference.routes(shelf, turns, limits))
    pages = jinja2.Environment(loader=jinja2.PackageLoader("limner.web", "pages"), autoescape=True)

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return HTMLResponse(pages.get_template("segment.html").render(names=shelf.names))

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        return HTMLResponse(
            pages.get_template("docs.html").render(
                schema=app.openapi(), base=f"http://{request.headers['host']}/"
            )
        )

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str) -> Response:
        if name not in STATIC:
            raise ProblemError(404, "there is no such file.")
        return Response(
            (files("limner.web") / "pages" / name).read_text(encoding="utf-8"),
            media_type=STATIC[name],
        )

    add_middleware(app, access or Access(), metrics, turns.reject_if_full)
    return app
