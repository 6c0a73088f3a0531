"""The routes that the review page calls. `place` in a path is a task's position in the order."""

import asyncio
import gzip
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Header, Path, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from limner.data.writers.jpeg import encode_jpeg
from limner.labels import VOID, Labels
from limner.review.events import EntryState, StaleError
from limner.review.queue import Task
from limner.review.session import Decision, MaskVersion, ReviewSession
from limner.web.errors import ProblemError
from limner.web.limits import BodyReader, Limits
from limner.web.review.images import MAX_REVIEWED_PIXELS, TaskImages, public_errors

LIMITS = Limits(body_bytes=MAX_REVIEWED_PIXELS + 1_000_000)
MAX_VERSION_DIGITS = 9


class DecisionRequest(BaseModel):
    """What a person says of a mask."""

    verdict: Literal["accept", "reject"]
    reason: Annotated[str | None, Field(max_length=200)] = None
    seconds: Annotated[float, Field(ge=0, le=86_400)] = 0.0


class LeaseRequest(BaseModel):
    """To hold a task; `over` takes it from whoever holds it."""

    over: bool = False


@dataclass(slots=True)
class ReviewContext:
    """The state of the application: the session, and who calls without a token."""

    session: ReviewSession
    reviewer: str
    bodies: BodyReader = field(default_factory=lambda: BodyReader(LIMITS))
    images: TaskImages = field(init=False)

    def __post_init__(self) -> None:
        self.images = TaskImages(self.session)

    def task_at(self, position: int) -> Task:
        """A task by its position. Raises ProblemError where there is none."""
        tasks = self.session.tasks
        if position >= len(tasks):
            raise ProblemError(404, f"there are {len(tasks)} tasks, counted from 0.")
        return tasks[position]


# Coroutines, since FastAPI would run plain functions in threads
async def _context(request: Request) -> ReviewContext:
    return request.app.state.review


async def _reviewer(request: Request) -> str:
    return request.state.caller or request.app.state.review.reviewer


Context = Annotated[ReviewContext, Depends(_context)]
Reviewer = Annotated[str, Depends(_reviewer)]
Position = Annotated[int, Path(ge=0, alias="place")]
IfMatch = Annotated[str | None, Header(alias="If-Match")]

router = APIRouter(prefix="/api")


@router.get("/review")
async def review(context: Context, reviewer: Reviewer) -> dict[str, Any]:
    predictions = context.session.predictions
    labels = predictions.labels
    await asyncio.to_thread(context.session.refresh)
    return {
        **_describe_review(context.session, reviewer),
        "classes": _describe_classes(labels),
        "void": VOID,
        "erased": 0 if labels.names[0] == "background" or not labels.void_values else VOID,
        "models": list(predictions.models),
        "identity": predictions.identity[:16],
    }


@router.get("/progress")
async def progress(context: Context, reviewer: Reviewer) -> dict[str, Any]:
    await asyncio.to_thread(context.session.refresh)
    return _describe_review(context.session, reviewer)


@router.get("/next")
async def next_task(
    context: Context, reviewer: Reviewer, after: Annotated[int, Field(ge=-1)] = -1
) -> dict[str, int | None]:
    return {"place": await asyncio.to_thread(context.session.next_task, reviewer, after)}


@router.get("/tasks/{place}")
async def task(context: Context, reviewer: Reviewer, position: Position) -> dict[str, Any]:
    return _describe_task(context, position, reviewer)


@router.get("/tasks/{place}/image")
def image(context: Context, position: Position) -> Response:
    context.task_at(position)
    pixels, fingerprint = context.images.image(position)
    return Response(
        encode_jpeg(np.ascontiguousarray(pixels), 95),
        media_type="image/jpeg",
        headers={"X-Basis": fingerprint},
    )


@router.get("/tasks/{place}/thumbnail")
def thumbnail(context: Context, position: Position) -> Response:
    context.task_at(position)
    return Response(context.images.thumbnail(position), media_type="image/jpeg")


@router.get("/tasks/{place}/mask")
def mask(context: Context, position: Position) -> Response:
    """Class indices, row by row."""
    task = context.task_at(position)
    fingerprint = context.session.fingerprint(task)
    with public_errors(task):
        pixels, state = context.session.mask(task)
    height, width = pixels.shape
    return Response(
        gzip.compress(np.ascontiguousarray(pixels).tobytes(), 1, mtime=0),
        media_type="application/octet-stream",
        headers={
            "ETag": _etag(context.session, fingerprint, state),
            "Content-Encoding": "gzip",
            "X-Height": str(height),
            "X-Width": str(width),
        },
    )


@router.put("/tasks/{place}/draft")
async def draft(
    request: Request,
    context: Context,
    reviewer: Reviewer,
    position: Position,
    if_match: IfMatch = None,
) -> Response:
    """Keep the tiles that a stroke changed."""
    session, seen, task = context.session, _seen(context, if_match), context.task_at(position)
    async with context.bodies.body(request) as body:
        pixels, _ = await asyncio.to_thread(context.images.image, position)
        size_px = pixels.shape[0], pixels.shape[1]
        write = partial(session.save_draft, task, reviewer, seen, body, size_px)
        state = await _write(context, task, seen, write)
    return _written(session, seen, state, reviewer)


@router.post("/tasks/{place}/verdict")
async def verdict(
    request: Request,
    context: Context,
    reviewer: Reviewer,
    position: Position,
    body: DecisionRequest,
    if_match: IfMatch = None,
) -> Response:
    session, seen, task = context.session, _seen(context, if_match), context.task_at(position)
    decision = Decision(
        rejected=body.verdict == "reject",
        reason=body.reason,
        seconds=body.seconds,
        client=request.headers.get("user-agent", ""),
    )
    write = partial(session.decide, task, reviewer, seen, decision)
    return _written(session, seen, await _write(context, task, seen, write), reviewer)


@router.post("/tasks/{place}/lease")
async def acquire_lease(
    context: Context,
    reviewer: Reviewer,
    position: Position,
    body: LeaseRequest,
    if_match: IfMatch = None,
) -> dict[str, Any]:
    _seen(context, if_match)
    session, task = context.session, context.task_at(position)
    if not session.did_other_reading(task, reviewer):
        session.leases.acquire(task.key, reviewer, over=body.over)
    return _describe_task(context, position, reviewer)


@router.delete("/tasks/{place}/lease")
async def release_lease(context: Context, reviewer: Reviewer, position: Position) -> dict[str, Any]:
    context.session.leases.release(context.task_at(position).key, reviewer)
    return _describe_task(context, position, reviewer)


def _describe_classes(labels: Labels) -> list[dict[str, Any]]:
    return [
        {"name": name, "colour": labels.colour(index), "scored": index in labels.scored}
        for index, name in enumerate(labels.names)
    ]


def _describe_task(context: ReviewContext, position: int, reviewer: str) -> dict[str, Any]:
    session, task = context.session, context.task_at(position)
    state, entry = session.state(task), task.entry
    owner = session.leases.holder(task.key)
    return {
        "place": position,
        "key": task.key,
        "name": entry.name,
        "turn": task.reading,
        "predicted_dice": entry.predicted_dice,
        "unusual": entry.unusual,
        "note": entry.note,
        "version": state.version,
        "drafted_by": state.drafted_by,
        "verdict": state.verdict,
        "reason": state.reason,
        "reviewer": state.reviewer,
        "owner": None if owner == reviewer else owner,
        "barred": session.did_other_reading(task, reviewer),
    }


def _describe_review(session: ReviewSession, reviewer: str) -> dict[str, Any]:
    # In this order: the count then belongs to these codes or to earlier ones
    writes, codes = session.write_count(), session.status_codes()
    progress = session.progress(codes)
    return {
        "reviewer": reviewer,
        "edition": session.edition,
        "writes": writes,
        "letters": codes,
        "progress": {**asdict(progress), "left": progress.left, "audit": progress.audit},
    }


def _etag(session: ReviewSession, fingerprint: str, state: EntryState) -> str:
    return f'"{session.edition}-{fingerprint}-{state.version}"'


def _seen(context: ReviewContext, if_match: str | None) -> MaskVersion:
    """What the caller saw, by the ETag that it names. Raises ProblemError for another review."""
    if if_match is None:
        raise ProblemError(
            428,
            "the request names no version. Send the ETag of the mask that was changed as If-Match.",
        )
    parts = ["", "", *if_match.removeprefix("W/").strip('"').split("-")]
    edition, fingerprint, version = parts[-3:]
    if not version.isascii() or not version.isdigit() or len(version) > MAX_VERSION_DIGITS:
        raise ProblemError(400, "If-Match is not an ETag of this service.")
    if edition != context.session.edition:
        raise ProblemError(
            409,
            "another review, or another order of it, is served here now. Load the page again.",
        )
    return MaskVersion(fingerprint, int(version))


async def _write(
    context: ReviewContext, task: Task, seen: MaskVersion, write: Callable[[], EntryState]
) -> EntryState:
    """Write in a thread. Raises ProblemError where somebody wrote since."""
    try:
        with public_errors(task):
            return await asyncio.to_thread(write)
    except StaleError as error:
        raise _conflict(context.session, seen, error.state) from None


def _conflict(session: ReviewSession, seen: MaskVersion, state: EntryState) -> ProblemError:
    """The answer to a write that expected an older version."""
    author = state.drafted_by or state.reviewer or "somebody"
    return ProblemError(
        412,
        f"{author} changed this mask in the meantime.",
        {"ETag": _etag(session, seen.fingerprint, state)},
        {"version": state.version, "by": author},
    )


def _written(
    session: ReviewSession, seen: MaskVersion, state: EntryState, reviewer: str
) -> Response:
    return JSONResponse(
        {"version": state.version, **_describe_review(session, reviewer)},
        headers={"ETag": _etag(session, seen.fingerprint, state)},
    )
