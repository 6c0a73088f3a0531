"""The commands of a project's steps, as the page shows them and as its jobs run them."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from limner.errors import LimnerError
from limner.studio.projects import RUNS, Project, RunState

Arguments = tuple[str, ...]
MINUTES = 15.0
"""The time of a training, where nobody says another."""


@dataclass(frozen=True, slots=True)
class TrainChoices:
    """What people choose of a training; the plan chooses the rest."""

    minutes: float | None = MINUTES
    """None lets the plan choose the number of epochs, or `epochs` say it."""
    epochs: int | None = None
    size_px: int | None = None
    """The side of a canvas."""
    encoder: str = ""
    """A pretrained encoder by its name, or "none"; empty takes the default."""
    origin: str = ""
    """The name of a run whose model is trained on."""


def check(project: Project) -> Arguments:
    return ("check", project.data.name)


def train(project: Project, choices: TrainChoices, out: str) -> Arguments:
    """A training of the newest revision; `out` is the folder of the new run."""
    arguments = ["train", project.data.name]
    if choices.minutes is not None:
        arguments += ["--minutes", f"{choices.minutes:g}"]
    if choices.epochs is not None:
        arguments += ["--epochs", str(choices.epochs)]
    if choices.size_px is not None:
        arguments += ["--size", str(choices.size_px)]
    if choices.encoder:
        arguments += ["--encoder", choices.encoder]
    if choices.origin:
        arguments += ["--from", run_path(project.run(choices.origin))]
    return (*arguments, "--out", out)


def train_next(
    project: Project, revision: str, out: str, minutes: float | None = MINUTES
) -> Arguments:
    """A training of a revision that is made before, from the newest model, if there is one."""
    origin = ["--from", run_path(project.best)] if project.best else []
    time = [] if minutes is None else ["--minutes", f"{minutes:g}"]
    return ("train", revision, *origin, *time, "--out", out)


def resume(run: RunState) -> Arguments:
    return ("train", "--resume", run_path(run))


def test(run: RunState) -> Arguments:
    return ("test", run_path(run), run.data)


def predict(project: Project, run: RunState, images: str) -> Arguments:
    """Masks of the images in a folder, whose path is absolute or relative to the work folder."""
    name = Path(images).name or "images"
    return ("predict", run_path(run), images, "-o", _free_name(project, f"{name}-masks"))


def measure(name: str) -> Arguments:
    return ("measure", name, "-o", f"{name}-measures")


def review(name: str) -> Arguments:
    return ("review", name)


def merge(project: Project, name: str, out: str) -> Arguments:
    """The reviewed masks of a folder as the next revision.

    Raises LimnerError where there are none.
    """
    if name == project.folder.name:
        if not project.drawn or not project.drawn.kept:
            raise LimnerError("no mask was drawn and accepted yet.")
        if not project.revisions:
            return ("merge", name, "-o", out)
        # It has the masks that were drawn before, which may have been changed since
        return ("merge", name, project.data.name, "-o", out, "--replace")
    review = project.prediction(name).review
    if not review or not review.kept:
        raise LimnerError(f"no mask in {name} was accepted or corrected yet.")
    return ("merge", name, project.data.name, "-o", out)


def sample(name: str) -> Arguments:
    return ("sample", name)


def sample_images(name: str) -> Arguments:
    """A few images without masks, to try a model on."""
    return ("sample", name, "--count", "12", "--seed", "1", "--images-only")


def run_path(run: RunState) -> str:
    """A run's folder, relative to the work folder."""
    return f"{RUNS}/{run.name}"


def new_run(project: Project, taken: Collection[str] = ()) -> str:
    """The folder of a new run, relative to the work folder; not one that a job has chosen."""
    for number in count(1):
        name = f"{RUNS}/{project.folder.name}{'' if number == 1 else f'-{number}'}"
        if name not in taken and not (project.work / name).exists():
            return name
    raise AssertionError


def _free_name(project: Project, name: str) -> str:
    """A folder that does not exist yet, by a name and a number where that is taken."""
    for number in count(1):
        numbered = name if number == 1 else f"{name}-{number}"
        if not (project.work / numbered).exists():
            return numbered
    raise AssertionError
