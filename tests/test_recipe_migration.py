"""Recipe files, overrides and models of earlier versions are read."""

import hashlib
import json
from pathlib import Path

import pytest

from limner.errors import LimnerError
from limner.recipe import Recipe, parse_recipe, recipe_keys
from limner.recipe_file import load_recipe
from limner.recipe_migration import LATER_KEYS, OLD_KEYS, OLD_VALUES, in_current_keys, in_old_keys

OLD_DEFAULTS_SHA256 = "b4ce13e1d3c39ab3ee2fd39e0327252a6c20c2a77c1b8944bd57b483a7199ab8"
"""What the last version with the old keys wrote into a receipt for the default recipe."""
OTHER_VALUES = {
    "data.resize_mode": "tile",
    "model.upsampling": "nearest",
    "train.lr_schedule": "polynomial",
}
"""Values other than the default, of the keys that hold no number."""


def test_old_keys_are_gone_and_their_new_names_are_keys() -> None:
    assert not OLD_KEYS.keys() & recipe_keys().keys()
    assert set(OLD_KEYS.values()) <= recipe_keys().keys()
    assert {key for key, _ in OLD_VALUES} <= recipe_keys().keys()


@pytest.mark.parametrize(("old_key", "key"), OLD_KEYS.items())
def test_an_old_key_is_read_from_a_file_and_from_an_override(
    old_key: str, key: str, tmp_path: Path
) -> None:
    value = OTHER_VALUES.get(key, 0.75)
    section, old_name = old_key.split(".")
    (tmp_path / "r.toml").write_text(f"[{section}]\n{old_name} = {json.dumps(value)}\n")
    expected = Recipe().replace({key: value})
    assert load_recipe(tmp_path / "r.toml") == expected
    assert load_recipe(None, [f"{old_key}={value}"]) == expected
    assert expected.explicit_keys() == {key}


def test_an_old_value_is_read() -> None:
    assert load_recipe(None, ["model.block=plain"]).model.block == "conv"


@pytest.mark.parametrize(("old_key", "key"), OLD_KEYS.items())
def test_both_spellings_of_a_key_are_an_error(old_key: str, key: str, tmp_path: Path) -> None:
    (section, old_name), (_, name) = old_key.split("."), key.split(".")
    value = json.dumps(OTHER_VALUES.get(key, 0.75))
    (tmp_path / "r.toml").write_text(f"[{section}]\n{old_name} = {value}\n{name} = {value}\n")
    with pytest.raises(LimnerError, match=f"{old_key} and {key}, .* Keep {key}"):
        load_recipe(tmp_path / "r.toml")
    with pytest.raises(LimnerError, match=f"Keep {key}"):
        load_recipe(None, [f"{old_key}={value}", f"{key}={value}"])


def test_a_table_survives_the_way_to_the_old_keys_and_back() -> None:
    table = parse_recipe({"model": {"block": "residual"}, "train": {"warmup": 0.2}}).model_dump()
    old = in_old_keys(table)
    assert old["train"]["warm_up"] == 0.2 and "warmup" not in old["train"]
    assert in_old_keys(Recipe().model_dump())["model"]["block"] == "plain"
    for key in LATER_KEYS:
        section, name = key.split(".")
        del table[section][name]
    assert in_current_keys(old) == table


def test_the_hash_in_an_old_receipt_is_that_of_the_old_keys() -> None:
    text = json.dumps(in_old_keys(Recipe().model_dump()), sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == OLD_DEFAULTS_SHA256


def test_whatever_is_not_known_is_left_for_the_validation() -> None:
    table = {"train": 3, "other": {"geometry": "tile"}}
    assert in_current_keys(table) == table
