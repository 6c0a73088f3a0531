import re
import tomllib
from pathlib import Path

import pytest

from limner.errors import LimnerError
from limner.recipe import Recipe, parse_recipe
from limner.recipe_file import dump_recipe, load_recipe


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("[train]\nepochs = 3\nseed = 7\n")
    recipe = load_recipe(tmp_path / "r.toml", ["train.epochs=40", "model.skip=add"])
    assert (recipe.train.epochs, recipe.train.seed, recipe.model.skip) == (40, 7, "add")
    assert recipe.explicit_keys() == {"train.epochs", "train.seed", "model.skip"}


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(LimnerError) as caught:
        load_recipe(None, ["train.epoch=40", "train.batch_size=0", "model.skip=none"])
    message = str(caught.value)
    assert "3 problems" in message
    assert "Did you mean train.epochs?" in message
    assert "train.batch_size = 0" in message
    assert "model.skip = 'none'" in message


@pytest.mark.parametrize("override", ["epochs=3", "train.epochs", "=3"])
def test_an_override_without_a_key_says_how_one_looks(override: str) -> None:
    with pytest.raises(LimnerError, match=r"section\.key=value"):
        load_recipe(None, [override])


def test_a_section_that_is_no_table_is_a_problem_of_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("train = 3\n")
    for overrides in ([], ["train.epochs=4"]):
        with pytest.raises(LimnerError, match="train = 3"):
            load_recipe(tmp_path / "r.toml", overrides)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(LimnerError, match=re.escape(str(tmp_path / "none.toml"))):
        load_recipe(tmp_path / "none.toml")


def test_a_recipe_survives_its_file() -> None:
    recipe = parse_recipe({"data": {"size_px": [64, 96]}, "train": {"minutes": 3.5}})
    again = parse_recipe(tomllib.loads(dump_recipe(recipe, {"data.size_px": "set by you"})))
    assert again.model_dump() == recipe.model_dump()


def test_any_text_survives_the_file(tmp_path: Path) -> None:
    recipe = load_recipe(None, ['data.group_pattern=^\\d+"(é)'])
    (tmp_path / "r.toml").write_text(dump_recipe(recipe, {}), encoding="utf-8")
    assert load_recipe(tmp_path / "r.toml").data.group_pattern == '^\\d+"(é)'


def test_reasons_stand_beside_their_values() -> None:
    lines = dump_recipe(Recipe(), {"train.epochs": "30 images, shown often"}).splitlines()
    assert lines[:3] == ["[data]", "size_px = [256, 256]", 'resize_mode = "resize"']
    assert "epochs = 50  # 30 images, shown often" in lines
    assert "learning_rate = 0.003" in lines and "compile = false" in lines
    assert lines[lines.index("[model]") - 1] == ""


def test_a_file_in_old_keys_can_be_overridden_in_new_keys(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('[train]\ndecay = "step"\nwarm_up = 0.2\n')
    recipe = load_recipe(tmp_path / "r.toml", ["train.lr_schedule=none"])
    assert (recipe.train.lr_schedule, recipe.train.warmup) == ("none", 0.2)
    recipe = load_recipe(tmp_path / "r.toml", ["train.warm_up=0.1"])
    assert (recipe.train.lr_schedule, recipe.train.warmup) == ("step", 0.1)
