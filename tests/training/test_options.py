"""What people choose of a training by name."""

import json
import re
from pathlib import Path

import pytest
from tiny_run import TINY

from command_line import TINY_TRAINING, limner
from limner import Predictor, evaluate, train
from limner.errors import LimnerError
from limner.recipe import Recipe
from limner.training.options import RECIPE_KEYS, TrainOptions, with_options
from limner.training.run_record import read_events, validations


def test_every_option_sets_a_key_of_the_recipe() -> None:
    assert TrainOptions.__annotations__.keys() == RECIPE_KEYS.keys()
    recipe = with_options(
        Recipe(), {"minutes": 3.0, "epochs": 4, "size": (64, 96), "encoder": "none", "seed": None}
    )
    assert recipe.explicit_keys() == {
        *("train.minutes", "train.epochs", "data.size_px", "model.encoder")
    }
    assert recipe.data.size_px == (64, 96) and recipe.model.encoder == ""
    assert with_options(Recipe(), {"size": 64}).data.size_px == (64, 64)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(LimnerError, match="lr is no option of a training"):
        with_options(Recipe(), {"lr": 0.1})


def test_python_and_the_command_line_train_alike(
    lesions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(lesions, TINY, tmp_path / "python", progress=True, epochs=1, size=32)
    assert "validation Dice" in capsys.readouterr().out
    settings = [part for setting in TINY_TRAINING for part in ("--set", setting)]
    done = limner(
        *("train", lesions, *settings, "--epochs", "1", "--size", "32", "--name", "shell"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "32x32 px" in done.stdout and "runs/shell/recipe.toml" in done.stdout
    assert (tmp_path / "runs" / "shell" / "model.safetensors").is_file()
    assert run.recipe.train.epochs == 1 and run.recipe.data.size_px == (32, 32)
    by_folder = evaluate(Predictor.load(run.model), lesions)
    by_samples = evaluate(Predictor.load(run.model), run.test_samples())
    assert by_folder.summary()["dice"] == by_samples.summary()["dice"]
    everything = evaluate(Predictor.load(run.model), str(lesions), "all")
    assert len(everything.ids) == 24
    with pytest.raises(LimnerError, match="samples have no split 'val'"):
        evaluate(Predictor.load(run.model), run.test_samples(), "val")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--size", "big"), "--size big is no size. Write a number of px"),
        (("--name", "a/b"), "--name a/b is the name of a run in runs/"),
        (("--name", "a", "--out", "b"), "Give one of them"),
    ],
)
def test_options_that_say_nothing_are_refused(
    arguments: tuple[str, ...], says: str, lesions: Path, tmp_path: Path
) -> None:
    done = limner("train", lesions, *arguments, cwd=tmp_path)
    assert done.returncode == 1 and says in done.stderr


def test_a_time_too_short_to_learn_in_is_said(lesions: Path, tmp_path: Path) -> None:
    settings = [part for setting in TINY_TRAINING for part in ("--set", setting)]
    done = limner("train", lesions, *settings, "--minutes", "0.05", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = int(re.findall(r"([\d,]+) images were shown", done.stdout)[0].replace(",", ""))
    dice = json.loads((tmp_path / "runs" / "set" / "state.json").read_text())["best_mean_dice"]
    is_too_few = shown < 500 and dice < 0.8
    assert ("give it at least" in " ".join(done.stdout.split())) == is_too_few


def test_sizes_are_width_and_height(lesions: Path, tmp_path: Path) -> None:
    settings = [part for setting in TINY_TRAINING for part in ("--set", setting)]
    done = limner("train", lesions, *settings, "--size", "48x32", cwd=tmp_path)
    assert "48x32 px" in done.stdout, done.stderr


def test_a_training_stops_at_its_target(lesions: Path, tmp_path: Path) -> None:
    run = train(
        lesions, TINY.replace({"train.target_dice": 0.001, "train.epochs": 40}), tmp_path / "r"
    )
    stopped = read_events(run.folder)[-1]
    assert stopped["reason"] == "a validation Dice of 0.001 is reached" and stopped["finished"]
    assert len(validations(run.folder)) < 40
