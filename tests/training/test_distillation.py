import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_run import TINY

from command_line import limner
from limner.data.preprocess import Preprocessing
from limner.errors import LimnerError
from limner.labels import VOID, Labels
from limner.losses import LOSSES
from limner.model.bundle import Bundle
from limner.model.unet import UNet
from limner.recipe import TrainSettings
from limner.training.cross_validation import cross_validate
from limner.training.distillation import (
    TEACHER_WEIGHT,
    Teacher,
    distillation_loss,
    require_teacher,
)
from limner.training.distributed import SINGLE_PROCESS
from limner.training.pipeline import resume_run, train
from limner.training.run import Run
from limner.training.state import initial_state
from limner.training.step import TrainStep

RECIPE = TINY.replace({"train.epochs": 2})


@pytest.fixture
def teacher(folds: Path) -> Path:
    """The ensemble of a cross-validation of two folds."""
    return folds / "model.safetensors"


@pytest.mark.parametrize("classes", [1, 3])
def test_the_loss_is_least_where_the_student_agrees_and_void_does_not_count(classes: int) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, classes, 6, 5)
    masks = torch.zeros(2, 6, 5, dtype=torch.uint8)
    agreed, other = (
        distillation_loss(student, logits, masks) for student in (logits, logits + torch.randn(()))
    )
    assert agreed <= other + 1e-6
    student = logits.clone().requires_grad_()
    distillation_loss(student, logits, masks).backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None and student.grad.abs().max() < 1e-7
    masks[:, 3:] = VOID
    spoilt = logits.clone()
    spoilt[:, :, 3:] += 9
    torch.testing.assert_close(
        distillation_loss(spoilt, logits, masks),
        distillation_loss(logits[:, :, :3], logits[:, :, :3], masks[:, :3]),
    )


def test_the_teacher_takes_images_as_the_student_gets_them(teacher: Path) -> None:
    bundle = Bundle.load(teacher)
    own = bundle.preprocessing
    torch.manual_seed(0)
    images = torch.rand(2, 3, 16, 16)
    student = Preprocessing(own.size_px, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))

    def standardised(preprocessing: Preprocessing) -> torch.Tensor:
        mean, std = (
            torch.tensor(values).view(1, 3, 1, 1)
            for values in (preprocessing.mean, preprocessing.std)
        )
        return (images - mean) / std

    expected = bundle.network()(standardised(own))
    torch.testing.assert_close(Teacher(bundle, student)(standardised(student)), expected)
    torch.testing.assert_close(Teacher(bundle)(standardised(own)), expected)


def test_a_step_learns_from_masks_and_teacher(teacher: Path) -> None:
    torch.manual_seed(0)
    settings = TrainSettings()
    network = UNet(classes=1, widths=(2, 4))
    images, masks = torch.randn(4, 3, 16, 16), torch.randint(0, 2, (4, 16, 16), dtype=torch.uint8)
    model = Teacher(Bundle.load(teacher))
    loss_function = LOSSES["dice+cross-entropy"]
    with torch.no_grad():
        logits = network.train()(images)
        of_masks, of_teacher = (
            loss_function(logits, masks),
            distillation_loss(logits, model(images), masks),
        )
    stepper = TrainStep(
        initial_state(network, settings), loss_function, settings, SINGLE_PROCESS, teacher=model
    )
    loss, _ = stepper.step(images, masks, 1e-3)
    mixed = (1 - TEACHER_WEIGHT) * of_masks + TEACHER_WEIGHT * of_teacher
    torch.testing.assert_close(loss, mixed, atol=1e-5, rtol=1e-4)


def test_a_student_is_one_network_of_its_teacher_s_kind_and_is_resumed(
    teacher: Path, lesions: Path, tmp_path: Path
) -> None:
    done = limner(
        *("train", lesions, "--teacher", teacher.parent, "--out", tmp_path / "student"),
        *("--set=train.epochs=1", "--set=train.compile=false", "--set=train.trackers=[]"),
    )
    assert done.returncode == 0, done.stderr
    assert "as its teacher" in done.stdout
    run = Run.open(tmp_path / "student")
    bundle = Bundle.load(run.model)
    assert bundle.members == 0
    assert bundle.recipe.model.widths == (2, 4, 8) and bundle.recipe.data.size_px == (16, 16)
    assert (bundle.recipe.data.folds, bundle.recipe.train.teacher) == (0, str(teacher))
    known = Bundle.load(teacher)
    assert set(bundle.split["test"]) == set(known.split["test"])
    assert known.split_record.seen_contents() <= bundle.split_record.seen_contents()
    assert list(resume_run(run))


def test_a_teacher_that_knows_the_test_images_or_other_classes_is_refused(
    teacher: Path, lesions: Path, tmp_path: Path
) -> None:
    data = tmp_path / "set"
    shutil.copytree(lesions, data)
    for kind in ("1-2_{}_Input", "1_{}_GroundTruth"):
        validation, test = (
            data / f"ISIC2018_Task{kind.format(side)}" for side in ("Validation", "Test")
        )
        for file in validation.iterdir():
            file.rename(test / file.name)
    taught = RECIPE.replace({"train.teacher": str(teacher)})
    with pytest.raises(LimnerError, match=r"was trained on 4 images of the 8 that are held"):
        train(data, taught, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    bundle = Bundle.load(teacher)
    labels = Labels.from_values(("background", "mole"), (0, 255))
    with pytest.raises(LimnerError, match="the teacher has the classes background, "):
        require_teacher(bundle, RECIPE, labels, set())
    grey = replace(bundle, preprocessing=replace(bundle.preprocessing, mean=(0.5,), std=(0.2,)))
    with pytest.raises(LimnerError, match=r"images of 1 channels, and data\.channels is 3"):
        require_teacher(grey, RECIPE, bundle.labels, set())


def test_a_teacher_that_is_gone_is_named(lesions: Path, tmp_path: Path) -> None:
    done = limner("train", lesions, "--teacher", tmp_path / "gone.safetensors")
    assert done.returncode == 1 and "gone.safetensors is not a file" in done.stderr


def test_folds_have_no_teacher(teacher: Path, lesions: Path, tmp_path: Path) -> None:
    with pytest.raises(LimnerError, match="a teacher knows images that the folds are scored on"):
        cross_validate(lesions, 2, RECIPE.replace({"train.teacher": str(teacher)}), tmp_path / "cv")
