"""SetupApp: asks on the page for the classes of masks to be drawn, and then is the review."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from starlette.types import ASGIApp, Receive, Scope, Send

from limner.errors import LimnerError
from limner.labels import MAX_NAMED_CLASSES
from limner.web import static
from limner.web.auth import Access
from limner.web.errors import ProblemError
from limner.web.metrics import Metrics
from limner.web.middleware import add_middleware
from limner.web.review.app import undocumented_app

Begin = Callable[[Sequence[str]], ASGIApp]
"""Takes the names of classes and gives the review. Raises LimnerError for unusable names."""

router = APIRouter()


class Classes(BaseModel):
    """What is to be drawn."""

    names: Annotated[list[str], Field(max_length=MAX_NAMED_CLASSES)]


class SetupApp:
    """An application that asks for classes until it has them, and is the review from then on.

    Args:
        folder: The name of the folder of images, to be shown.
        images: How many there are.
        begin: Opens the review.
        access: Who may call.
        root_path: The path that a proxy has the application at, such as "/limner".
    """

    def __init__(
        self, folder: str, images: int, begin: Begin, access: Access, root_path: str = ""
    ) -> None:
        app = undocumented_app(root_path)
        app.state.setup, self.folder, self.images = self, folder, images
        for part in (router, static.router):
            app.include_router(part)
        add_middleware(app, access, Metrics())
        self._begin, self._lock = begin, asyncio.Lock()
        self._app: ASGIApp = app
        self._has_begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    async def begin(self, names: Sequence[str]) -> None:
        """Open the review. What a second caller names counts no more."""
        async with self._lock:
            if not self._has_begun:
                self._app = await asyncio.to_thread(self._begin, names)
                self._has_begun = True


@router.get("/")
async def index(request: Request) -> Response:
    setup: SetupApp = request.app.state.setup
    return static.render_page("setup.html", folder=setup.folder, images=setup.images)


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "alive"}


@router.post("/api/classes")
async def state_classes(request: Request, classes: Classes) -> dict[str, list[str]]:
    setup: SetupApp = request.app.state.setup
    try:
        await setup.begin(classes.names)
    except LimnerError as error:
        raise ProblemError(422, str(error)) from None
    return {"names": classes.names}
