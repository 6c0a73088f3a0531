"""Recipes as TOML files: read with `--set` overrides, written with a reason beside each value."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomlkit

from limner.errors import LimnerError
from limner.recipe import Recipe, parse_recipe
from limner.recipe_migration import in_current_keys


def load_recipe(path: Path | None, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply overrides to it.

    Args:
        path: a TOML file; None starts from an empty recipe.
        overrides: texts of the form section.key=value. They win over the file.

    Raises LimnerError for a file that cannot be read, and for all unknown keys and values out of
    range at once.
    """
    sections = in_current_keys({} if path is None else _read_toml(path))
    for name, values in in_current_keys(_parse_overrides(overrides)).items():
        # A section that is not a table stays, and is reported with the other problems
        if isinstance(sections.setdefault(name, {}), dict):
            sections[name].update(values)
    return parse_recipe(sections)


def dump_recipe(recipe: Recipe, reasons: Mapping[str, str]) -> str:
    """Write a recipe as TOML.

    Args:
        recipe: every key of it that has a value is written.
        reasons: a comment for some of the keys, such as {"train.epochs": "set by you"}.
    """
    document = tomlkit.document()
    for section, values in recipe.model_dump(exclude_none=True).items():
        table = tomlkit.table()
        for name, value in values.items():
            item = tomlkit.item(value)
            if reason := reasons.get(f"{section}.{name}"):
                item.comment(reason)
                item.trivia.comment_ws = "  "
            table.append(name, item)
        document.append(section, table)
    return tomlkit.dumps(document)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LimnerError(
            f"the recipe {path} cannot be read: {error}. Give a TOML file such as the "
            "recipe.toml of a run."
        ) from error


def _parse_overrides(overrides: Sequence[str]) -> dict[str, dict[str, Any]]:
    """A table of sections; the last override of a key wins."""
    sections: dict[str, dict[str, Any]] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        section, dot, name = key.strip().partition(".")
        if not (equals and dot and name):
            raise LimnerError(
                f"--set {override} is not a setting. Write section.key=value, for example --set "
                "train.epochs=40."
            )
        sections.setdefault(section, {})[name] = _parse_value(text.strip())
    return sections


def _parse_value(text: str) -> Any:
    """A TOML value; what is none, such as a word without quotes, is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
