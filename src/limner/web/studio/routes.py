"""The routes of projects and jobs."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field

from limner.errors import LimnerError
from limner.studio import commands
from limner.studio.jobs import Job
from limner.studio.projects import Project, project_id
from limner.studio.steps import to_merge
from limner.training.machine_use import is_machine_occupied
from limner.web.errors import ProblemError
from limner.web.studio.context import (
    Context,
    OpenedProject,
    Owner,
    StudioContext,
    describe_job,
    describe_run,
)

LOOK_S = 1.0
"""How often the stream of a project looks at its files."""
MOST_FOLDERS = 2000
SAMPLE = "lesions"
SAMPLE_PLACE = "limner"
"""The folder in one's own that the sample set is written into."""
MAX_PATH = 4096

router = APIRouter(prefix="/api")


class OpenRequest(BaseModel):
    """A folder to open."""

    folder: Annotated[str, Field(min_length=1, max_length=MAX_PATH)]


class JobRequest(BaseModel):
    """A step to be done."""

    step: Literal["check", "train", "resume", "test", "predict", "measure", "merge", "next"]
    minutes: Annotated[float | None, Field(gt=0, le=100_000)] = commands.MINUTES
    epochs: Annotated[int | None, Field(ge=1, le=100_000)] = None
    size_px: Annotated[int | None, Field(ge=16, le=8192)] = None
    encoder: Annotated[str, Field(pattern=r"^[\w.-]{0,100}$")] = ""
    run: Annotated[str, Field(max_length=255)] = ""
    """By default the newest that has a model."""
    images: Annotated[str, Field(max_length=MAX_PATH)] = ""
    """A folder of new images: its path, or its name beside the project."""
    predictions: Annotated[str, Field(max_length=255)] = ""
    beside: bool = False
    """Whether to train while another process does."""


@router.get("/projects")
def projects(context: Context, request: Request) -> dict[str, Any]:
    """The folders that were opened, the last first."""
    return {
        "projects": [
            {"id": project_id(path), "name": path.name, "folder": str(path)}
            for path in context.recent.all()
        ],
        "may_work": request.state.caller not in context.reviewers,
        "user": request.state.caller or context.user,
    }


@router.post("/projects", dependencies=[Owner])
def open_project(context: Context, body: OpenRequest) -> dict[str, str]:
    """Open a folder of this machine."""
    folder = _folder_of(body.folder)
    if folder.parent == folder:
        raise ProblemError(422, "a whole disk is no project. Open the folder of the images.")
    context.recent.add(folder)
    return {"id": project_id(folder)}


@router.post("/sample", dependencies=[Owner])
def open_sample(context: Context) -> dict[str, str]:
    """Open the sample set, which is drawn where it does not exist yet."""
    work = context.home / SAMPLE_PLACE
    folder = work / SAMPLE
    folder.mkdir(parents=True, exist_ok=True)
    folder, work = folder.resolve(), work.resolve()
    context.recent.add(folder)
    new = f"new-{SAMPLE}"
    waiting = any(job.is_active and job.kind == "sample" for job in context.jobs.of(folder))
    if not any(folder.iterdir()) and not waiting:
        context.jobs.add("sample", commands.sample(SAMPLE), folder, work)
        if not (work / new).exists():
            context.jobs.add("sample", commands.sample_images(new), folder, work)
    return {"id": project_id(folder)}


@router.get("/folders", dependencies=[Owner])
def folders(
    context: Context, path: Annotated[str, Query(max_length=MAX_PATH)] = ""
) -> dict[str, Any]:
    """The folders in a folder of this machine, without hidden ones; by default in one's own."""
    folder = _folder_of(path) if path else context.home
    try:
        names = sorted(
            (
                each.name
                for each in folder.iterdir()
                if not each.name.startswith(".") and _is_folder(each)
            ),
            key=str.lower,
        )
    except OSError as error:
        raise ProblemError(404, f"{folder} cannot be read: {error.strerror}.") from None
    return {
        "folder": str(folder),
        "parent": str(folder.parent) if folder.parent != folder else None,
        "folders": names[:MOST_FOLDERS],
        "left_out": max(0, len(names) - MOST_FOLDERS),
    }


@router.get("/projects/{id}")
def project(context: Context, project: OpenedProject) -> Response:
    """A project as it is now."""
    return Response(_to_json(context.describe(project)), media_type="application/json")


@router.get("/projects/{id}/runs/{name}")
def run(project: OpenedProject, name: str) -> Response:
    """How far a training is."""
    return Response(_to_json(describe_run(project, name)), media_type="application/json")


@router.post("/projects/{id}/jobs", dependencies=[Owner])
def start_job(context: Context, project: OpenedProject, body: JobRequest) -> dict[str, Any]:
    """Ask for a step to be done, once the jobs before it have ended."""
    try:
        job = _start(context, project, body)
    except LimnerError as error:
        raise ProblemError(409, str(error)) from None
    return describe_job(job)


@router.post("/projects/{id}/jobs/{job}/stop", dependencies=[Owner])
def stop_job(context: Context, project: OpenedProject, job: str) -> dict[str, Any]:
    """End a job, as Ctrl-C does."""
    if not any(each.id == job for each in context.jobs.of(project.folder)):
        raise ProblemError(404, f"{project.folder.name} has no job {job}.")
    return describe_job(context.jobs.stop(job))


@router.get("/projects/{id}/events")
async def events(context: Context, project: OpenedProject, request: Request) -> Response:
    """What changes in a project, as server-sent events: `project`, `output` and `run`."""
    watch = ProjectWatch(context, project.id)

    async def stream() -> AsyncIterator[str]:
        yield "retry: 1000\n\n"
        while not (context.is_ending() or await request.is_disconnected()):
            try:
                found = await asyncio.to_thread(lambda: list(watch.look()))
            except ProblemError as error:
                yield _event("gone", json.dumps({"error": error.message}))
                return
            for kind, content in found:
                yield _event(kind, content)
            await asyncio.sleep(LOOK_S)

    return StreamingResponse(stream(), media_type="text/event-stream")


class ProjectWatch:
    """Looks at a project, and tells what is new since the last look."""

    def __init__(self, context: StudioContext, id: str) -> None:
        self._context, self._id = context, id
        self._seen: dict[str, str] = {}
        self._job, self._end = "", 0

    def look(self) -> Iterator[tuple[str, str]]:
        """Give the kind and the content, as JSON, of each event. Raises as `project` does."""
        project = self._context.project(self._id)
        yield from self._if_new("project", _to_json(self._context.describe(project)))
        yield from self._output(self._context.jobs.of(project.folder))
        shown = next((run for run in project.runs if run.is_training), None)
        if shown is None and project.runs:
            shown = project.runs[0]
        if shown is not None:
            try:
                progress = describe_run(project, shown.name)
            except ProblemError:
                return
            # The page counts the seconds itself
            still = replace(progress, seconds_left=None)
            yield from self._if_new("run", _to_json(progress), _to_json(still))

    def _if_new(
        self, kind: str, content: str, compared: str | None = None
    ) -> Iterator[tuple[str, str]]:
        compared = content if compared is None else compared
        if self._seen.get(kind) != compared:
            self._seen[kind] = compared
            yield kind, content

    def _output(self, jobs: list[Job]) -> Iterator[tuple[str, str]]:
        """What the job printed that runs, or else the last one."""
        job = next((job for job in jobs if job.state == "running"), jobs[0] if jobs else None)
        if job is None:
            return
        if job.id != self._job:
            self._job, self._end = job.id, 0
            yield "output", json.dumps({"job": job.id, "text": "", "begins": True})
        text, self._end = self._context.jobs.output(job.id, self._end)
        if text:
            yield "output", json.dumps({"job": job.id, "text": text, "begins": False})


def _start(context: StudioContext, project: Project, body: JobRequest) -> Job:
    """Add the jobs of a step, and give the last. Raises LimnerError where it cannot be done."""
    if body.step in {"train", "resume", "next"}:
        _require_no_other_training(context, body)
    if body.step == "next":
        return _start_next_model(context, project, body)
    kind = {"resume": "train"}.get(body.step, body.step)
    arguments = _arguments(context, project, body)
    return context.jobs.add(kind, arguments, project.folder, project.work)


def _arguments(context: StudioContext, project: Project, body: JobRequest) -> commands.Arguments:
    match body.step:
        case "check":
            return commands.check(project)
        case "train":
            choices = commands.TrainChoices(
                body.minutes, body.epochs, body.size_px, body.encoder, body.run
            )
            return commands.train(project, choices, _new_run(context, project))
        case "measure":
            return commands.measure(project.prediction(body.predictions).name)
        case "merge":
            name = body.predictions or project.folder.name
            return commands.merge(project, name, project.next_revision())
    run = project.run(body.run) if body.run else project.best
    if run is None:
        raise LimnerError("there is no model yet. Train one first.")
    if body.step == "resume":
        return commands.resume(run)
    if body.step == "test":
        return commands.test(run)
    return commands.predict(project, run, _new_images(project, body.images))


def _start_next_model(context: StudioContext, project: Project, body: JobRequest) -> Job:
    """Merge what was corrected, and train on with it."""
    reviewed = project.prediction(body.predictions) if body.predictions else to_merge(project)
    if reviewed is None:
        raise LimnerError("no mask was accepted or corrected yet. Review some first.")
    revision = project.next_revision()
    merge = commands.merge(project, reviewed.name, revision)
    merging = context.jobs.add("next", merge, project.folder, project.work)
    train = commands.train_next(project, revision, _new_run(context, project), body.minutes)
    return context.jobs.add("train", train, project.folder, project.work, after=merging.id)


def _new_run(context: StudioContext, project: Project) -> str:
    taken = {argument for job in context.jobs.all() if job.is_active for argument in job.arguments}
    return commands.new_run(project, taken)


def _require_no_other_training(context: StudioContext, body: JobRequest) -> None:
    """Raise ProblemError where a command trains that is no job, unless that is wanted."""
    is_job = any(job.state == "running" and job.kind == "train" for job in context.jobs.all())
    if not is_job and not body.beside and is_machine_occupied():
        raise ProblemError(
            409,
            "A command in a terminal trains on this machine. Two trainings at once take longer "
            "than one after the other.",
            details={"beside": True},
        )


def _new_images(project: Project, folder: str) -> str:
    """The folder of new images, as the command takes it. Raises LimnerError where it is none."""
    if folder in project.new_images:
        return folder
    path = Path(folder).expanduser()
    if not folder or not path.is_absolute() or not path.is_dir():
        raise LimnerError(f"{folder or 'nothing'} is not a folder of this machine.")
    return str(path.resolve())


def _folder_of(text: str) -> Path:
    """A folder of this machine. Raises ProblemError where it is none."""
    try:
        folder = Path(text).expanduser().resolve()
        is_there = folder.is_dir()
    except (OSError, ValueError, RuntimeError):
        is_there = False
    if not is_there:
        raise ProblemError(404, f"{text} is not a folder of this machine.")
    return folder


def _is_folder(path: Path) -> bool:
    """Whether it is a folder that can be looked at."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _to_json(content: object) -> str:
    return json.dumps(content, default=_encode)


def _encode(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(type(value).__name__)


def _event(kind: str, content: str) -> str:
    return f"event: {kind}\ndata: {content}\n\n"
