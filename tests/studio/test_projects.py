"""Projects as the studio reads them, beside what the commands write."""

import shutil
from pathlib import Path

import pytest

from command_line import TINY_TRAINING, run_limner
from limner.data.synthetic import write_images
from limner.errors import LimnerError
from limner.review.blank import state_classes
from limner.studio import commands
from limner.studio.dataset_state import folder_signature
from limner.studio.jobs import Job
from limner.studio.projects import Project, ProjectReader, RecentProjects, project_id
from limner.studio.run_progress import read_progress
from limner.studio.steps import describe_steps
from limner.training.run_record import RunRecord
from review_server import LocalReview

SETTINGS = [part for setting in TINY_TRAINING for part in ("--set", setting)]


def states(project: Project, jobs: tuple[Job, ...] = ()) -> str:
    """The first letters of the states of all steps."""
    return "".join(step.state[0] for step in describe_steps(project, jobs))


def job(kind: str, state: str, id: str = "000001") -> Job:
    return Job(id, kind, (), "", "", "", state=state)  # type: ignore[arg-type]


@pytest.fixture
def folder(lesions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(lesions, tmp_path / "lesions"))


def test_the_path_of_a_project_follows_what_commands_write(folder: Path) -> None:
    reader = ProjectReader()
    project = reader.read(folder)
    assert states(project) == "ddnooooo" and len(project.data.images) == 24
    run_limner("check", "lesions")
    assert states(reader.read(folder)) == "dddnoooo"
    run_limner("train", "lesions", *SETTINGS)
    project = reader.read(folder)
    assert states(project) == "ddddnooo" and project.best is not None
    assert project.best.name == "lesions" and project.best.data == "lesions"
    run_limner("test", "runs/lesions", "lesions")
    assert states(reader.read(folder)) == "dddddnoo"
    write_images(folder.parent / "new-ones", count=4, size_px=32, seed=5)
    project = reader.read(folder)
    assert project.best is not None and project.new_images == ("new-ones",)
    run_limner(*commands.predict(project, project.best, "new-ones"))
    project = reader.read(folder)
    assert states(project) == "ddddddno"
    assert [(each.name, each.masks, each.run) for each in project.predictions] == [
        ("new-ones-masks", 4, "lesions")
    ]
    review = LocalReview(folder.parent / "new-ones-masks")
    first, second = review.predictions.entries[:2]
    review.decide(first.id, mended=True)
    review.decide(second.id, rejected=True)
    project = reader.read(folder)
    assert states(project) == "ddddddno"
    steps = {step.name: step for step in describe_steps(project, ())}
    assert steps["review"].summary == "new-ones-masks: 0 accepted, 1 corrected, 1 rejected, 2 left."
    assert steps["next"].command == (
        "limner merge new-ones-masks lesions -o lesions-2 && "
        "limner train lesions-2 --from runs/lesions --minutes 15 --out runs/lesions-2"
    )
    run_limner(*commands.merge(project, "new-ones-masks", "lesions-2"))
    project = reader.read(folder)
    assert project.data.name == "lesions-2" and len(project.data.samples) == 25
    assert project.next_revision() == "lesions-3" and project.best is not None


def test_images_without_masks_are_drawn_in_first(folder: Path) -> None:
    images = folder / "ISIC2018_Task1-2_Training_Input"
    reader, photos = ProjectReader(), Path(images.rename(folder.parent / "photos"))
    assert states(reader.read(photos)) == "dnoooooo"
    state_classes(photos, ["lesion"])
    review = LocalReview(photos)
    for entry in review.predictions.entries[:5]:
        review.decide(entry.id, mended=True)
    project = reader.read(photos)
    assert project.drawn is not None and project.drawn.kept == 5
    assert commands.merge(project, "photos", "photos-2") == ("merge", "photos", "-o", "photos-2")
    run_limner(*commands.merge(project, "photos", "photos-2"))
    assert states(reader.read(photos)) == "ddnooooo"
    review.decide(review.predictions.entries[5].id, mended=True)
    project = reader.read(photos)
    run_limner(*commands.merge(project, "photos", "photos-3"))
    assert len(reader.read(photos).data.samples) == 6


def test_a_step_is_at_work_or_failed_as_its_job_is(folder: Path) -> None:
    project = ProjectReader().read(folder)
    assert states(project, (job("check", "running"),)) == "ddrooooo"
    assert states(project, (job("check", "failed"),)) == "ddfooooo"
    # What was mended since counts
    assert states(project, (job("check", "waiting", "2"), job("check", "lost"))) == "ddrooooo"


def test_a_check_of_other_images_is_to_be_made_again(folder: Path) -> None:
    run_limner("check", "lesions")
    next(folder.glob("*Training_GroundTruth/*.png")).unlink()
    step = describe_steps(ProjectReader().read(folder), ())[2]
    assert (step.state, step.summary) == ("next", "It saw 24 pairs, and now there are 23.")


def test_masks_that_cannot_be_paired_are_said_to_be_so(folder: Path) -> None:
    (folder / "labels.toml").write_text("nonsense")
    step = describe_steps(ProjectReader().read(folder), ())[1]
    assert step.state == "next" and "labels.toml" in step.summary


def test_a_folder_is_read_again_only_when_files_come_or_go(folder: Path) -> None:
    reader = ProjectReader()
    (folder / "review").mkdir()
    before, signature = reader.read(folder).data, folder_signature(folder)
    (folder / "review" / "review.sqlite").touch()
    assert reader.read(folder).data is before
    inner = folder / "ISIC2018_Task1-2_Test_Input"
    shutil.copy(next(inner.iterdir()), inner / "ISIC_0009999.jpg")
    assert folder_signature(folder) != signature


def test_runs_of_other_folders_are_not_the_projects(folder: Path) -> None:
    shutil.copytree(folder, folder.parent / "others")
    run_limner("train", "others", *SETTINGS)
    assert ProjectReader().read(folder).runs == ()


def test_new_runs_have_names_that_nobody_has(folder: Path) -> None:
    project = ProjectReader().read(folder)
    assert commands.new_run(project, {"runs/lesions"}) == "runs/lesions-2"
    choices = commands.TrainChoices(2.0, None, 256, "none")
    assert commands.train(project, choices, "runs/x") == (
        *("train", "lesions", "--minutes", "2", "--size", "256"),
        *("--encoder", "none", "--out", "runs/x"),
    )


def test_how_far_a_training_is(folder: Path) -> None:
    run_limner("train", "lesions", *SETTINGS, "--minutes", "0.1")
    run = RunRecord(folder.parent / "runs" / "lesions")
    progress = read_progress(run, lambda: float(run.receipt["began"]) + 2)
    assert progress.seconds_left == pytest.approx(4) and progress.pictures > 0
    assert [each["epoch"] for each in progress.validations][:2] == [1, 2]
    rows = {row.name: row for row in progress.plan}
    assert rows["size"].value == "16x16 px" and rows["size"].reason.startswith("set by you")


def test_folders_that_were_opened_are_remembered(tmp_path: Path) -> None:
    recent = RecentProjects(tmp_path / "root")
    for name in ("one", "two", "one"):
        (tmp_path / name).mkdir(exist_ok=True)
        recent.add(tmp_path / name)
    assert [path.name for path in recent.all()] == ["one", "two"]
    (tmp_path / "one").rmdir()
    assert recent.find(project_id(tmp_path / "two")) == tmp_path / "two"
    with pytest.raises(LimnerError, match="was not opened here, or its folder is gone"):
        recent.find(project_id(tmp_path / "one"))
