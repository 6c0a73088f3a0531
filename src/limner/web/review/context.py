"""The state of the review as an application, and what its routes take."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Path, Request

from limner.review.queue import Task
from limner.review.session import ReviewSession
from limner.web.errors import ProblemError
from limner.web.limits import BodyReader, Limits
from limner.web.review.images import WHOLE_PIXELS, TaskImages

LIMITS = Limits(body_bytes=WHOLE_PIXELS + 1_000_000)


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
