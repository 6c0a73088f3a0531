"""create_studio_app: projects, jobs and reviews as one application."""

from fastapi import APIRouter, FastAPI, Response

from limner.web import static
from limner.web.metrics import Metrics
from limner.web.middleware import SECURITY_HEADERS, add_middleware
from limner.web.review.app import undocumented_app
from limner.web.studio import documents, pictures, routes, uploads
from limner.web.studio.context import StudioContext
from limner.web.studio.reviews import ReviewMounts

POLICY = "Content-Security-Policy"

pages = APIRouter()


def create_studio_app(context: StudioContext, root_path: str = "") -> FastAPI:
    """Create the application.

    Args:
        context: Its state.
        root_path: The path that a proxy has the application at, such as "/limner".
    """
    app = undocumented_app(root_path)
    app.title = "limner studio"
    app.state.studio, app.state.pictures = context, pictures.PictureCache()
    routers = (
        routes.router,
        pictures.router,
        documents.router,
        uploads.router,
        pages,
        static.router,
    )
    for router in routers:
        app.include_router(router)
    app.mount("/review", ReviewMounts(context))
    add_middleware(app, context.access, Metrics())
    return app


@pages.get("/")
async def index() -> Response:
    page = static.render_page("studio.html")
    # Reports and checks are shown inside it
    page.headers[POLICY] = f"{SECURITY_HEADERS[POLICY]}; frame-src 'self'"
    return page


@pages.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "alive"}
