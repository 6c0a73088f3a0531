from pathlib import Path

import pytest

from limner.errors import LimnerError
from limner.recipe import Recipe, parse_recipe, recipe_keys

DOCUMENTATION = Path(__file__).parent.parent / "docs" / "recipe.md"


def as_documented(value: object) -> str:
    """A default value as the table of the documentation spells it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return str(list(value))
    return "—" if value in (None, "") else str(value)


def test_every_key_its_default_and_its_description_are_documented() -> None:
    text, recipe = DOCUMENTATION.read_text(encoding="utf-8"), Recipe()
    for key, description in recipe_keys().items():
        section, name = key.split(".")
        default = as_documented(getattr(getattr(recipe, section), name))
        assert description[0].isupper() and description.endswith("."), key
        assert f"| `{key}` | {default} | {description} |" in text, key


def test_only_keys_that_exist_are_documented() -> None:
    rows = DOCUMENTATION.read_text(encoding="utf-8").split("|---|---|---|\n")[1].splitlines()
    assert [row.split("`")[1] for row in rows] == list(recipe_keys())


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(LimnerError) as caught:
        parse_recipe({"train": {"epoch": 40, "batch_size": 0}, "model": {"skip": "none"}})
    message = str(caught.value)
    assert "3 problems" in message
    assert "Did you mean train.epochs?" in message
    assert "train.batch_size = 0" in message
    assert "model.skip = 'none'" in message


def test_a_key_like_no_other_points_to_the_documentation() -> None:
    with pytest.raises(LimnerError, match=r"a problem:\n  zzz is not a key .* docs/recipe\.md"):
        parse_recipe({"zzz": 1})


def test_keys_that_were_set_are_explicit_even_at_their_default() -> None:
    recipe = parse_recipe({"train": {"epochs": 50}, "model": {}})
    assert recipe == Recipe() and recipe.explicit_keys() == {"train.epochs"}


def test_a_replaced_value_is_validated() -> None:
    assert Recipe().replace({"train.seed": 3}).train.seed == 3
    with pytest.raises(LimnerError, match="seed"):
        Recipe().replace({"train.seed": -1})
