"""The routes that the review page calls. `place` in a path is a task's position in the order."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from limner.errors import LimnerError
from limner.labels import VOID, Labels
from limner.review.events import VERDICT_NAMES, EntryState, StaleError
from limner.review.progress import count_by_reviewer
from limner.review.queue import Task
from limner.review.session import Decision, MaskVersion, ReviewSession
from limner.review.verdicts import ReviewResults
from limner.web.errors import ProblemError
from limner.web.review.context import Context, Position, ReviewContext, Reviewer
from limner.web.review.images import WHOLE_PIXELS, public_errors
from limner.web.review.pictures import mask_response

MAX_VERSION_DIGITS = 9
log = logging.getLogger("limner.review")
"""A line for each verdict."""


class DecisionRequest(BaseModel):
    """What a person says of a mask."""

    verdict: Literal["accept", "reject"]
    reason: Annotated[str | None, Field(max_length=200)] = None
    seconds: Annotated[float, Field(ge=0, le=86_400)] = 0.0


class NoteRequest(BaseModel):
    """What a person writes about an image."""

    text: Annotated[str, Field(min_length=1, max_length=2000)]


class LeaseRequest(BaseModel):
    """To hold a task; `over` takes it from whoever holds it."""

    over: bool = False


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
        "erased": _erased_class(labels),
        "models": list(predictions.models),
        "blank": predictions.is_blank,
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
def task(context: Context, reviewer: Reviewer, position: Position) -> dict[str, Any]:
    session, task = context.session, context.task_at(position)
    height, width = context.images.size_px(position)
    tiled = [height, width] if height * width > WHOLE_PIXELS else None
    return {
        **_describe_task(context, position, reviewer),
        "tiled": tiled,
        "etag": _etag(session, session.fingerprint(task), session.state(task)),
    }


@router.get("/tasks/{place}/mask")
def mask(context: Context, position: Position) -> Response:
    """Class indices, row by row."""
    task = context.task_at(position)
    fingerprint = context.session.fingerprint(task)
    with public_errors(task):
        pixels, state = context.session.mask(task)
    return mask_response(pixels, _etag(context.session, fingerprint, state))


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
        size_px = await asyncio.to_thread(context.images.size_px, position)
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
    state = await _write(context, task, seen, write)
    answer = _written(session, seen, state, reviewer)
    reason = f": {state.reason}" if state.reason else ""
    what = VERDICT_NAMES[state.verdict or "accepted"]
    log.info("%s %s %s%s", reviewer, what, task.entry.name, reason)
    return answer


@router.get("/tasks/{place}/notes")
def notes(context: Context, position: Position) -> list[dict[str, str]]:
    found = context.session.store.notes(context.task_at(position).key)
    return [asdict(note) for note in found]


@router.post("/tasks/{place}/notes")
def add_note(
    context: Context, reviewer: Reviewer, position: Position, body: NoteRequest
) -> list[dict[str, str]]:
    context.session.store.add_note(context.task_at(position).key, reviewer, body.text.strip())
    return notes(context, position)


@router.get("/reviewers")
def reviewers(context: Context) -> list[dict[str, Any]]:
    """What each reviewer did."""
    session = context.session
    try:
        agreement = ReviewResults(session.predictions, session.store).agreement_by_reviewer()
    except LimnerError as error:
        raise ProblemError(422, str(error)) from None
    return [asdict(each) for each in count_by_reviewer(session.store.events(), agreement)]


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
        acquire = partial(session.leases.acquire, task.key, reviewer, over=body.over)
        await asyncio.to_thread(acquire)
    return _describe_task(context, position, reviewer)


@router.delete("/tasks/{place}/lease")
async def release_lease(context: Context, reviewer: Reviewer, position: Position) -> dict[str, Any]:
    release = partial(context.session.leases.release, context.task_at(position).key, reviewer)
    await asyncio.to_thread(release)
    return _describe_task(context, position, reviewer)


def _describe_classes(labels: Labels) -> list[dict[str, Any]]:
    return [
        {"name": name, "colour": labels.colour(index), "scored": index in labels.scored}
        for index, name in enumerate(labels.names)
    ]


def _erased_class(labels: Labels) -> int | None:
    """What erasing leaves: the background, or void pixels; None where a set has neither."""
    if labels.names[0] == "background":
        return 0
    return VOID if labels.void_values else None


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
        "assignee": session.assignee(position),
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
