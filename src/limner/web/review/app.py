"""The review over HTTP: what the page asks for, and the page."""

import asyncio
import gzip
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache, partial
from importlib.resources import files
from typing import Annotated, Any, Literal

import jinja2
import numpy as np
from fastapi import APIRouter, FastAPI, Header, Path, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, Field

import limner
from limner.data.images import to_rgb
from limner.data.overlays import draw_overlay, shrink_pair
from limner.data.writers.jpeg import encode_jpeg
from limner.errors import LimnerError
from limner.labels import VOID
from limner.review.queue import Task
from limner.review.session import ChangedError, ReviewSession
from limner.review.store import EntryState, StaleError
from limner.web.auth import Access
from limner.web.limits import BodyReader, Limits, ProblemError
from limner.web.metrics import Metrics
from limner.web.middleware import add_middleware

log = logging.getLogger("limner.web")
STATIC = {
    "icon.svg": "image/svg+xml",
    "review.css": "text/css",
    **{
        f"{name}.js": "text/javascript"
        for name in ("review", "mask", "view", "tools", "keys", "service")
    },
}
"""Looked up by name; nothing is joined into a path."""
MOST_PIXELS = 64_000_000
THUMBNAIL_PX = 112
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
"""What 1 to 9 mean after R."""
LIMITS = Limits(body_bytes=MOST_PIXELS + 1_000_000)


class Decision(BaseModel):
    """What a person says of a mask."""

    verdict: Literal["accept", "reject"]
    reason: Annotated[str | None, Field(max_length=200)] = None
    seconds: Annotated[float, Field(ge=0, le=86_400)] = 0.0


class LeaseRequest(BaseModel):
    """To hold a task; `over` takes it from who holds it."""

    over: bool = False


def create_review_app(desk: ReviewSession, reviewer: str, access: Access | None = None) -> FastAPI:
    """The review as an application. `reviewer` is who calls without a token of their own."""
    app = FastAPI(
        title="limner review",
        version=limner.__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.include_router(routes(desk, reviewer))
    pages = jinja2.Environment(loader=jinja2.PackageLoader("limner.web", "pages"), autoescape=True)

    @app.get("/")
    async def index() -> Response:
        return HTMLResponse(pages.get_template("review.html").render(reasons=REASONS))

    @app.get("/static/{name}")
    async def static(name: str) -> Response:
        if name not in STATIC:
            raise ProblemError(404, "there is no such file.")
        return Response(
            (files("limner.web") / "pages" / name).read_text(encoding="utf-8"),
            media_type=STATIC[name],
        )

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    add_middleware(app, access or Access(), Metrics())
    return app


def routes(desk: ReviewSession, reviewer: str) -> APIRouter:
    """What the page asks for. A task is known by its place in the order."""
    router = APIRouter(prefix="/api")
    held, labels = BodyReader(LIMITS), desk.predictions.labels
    erased = 0 if labels.names[0] == "background" or not labels.void_values else VOID
    # A type
    Place = Annotated[int, Path(ge=0)]  # noqa: N806
    IfMatch = Annotated[str | None, Header(alias="If-Match")]  # noqa: N806

    def who(request: Request) -> str:
        return request.state.caller or reviewer

    def task_at(place: int) -> Task:
        if place >= len(desk.tasks):
            raise ProblemError(404, f"there are {len(desk.tasks)} tasks, counted from 0.")
        return desk.tasks[place]

    @contextmanager
    def named(task: Task) -> Iterator[None]:
        """Errors that call files by their names alone; the log has the paths."""
        try:
            yield
        except LimnerError as error:
            log.error(json.dumps({"task": task.key, "error": str(error)}))
            message = str(error)
            for path in (task.entry.image, str(task.entry.mask)):
                message = message.replace(path, task.entry.name)
            raise ProblemError(410 if isinstance(error, ChangedError) else 422, message) from None

    @lru_cache(maxsize=4)
    def image_of(place: int, basis: str) -> Any:  # noqa: ARG001
        # Of other files it is another
        with named(desk.tasks[place]):
            pixels = desk.predictions.image(desk.tasks[place].entry)
        if pixels.shape[0] * pixels.shape[1] > MOST_PIXELS:
            raise ProblemError(
                413,
                (
                    f"the image has {pixels.shape[1]}x{pixels.shape[0]} px; up to "
                    f"{MOST_PIXELS // 1_000_000} megapixels can be reviewed."
                ),
            )
        return to_rgb(pixels)

    @lru_cache(maxsize=4000)
    def thumbnail_of(place: int, version: int, basis: str) -> bytes:  # noqa: ARG001
        # Another version is another picture
        with named(desk.tasks[place]):
            mask, _ = desk.mask(desk.tasks[place])
        drawn = draw_overlay(*shrink_pair(image_of(place, basis), mask, THUMBNAIL_PX), labels)
        return encode_jpeg(drawn, 80)

    def told(place: int, request: Request) -> dict[str, Any]:
        task = task_at(place)
        state, entry = desk.state(task), task.entry
        owner = desk.leases.holder(task.key)
        return {
            "place": place,
            "key": task.key,
            "name": entry.name,
            "turn": task.turn,
            "predicted_dice": entry.predicted_dice,
            "unusual": entry.unusual,
            "version": state.version,
            "drafted_by": state.drafted_by,
            "verdict": state.verdict,
            "reason": state.reason,
            "reviewer": state.reviewer,
            "owner": None if owner == who(request) else owner,
            "barred": desk.took_part(task, who(request)),
        }

    def overall(request: Request) -> dict[str, Any]:
        writes, letters = desk.write_count(), desk.letters()
        progress = desk.progress(letters)
        return {
            "reviewer": who(request),
            "edition": desk.edition,
            "writes": writes,
            "letters": letters,
            "progress": {**asdict(progress), "left": progress.left, "audit": progress.audit},
        }

    def etag(basis: str, state: EntryState) -> str:
        return f'"{desk.edition}-{basis}-{state.version}"'

    def expected(if_match: str | None) -> tuple[str, int]:
        """The basis and the version of what the caller saw."""
        if if_match is None:
            raise ProblemError(
                428,
                (
                    "the request names no version. Send the ETag of the mask that was changed as "
                    "If-Match."
                ),
            )
        edition, basis, version = ["", "", *if_match.removeprefix("W/").strip('"').split("-")][-3:]
        if not version.isascii() or not version.isdigit() or len(version) > 9:
            raise ProblemError(400, "If-Match is no ETag of this service.")
        if edition != desk.edition:
            raise ProblemError(
                409,
                "another review, or another order of it, is served here now. Load the page again.",
            )
        return basis, int(version)

    def stale(error: StaleError, basis: str) -> ProblemError:
        state = error.state
        by = state.drafted_by or state.reviewer or "somebody"
        return ProblemError(
            412,
            f"{by} changed this mask in the meantime.",
            {"ETag": etag(basis, state)},
            {"version": state.version, "by": by},
        )

    def written(basis: str, state: EntryState, request: Request) -> Response:
        return JSONResponse(
            {"version": state.version, **overall(request)}, headers={"ETag": etag(basis, state)}
        )

    @router.get("/review")
    async def review(request: Request) -> dict[str, Any]:
        classes = [
            {"name": name, "colour": labels.colour(index), "scored": index in labels.scored}
            for index, name in enumerate(labels.names)
        ]
        await asyncio.to_thread(desk.refresh)
        return {
            **overall(request),
            "classes": classes,
            "void": VOID,
            "erased": erased,
            "models": list(desk.predictions.models),
            "identity": desk.predictions.identity[:16],
        }

    @router.get("/progress")
    async def progress(request: Request) -> dict[str, Any]:
        await asyncio.to_thread(desk.refresh)
        return overall(request)

    @router.get("/next")
    async def following(
        request: Request, after: Annotated[int, Field(ge=-1)] = -1
    ) -> dict[str, int | None]:
        return {"place": await asyncio.to_thread(desk.next_task, who(request), after)}

    @router.get("/tasks/{place}")
    async def task(request: Request, place: Place) -> dict[str, Any]:
        return told(place, request)

    @router.get("/tasks/{place}/image")
    def image(place: Place) -> Response:
        basis = desk.fingerprint(task_at(place))
        pixels = image_of(place, basis)
        return Response(
            encode_jpeg(np.ascontiguousarray(pixels), 95),
            media_type="image/jpeg",
            headers={"X-Basis": basis},
        )

    @router.get("/tasks/{place}/thumbnail")
    def thumbnail(place: Place) -> Response:
        task = task_at(place)
        return Response(
            thumbnail_of(place, desk.state(task).version, desk.fingerprint(task)),
            media_type="image/jpeg",
        )

    @router.get("/tasks/{place}/mask")
    def mask(place: Place) -> Response:
        """Class indices, row by row."""
        task = task_at(place)
        basis = desk.fingerprint(task)
        with named(task):
            drawn, state = desk.mask(task)
        size = {"X-Height": str(drawn.shape[0]), "X-Width": str(drawn.shape[1])}
        content = gzip.compress(np.ascontiguousarray(drawn).tobytes(), 1, mtime=0)
        return Response(
            content,
            media_type="application/octet-stream",
            headers={"ETag": etag(basis, state), "Content-Encoding": "gzip", **size},
        )

    @router.put("/tasks/{place}/draft")
    async def draft(request: Request, place: Place, if_match: IfMatch = None) -> Response:
        """The tiles that a stroke changed."""
        (basis, version), task = expected(if_match), task_at(place)
        async with held.body(request) as body:
            size = (await asyncio.to_thread(image_of, place, desk.fingerprint(task))).shape[:2]
            try:
                with named(task):
                    state = await asyncio.to_thread(
                        desk.save_draft, task, who(request), version, basis, body, size
                    )
            except StaleError as error:
                raise stale(error, basis) from None
        return written(basis, state, request)

    @router.post("/tasks/{place}/verdict")
    async def verdict(
        request: Request, place: Place, decision: Decision, if_match: IfMatch = None
    ) -> Response:
        (basis, version), task, client = (
            expected(if_match),
            task_at(place),
            request.headers.get("user-agent", ""),
        )
        decide = partial(
            desk.decide,
            rejected=decision.verdict == "reject",
            reason=decision.reason,
            seconds=decision.seconds,
            client=client,
        )
        try:
            with named(task):
                state = await asyncio.to_thread(decide, task, who(request), version, basis)
        except StaleError as error:
            raise stale(error, basis) from None
        return written(basis, state, request)

    @router.post("/tasks/{place}/lease")
    async def lease(
        request: Request, place: Place, wish: LeaseRequest, if_match: IfMatch = None
    ) -> dict[str, Any]:
        expected(if_match)
        task, person = task_at(place), who(request)
        owner = (
            desk.leases.holder(task.key)
            if desk.took_part(task, person)
            else desk.leases.acquire(task.key, person, over=wish.over)
        )
        return {"owner": owner, **told(place, request)}

    @router.delete("/tasks/{place}/lease")
    async def leave(request: Request, place: Place) -> dict[str, Any]:
        desk.leases.release(task_at(place).key, who(request))
        return told(place, request)

    return router
