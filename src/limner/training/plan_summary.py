"""The five values that people ask of a plan, each with its reason. No network is loaded for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tomlkit
from tomlkit.items import Item

from limner.errors import LimnerError
from limner.recipe import Recipe
from limner.recipe_file import load_recipe


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A value of a plan, and why it was chosen."""

    name: str
    """Such as "size"."""
    value: str
    reason: str
    """Empty for a plain default."""


def summarise_plan(recipe: Recipe, reasons: Mapping[str, str]) -> tuple[PlanRow, ...]:
    """The rows of a plan: size, network, batch, time and device.

    Args:
        recipe: The complete recipe.
        reasons: By key, such as {"train.epochs": "set by you"}.

    Example:
        >>> recipe = Recipe().replace({"data.size_px": (256, 384), "train.epochs": 40})
        >>> [row.value for row in summarise_plan(recipe, {})][0]
        '384x256 px'
    """
    data, model, train = recipe.data, recipe.model, recipe.train
    height, width = data.size_px
    size = f"{width}x{height} px{', in tiles' if data.resize_mode == 'tile' else ''}"
    widths = f", {model.widths[0]} to {model.widths[-1]} channels"
    minutes = "" if train.minutes is None else f", {train.minutes:g} minutes"
    return tuple(
        PlanRow(name, value, "; ".join(dict.fromkeys(filter(None, map(reasons.get, keys)))))
        for name, value, keys in (
            ("size", size, ("data.size_px", "data.resize_mode")),
            (
                "network",
                model.encoder or f"{model.preset}{widths}",
                ("model.encoder", *(() if model.encoder else ("model.preset", "model.widths"))),
            ),
            ("batch", f"{train.batch_size} images", ("train.batch_size",)),
            ("time", f"{train.epochs} epochs{minutes}", ("train.epochs",)),
            ("device", f"{train.device}, {train.precision}", ("train.device", "train.precision")),
        )
    )


def read_plan(path: Path) -> tuple[PlanRow, ...]:
    """The rows of a plan that was written with a reason beside each value.

    Raises LimnerError where the file cannot be read.
    """
    recipe = load_recipe(path)
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LimnerError(f"{path} cannot be read: {error}.") from error
    reasons = {
        f"{section}.{key}": item.trivia.comment.removeprefix("#").strip()
        for section, table in document.items()
        for key, item in table.items()
        if isinstance(item, Item)
    }
    return summarise_plan(recipe, reasons)
