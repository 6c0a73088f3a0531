import csv
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from tiny_run import TINY

from command_line import limner
from limner.data.fingerprints import unpack_fingerprints
from limner.data.scan import scan
from limner.errors import LimnerError
from limner.inference.evaluate import evaluate
from limner.inference.predictor import Predictor
from limner.inference.tune import fit_confidence_out_of_fold
from limner.model.bundle import Bundle
from limner.training.cross_validation import FOLDS_SHARE, CrossValidation, cross_validate
from limner.training.pipeline import TrainingSession
from limner.training.run import Run
from shared_folder import shared_folder

RECIPE = TINY.replace({"train.epochs": 2})
SETTINGS = [f"--set={key}" for key in ("train.epochs=1", "data.size_px=[16,16]")]
SETTINGS += ["--set=model.widths=[2,4]", "--set=train.compile=false"]


@pytest.fixture(scope="module")
def folder(lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished cross-validation of three folds."""

    def make(folder: Path) -> None:
        cross_validate(lesions, 3, RECIPE, folder / "cv")

    return shared_folder(tmp_path_factory, "three-folds", make) / "cv"


def test_every_image_is_scored_by_the_model_that_never_saw_it(folder: Path) -> None:
    runs = [Run.open(folder / f"fold-{number}") for number in (1, 2, 3)]
    validated = [id for run in runs for id in run.split["val"]]
    assert len(validated) == len(set(validated))
    assert {id for run in runs for id in run.split["train"]} == set(validated)
    with (folder / "out-of-fold.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["image"]: row["fold"] for row in rows} == {
        id: run.folder.name for run in runs for id in run.split["val"]
    }
    record = json.loads((folder / "cross-validation.json").read_text())["out_of_fold"]
    assert record["images"] == len(rows)
    assert record["mean_dice"] == pytest.approx(np.mean([float(row["dice"]) for row in rows]))
    low, high = record["interval"]
    assert low <= record["mean_dice"] <= high
    assert [fold["run"] for fold in record["folds"]] == ["fold-1", "fold-2", "fold-3"]


def test_later_folds_are_trained_as_the_first_was_planned(folder: Path) -> None:
    recipes = [Run.open(folder / f"fold-{number}").recipe for number in (1, 2, 3)]
    assert [recipe.data.fold for recipe in recipes] == [0, 1, 2]
    assert recipes[0].replace({"data.fold": 2}) == recipes[2]


def test_the_models_are_one_that_is_tested_and_predicts(folder: Path, lesions: Path) -> None:
    ensemble = Bundle.load(folder / "model.safetensors")
    assert ensemble.members == 3 and ensemble.confidence
    assert set(ensemble.split["train"]) == {
        id for number in (1, 2, 3) for id in Run.open(folder / f"fold-{number}").split["val"]
    }
    for number in (1, 2, 3):
        run = Run.open(folder / f"fold-{number}")
        known = unpack_fingerprints(ensemble.fingerprints["train"])
        rows = [ensemble.split["train"].index(id) for id in run.split["val"]]
        assert np.array_equal(known[rows], unpack_fingerprints(run.fingerprints["val"]))
    sample = scan(lesions).samples[0]
    assert Predictor.from_models(ensemble).predict(sample.image).mask.shape == sample.size_px()
    tested = limner("test", folder, lesions)
    assert tested.returncode == 0, tested.stderr
    assert f"{len(ensemble.split['test'])} images of test" in tested.stdout


def test_the_confidence_model_is_fitted_on_every_image_that_was_scored(
    folder: Path, lesions: Path
) -> None:
    """The time for tuning may be too short for most of them."""
    members = [Bundle.load(folder / f"fold-{number}" / "model.safetensors") for number in (1, 2, 3)]
    scores = evaluate(Predictor.from_models(members[0]), scan(lesions).samples)
    canvases = np.stack([sample.read_image() for sample in scan(lesions).samples])
    confidence = fit_confidence_out_of_fold(members, scores, canvases)
    assert confidence is not None and confidence.quality is not None
    # A ridge regression predicts the mean for the mean image
    assert confidence.quality.intercept == pytest.approx(scores.summary()["dice"].mean)
    temperatures = [member.confidence["calibration"]["temperature"] for member in members]
    assert confidence.calibration.temperature == pytest.approx(np.mean(temperatures))
    written = Bundle.load(folder / "model.safetensors").confidence
    assert written["calibration"] == asdict(confidence.calibration)
    # A fold whose validation images were too few for a confidence model
    members[1] = replace(members[1], confidence={})
    assert fit_confidence_out_of_fold(members, scores, canvases) is None


def test_the_ensemble_draws_the_same_masks_once_exported(
    folder: Path, lesions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model.onnx"
    exported = limner("export", folder / "model.safetensors", "--out", out)
    assert exported.returncode == 0, exported.stderr
    image = scan(lesions).samples[0].image
    masks = [
        Predictor.load(path).predict(image).mask for path in (folder / "model.safetensors", out)
    ]
    assert np.array_equal(*masks)


def test_a_cross_validation_that_was_stopped_goes_on(lesions: Path, tmp_path: Path) -> None:
    validation = CrossValidation.create(tmp_path / "cv", lesions, RECIPE, 2)
    steps = validation.start(0, TrainingSession())[1]
    for _ in range(3):
        next(steps)
    steps.close()
    assert validation.unfinished() == [0, 1]
    resumed = limner("train", "--resume", tmp_path / "cv")
    assert resumed.returncode == 0, resumed.stderr
    assert validation.unfinished() == [] and "Mean Dice" in resumed.stdout
    weights = (tmp_path / "cv" / "fold-2" / "model.safetensors").read_bytes()
    assert limner("train", "--resume", tmp_path / "cv").returncode == 0
    assert (tmp_path / "cv" / "fold-2" / "model.safetensors").read_bytes() == weights


def test_the_command_prints_the_score_and_the_next_command(lesions: Path, tmp_path: Path) -> None:
    done = limner("train", lesions, "--folds", 2, *SETTINGS, "--out", tmp_path / "cv")
    assert done.returncode == 0, done.stderr
    assert "Fold 1 of 2" in done.stdout and "Fold 2 of 2, planned as the first" in done.stdout
    assert done.stdout.count("All settings, with the reason for each") == 1
    assert "each predicted by the model that never saw it" in " ".join(done.stdout.split())
    assert f"limner predict {tmp_path / 'cv'} FOLDER" in " ".join(done.stdout.split())


def test_minutes_are_for_all_folds(lesions: Path, tmp_path: Path) -> None:
    recipe = RECIPE.replace({"train.minutes": 10.0})
    validation = CrossValidation.create(tmp_path / "cv", lesions, recipe, 5)
    assert validation.fold_recipe(0).train.minutes == pytest.approx(2.0 * FOLDS_SHARE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--folds", "1"], "1 folds cannot validate each other. Give at least 2."),
        (["--folds", "3", "--seeds", "2"], "--folds trains a model for each fold"),
        (["--folds", "40"], "cannot be dealt out to 40 folds. Take at most"),
    ],
)
def test_folds_that_cannot_be_are_refused(
    lesions: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    process = limner("train", lesions, *arguments, *SETTINGS, "--out", tmp_path / "cv")
    assert process.returncode == 1 and message in " ".join(process.stderr.split())
    assert not (tmp_path / "cv").exists()


def test_a_folder_that_is_there_is_left_alone(lesions: Path, tmp_path: Path) -> None:
    with pytest.raises(LimnerError, match="exists"):
        CrossValidation.create(tmp_path, lesions, RECIPE, 2)
    assert not CrossValidation.is_at(tmp_path)
