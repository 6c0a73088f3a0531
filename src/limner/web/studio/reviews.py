"""ReviewMounts: the reviews of projects, each opened when its page is first asked for."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from limner.errors import LimnerError
from limner.inference.prediction_record import PREDICTIONS_FILE
from limner.studio.dataset_state import folder_signature
from limner.web.errors import ProblemError
from limner.web.middleware import route_path
from limner.web.review.opened import OpenedReview, ReviewOptions, open_review
from limner.web.studio.context import StudioContext


@dataclass(frozen=True, slots=True)
class _Mounted:
    """A review that is open, and what its folder was like when it was opened."""

    opened: OpenedReview
    signature: int


class ReviewMounts:
    """Answers below /PROJECT/FOLDER/ as the review of that folder does.

    It is opened anew where its images or predictions were changed since.
    """

    def __init__(self, context: StudioContext) -> None:
        self._context = context
        self._mounted: dict[Path, _Mounted] = {}
        self._lock = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        parts = route_path(scope).split("/", 3)
        if len(parts) < 4:
            raise ProblemError(404, "there is no such page.")
        _, id, name, _ = parts
        folder = await asyncio.to_thread(self._find, id, name)
        app = await self._open(folder)
        root = f"{scope.get('root_path', '').rstrip('/')}/{id}/{name}"
        await app({**scope, "root_path": root}, receive, send)

    def _find(self, id: str, name: str) -> Path:
        """The folder that is reviewed: of predictions, or of a project without masks."""
        project = self._context.project(id)
        has_blank = project.drawn is not None or not project.data.samples
        is_drawn = name == project.folder.name and has_blank
        if not is_drawn and not any(each.name == name for each in project.predictions):
            raise ProblemError(404, f"{project.folder.name} has nothing to review in {name}.")
        return project.work / name

    async def _open(self, folder: Path) -> ASGIApp:
        signature = await asyncio.to_thread(_signature, folder)
        async with self._lock:
            mounted = self._mounted.get(folder)
            if mounted is None or mounted.signature != signature:
                mounted = _Mounted(await asyncio.to_thread(self._open_review, folder), signature)
                self._mounted[folder] = mounted
        return mounted.opened.app

    def _open_review(self, folder: Path) -> OpenedReview:
        options = ReviewOptions(folder, self._context.user, self._context.access)
        try:
            return open_review(options, ())
        except LimnerError as error:
            raise ProblemError(422, str(error)) from None


def _signature(folder: Path) -> int:
    record = folder / PREDICTIONS_FILE
    if record.is_file():
        return record.stat().st_mtime_ns
    return folder_signature(folder)
