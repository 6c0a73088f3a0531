"""open_review: the application for a folder that is reviewed, or whose classes are asked first."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import FastAPI
from starlette.types import ASGIApp

from limner.data.folder_listing import FolderListing
from limner.data.parallel import Progress
from limner.plurals import count_noun
from limner.review.blank import is_blank, state_classes
from limner.review.queue import order_tasks
from limner.review.session import ReviewSession
from limner.review.sources import read_predictions
from limner.review.verdicts import open_store
from limner.web.auth import Access
from limner.web.review.app import create_review_app
from limner.web.review.setup import SetupApp


@dataclass(frozen=True, slots=True)
class ReviewOptions:
    """How a folder is reviewed."""

    folder: Path
    reviewer: str
    """The name of callers who have no token of their own."""
    access: Access
    root_path: str = ""
    store: str | None = None
    order: str = "predicted"
    twice: float = 0.0
    readers: int = 2
    shares_out: bool = False
    """Whether each reviewer who has a token gets a part of the images."""
    seed: int = 0


@dataclass(slots=True)
class OpenedReview:
    """The application, and what the terminal says of it."""

    images: int
    session: ReviewSession | None = None
    """None until the page has asked for classes, where it must."""
    app: ASGIApp = field(init=False)
    has_begun: bool = False
    """Whether the server listens."""

    def describe(self) -> str:
        """What there is to do."""
        if self.session is None:
            return f"{count_noun(self.images, 'image')} and no masks: the page asks what to draw"
        progress = self.session.progress()
        left = f"{progress.left} of {count_noun(len(self.session.tasks), 'mask')} left to review"
        return f"{progress.audit}\n{left}" if progress.audit else left

    def summarise(self, folder: Path) -> str:
        """What was done, and the next command."""
        if self.session is None:
            return "Nothing was drawn."
        progress, path = self.session.progress(), shlex.quote(str(folder))
        counts = (
            f"{progress.accepted} accepted, {progress.mended} corrected, {progress.rejected} "
            f"rejected, {progress.left} left."
        )
        if not progress.accepted + progress.mended:
            return f"{counts} Go on with: limner review {path}"
        if not self.session.predictions.is_blank:
            return f"{counts} Next: limner merge {path} DATASET -o NEW"
        data = shlex.quote(f"{folder.resolve().name}-masks")
        return f"{counts} Next: limner merge {path} -o {data} && limner train {data}"


def open_review(
    options: ReviewOptions, classes: Sequence[str], progress: Progress | None = None
) -> OpenedReview:
    """Open the review of a folder.

    Args:
        options: The folder, and how it is reviewed.
        classes: What is to be drawn in images without masks; none where that is known, or is to
            be asked on the page.
        progress: Draws a bar while masks are read.

    Raises LimnerError as `state_classes`, `read_predictions` and `ReviewSession` do.
    """
    if classes:
        state_classes(options.folder, classes)
    elif is_blank(options.folder):
        return _ask_for_classes(options)
    session = _open_session(options, progress)
    opened = OpenedReview(len(session.tasks), session)
    opened.app = _create_app(session, options)
    return opened


def _ask_for_classes(options: ReviewOptions) -> OpenedReview:
    """Open a page that asks for classes, and then is the review."""
    opened = OpenedReview(len(FolderListing(options.folder).images()))

    def begin(names: Sequence[str]) -> FastAPI:
        state_classes(options.folder, names)
        opened.session = _open_session(options, None)
        return _create_app(opened.session, options)

    name = options.folder.resolve().name
    opened.app = SetupApp(name, opened.images, begin, options.access, options.root_path)
    return opened


def _open_session(options: ReviewOptions, progress: Progress | None) -> ReviewSession:
    predictions = read_predictions(options.folder, progress)
    tasks = order_tasks(
        predictions.entries, options.seed, options.twice, options.order, options.readers
    )
    assignees = sorted(options.access.tokens) if options.shares_out else ()
    store = open_store(options.folder, options.store)
    return ReviewSession(predictions, tasks, store, assignees=assignees)


def _create_app(session: ReviewSession, options: ReviewOptions) -> FastAPI:
    return create_review_app(session, options.reviewer, options.access, options.root_path)
