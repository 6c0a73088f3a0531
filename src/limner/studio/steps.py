"""The path of a project, as people see it: eight steps, each with its state and its command."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from limner.plurals import count_noun
from limner.studio import commands
from limner.studio.jobs import Job
from limner.studio.projects import PredictionState, Project

StepState = Literal["open", "next", "running", "failed", "done"]
ENOUGH_MASKS = 20
"""So many masks are worth a first training."""
STEP_OF_KIND = {
    "sample": "images",
    "merge": "masks",
    "check": "check",
    "train": "train",
    "test": "report",
    "predict": "predict",
    "measure": "predict",
    "next": "next",
}
"""The step that a job of a kind belongs to."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the path."""

    name: str
    """Such as "train"."""
    title: str
    state: StepState
    summary: str
    command: str = ""
    """What does the same in a terminal; empty where there is none yet."""


def describe_steps(project: Project, jobs: Sequence[Job]) -> list[Step]:
    """Describe the path of a project.

    The first step that is open is the next one, unless one is at work.

    Args:
        project: As it is now.
        jobs: Those of the project, the newest first.
    """
    at_work = {STEP_OF_KIND[job.kind] for job in jobs if job.is_active}
    newest = {STEP_OF_KIND[job.kind]: job for job in reversed(jobs)}
    failed = {name for name, job in newest.items() if job.state in {"failed", "lost"}}
    steps = []
    has_next = bool(at_work)
    for describe in (_images, _masks, _check, _train, _report, _predict, _review, _next_model):
        step = describe(project)
        if step.name in at_work:
            step = replace(step, state="running")
        elif step.name in failed and step.state != "done":
            step = replace(step, state="failed")
            has_next = True
        elif step.state == "open" and not has_next:
            step = replace(step, state="next")
            has_next = True
        steps.append(step)
    return steps


def _images(project: Project) -> Step:
    images = len(project.data.images)
    if not images:
        return Step("images", "Images", "open", "There is no image yet.")
    return Step(
        "images", "Images", "done", f"{count_noun(images, 'image')} in {project.data.name}."
    )


def _masks(project: Project) -> Step:
    data = project.data
    if data.problem:
        return Step("masks", "Masks", "open", data.problem, _shown(commands.check(project)))
    if data.samples:
        pairs = count_noun(len(data.samples), "image has a mask", "images have masks")
        return Step("masks", "Masks", "done", f"{pairs}, in the layout {data.layout}.")
    command = _shown(commands.review(project.folder.name))
    if project.drawn is None:
        summary = f"There are none. Draw some: about {ENOUGH_MASKS} are enough to begin with."
        return Step("masks", "Masks", "open", summary, command)
    drawn = count_noun(project.drawn.kept, "mask is", "masks are")
    return Step("masks", "Masks", "open", f"{drawn} drawn; {ENOUGH_MASKS} make a start.", command)


def _check(project: Project) -> Step:
    command = _shown(commands.check(project))
    pairs = len(project.data.samples)
    if project.check is None:
        summary = "Finds what is wrong with images and masks before time is lost on it."
        return Step("check", "Check", "open", summary, command)
    if project.check.pairs != pairs:
        summary = f"It saw {count_noun(project.check.pairs, 'pair')}, and now there are {pairs}."
        return Step("check", "Check", "open", summary, command)
    found = project.check.counts
    counts = [count_noun(count, severity) for severity, count in found.items() if count]
    summary = f"{', '.join(counts)}." if counts else "No problem was found."
    return Step("check", "Check", "failed" if found["error"] else "done", summary, command)


def _train(project: Project) -> Step:
    command = _shown(commands.train(project, commands.TrainChoices(), commands.new_run(project)))
    running = next((run for run in project.runs if run.is_training), None)
    if running is not None:
        return Step("train", "Train", "running", f"{running.name} is in training.", command)
    best = project.best
    if best is None:
        return Step(
            "train", "Train", "open", "A U-Net, planned for your images and machine.", command
        )
    dice = "" if best.validation_dice is None else f": validation Dice {best.validation_dice:.3f}"
    return Step("train", "Train", "done", f"{best.name}{dice}.", command)


def _report(project: Project) -> Step:
    best = project.best
    if best is None:
        summary = "Scores on images that were kept out of training."
        return Step("report", "Report", "open", summary)
    command = _shown(commands.test(best))
    if not best.has_report:
        summary = f"How good is {best.name} on images that it has never seen?"
        return Step("report", "Report", "open", summary, command)
    summary = ""
    if best.test_dice is not None:
        summary = f"{best.name}: test Dice {best.test_dice:.3f} (1 is the very same mask)."
    return Step("report", "Report", "done", summary, command)


def _predict(project: Project) -> Step:
    best = project.best
    if best is None:
        return Step("predict", "New images", "open", "The model draws masks in them.")
    command = _shown(commands.predict(project, best, "NEW_IMAGES"))
    if not project.predictions:
        summary = "Drop new images, or choose their folder."
        return Step("predict", "New images", "open", summary, command)
    newest = project.predictions[0]
    none = count_noun(newest.failed, "file has none", "files have none")
    failed = f", {none}" if newest.failed else ""
    summary = f"{count_noun(newest.masks, 'mask')} in {newest.name}{failed}."
    return Step("predict", "New images", "done", summary, command)


def _review(project: Project) -> Step:
    if not project.predictions:
        return Step("review", "Review", "open", "People check and correct what the model drew.")
    newest = next((each for each in project.predictions if each.review), project.predictions[0])
    command = _shown(commands.review(newest.name))
    if newest.review is None:
        return Step("review", "Review", "open", "The least certain masks come first.", command)
    left = newest.masks - newest.review.kept - newest.review.rejected
    state: StepState = "open" if left else "done"
    return Step("review", "Review", state, _spell_review(newest, left), command)


def _next_model(project: Project) -> Step:
    reviewed = to_merge(project)
    if reviewed is None or reviewed.review is None:
        return Step("next", "Next model", "open", "Corrected masks train the next model.")
    out = project.next_revision()
    merge = _shown(commands.merge(project, reviewed.name, out))
    train = _shown(commands.train_next(project, out, commands.new_run(project)))
    command = f"{merge} && {train}"
    summary = f"{count_noun(reviewed.review.kept, 'mask is', 'masks are')} ready for training."
    return Step("next", "Next model", "open", summary, command)


def to_merge(project: Project) -> PredictionState | None:
    """The newest predictions with masks that people kept."""
    return next((one for one in project.predictions if one.review and one.review.kept), None)


def _spell_review(prediction: PredictionState, left: int) -> str:
    review = prediction.review
    assert review is not None
    return (
        f"{prediction.name}: {review.accepted} accepted, {review.corrected} corrected, "
        f"{review.rejected} rejected, {left} left."
    )


def _shown(arguments: commands.Arguments) -> str:
    return shlex.join(["limner", *arguments])
