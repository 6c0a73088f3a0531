"""The state of the studio as an application, and what its routes take."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request
from fastapi import Path as PathParameter

from limner.errors import LimnerError
from limner.studio.jobs import Job, JobQueue
from limner.studio.projects import RUNS, Project, ProjectReader, RecentProjects
from limner.studio.run_progress import RunProgress, read_progress
from limner.studio.steps import describe_steps
from limner.training.run_record import RunRecord
from limner.web.auth import Access
from limner.web.errors import ProblemError


@dataclass(slots=True)
class StudioContext:
    """The state of the application."""

    root: Path
    """Where jobs and the list of opened folders lie."""
    user: str
    """The name of callers who have no token of their own."""
    access: Access
    reviewers: Collection[str] = ()
    """Who may look and review, and nothing else."""
    home: Path = field(default_factory=Path.home)
    is_ending: Callable[[], bool] = lambda: False
    """Whether the server is told to stop, so that streams end."""
    jobs: JobQueue = field(init=False)
    recent: RecentProjects = field(init=False)
    projects: ProjectReader = field(default_factory=ProjectReader)

    def __post_init__(self) -> None:
        self.jobs = JobQueue(self.root / "jobs")
        # What somebody opened alone is not shown to reviewers
        self.recent = RecentProjects(self.root / "team" if self.reviewers else self.root)

    def project(self, id: str) -> Project:
        """A project as it is now. Raises ProblemError where it was not opened, or is gone."""
        try:
            return self.projects.read(self.recent.find(id))
        except LimnerError as error:
            raise ProblemError(404, str(error)) from None

    def describe(self, project: Project) -> dict[str, object]:
        """What the page shows of a project."""
        jobs = self.jobs.of(project.folder)
        best = project.best
        return {
            "id": project.id,
            "name": project.folder.name,
            "folder": str(project.folder),
            "work": str(project.work),
            "data": project.data.name,
            "images": len(project.data.images),
            "pairs": len(project.data.samples),
            "check": None if project.check is None else dict(project.check.counts),
            "coloured": project.check is not None and project.check.labels is not None,
            "drawn": project.drawn,
            "best": None if best is None else best.name,
            "runs": project.runs,
            "predictions": project.predictions,
            "new_images": project.new_images,
            "steps": describe_steps(project, jobs),
            "jobs": [describe_job(job) for job in jobs[:10]],
            "busy": self.busy_with(project),
        }

    def busy_with(self, project: Project) -> str | None:
        """What runs on this machine for another project; None where nothing does."""
        others = [job for job in self.jobs.all() if job.is_active]
        running = next((job for job in reversed(others) if job.state == "running"), None)
        if running is None or running.project == str(project.folder):
            return None
        return f"limner {running.kind}"


def describe_job(job: Job) -> dict[str, object]:
    """What the page shows of a job."""
    return {
        "id": job.id,
        "kind": job.kind,
        "command": job.command,
        "at": job.at,
        "state": job.state,
        "status": job.status,
    }


def open_run(project: Project, name: str) -> RunRecord:
    """A run of a project by its name. Raises ProblemError where there is none."""
    try:
        return RunRecord(project.work / RUNS / project.run(name).name)
    except LimnerError as error:
        raise ProblemError(404, str(error)) from None


def describe_run(project: Project, name: str) -> RunProgress:
    """How far a run is. Raises ProblemError where there is none."""
    try:
        return read_progress(open_run(project, name))
    except (LimnerError, OSError, ValueError, KeyError) as error:
        raise ProblemError(404, f"the run {name} cannot be read: {error}.") from None


# Coroutines, since FastAPI would run plain functions in threads
async def _context(request: Request) -> StudioContext:
    return request.app.state.studio


async def require_owner(request: Request) -> None:
    """Raise ProblemError for callers who may only look and review."""
    if request.state.caller in request.app.state.studio.reviewers:
        raise ProblemError(
            403, f"{request.state.caller} may look and review here. Others start and stop jobs."
        )


Context = Annotated[StudioContext, Depends(_context)]
Owner = Depends(require_owner)
Id = Annotated[str, PathParameter(pattern="^[0-9a-f]{16}$")]


def _read_project(context: Context, id: Id) -> Project:
    return context.project(id)


OpenedProject = Annotated[Project, Depends(_read_project)]
