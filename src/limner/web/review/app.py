"""create_review_app: the review of predictions as an application."""

from fastapi import APIRouter, FastAPI, Response

import limner
from limner.review.session import ReviewSession
from limner.web import static
from limner.web.auth import Access
from limner.web.metrics import Metrics
from limner.web.middleware import add_middleware
from limner.web.review import pictures, routes
from limner.web.review.context import ReviewContext

REASONS = (
    "wrong object",
    "wrong class",
    "nothing is there",
    "border is off",
    "parts are missing",
    "too much was drawn",
    "image is unusable",
    "not sure",
    "other",
)
"""Reasons of a rejection; the keys 1 to 9 stand for them."""

pages = APIRouter()


def undocumented_app(root_path: str) -> FastAPI:
    """An application of the review, whose routes are for its own page alone."""
    return FastAPI(
        title="limner review",
        version=limner.__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        root_path=root_path,
    )


def create_review_app(
    session: ReviewSession, reviewer: str, access: Access | None = None, root_path: str = ""
) -> FastAPI:
    """Create the application.

    Args:
        session: what is reviewed.
        reviewer: the name of callers who have no token of their own.
        access: who may call; by default only this machine.
        root_path: the path that a proxy has the application at, such as "/limner".
    """
    app = undocumented_app(root_path)
    app.state.review = ReviewContext(session, reviewer)
    for router in (routes.router, pictures.router, pages, static.router):
        app.include_router(router)
    add_middleware(app, access or Access(), Metrics())
    return app


@pages.get("/")
async def index() -> Response:
    return static.render_page("review.html", reasons=REASONS)


@pages.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "alive"}
