"""What people choose of a training by name, in Python and on the command line."""

from collections.abc import Mapping
from typing import Any, TypedDict

from limner.errors import LimnerError
from limner.recipe import Recipe

RECIPE_KEYS = {
    "minutes": "train.minutes",
    "epochs": "train.epochs",
    "size": "data.size_px",
    "encoder": "model.encoder",
    "batch_size": "train.batch_size",
    "device": "train.device",
    "seed": "train.seed",
}
"""The key of the recipe that each option sets."""
NO_ENCODER = "none"


class TrainOptions(TypedDict, total=False):
    """Options of `limner.train`."""

    minutes: float
    """The time that all of it may take."""
    epochs: int
    """How often each image is shown."""
    size: int | tuple[int, int]
    """The side of a canvas in px, or its height and width."""
    encoder: str
    """A pretrained encoder by its name, or "none" for a network from scratch."""
    batch_size: int
    device: str
    """cpu, cuda or mps."""
    seed: int


def recipe_values(options: Mapping[str, Any]) -> dict[str, Any]:
    """What options set, by the keys of a recipe. Those that are None set nothing.

    Raises LimnerError for an unknown option.

    Example:
        >>> recipe_values({"epochs": 40, "size": 256, "minutes": None})
        {'train.epochs': 40, 'data.size_px': (256, 256)}
    """
    if unknown := options.keys() - RECIPE_KEYS.keys():
        raise LimnerError(
            f"{', '.join(sorted(unknown))} is no option of a training. There are "
            f"{', '.join(RECIPE_KEYS)}; a Recipe sets everything else."
        )
    values = {RECIPE_KEYS[name]: value for name, value in options.items() if value is not None}
    if isinstance(size := values.get("data.size_px"), int):
        values["data.size_px"] = (size, size)
    if values.get("model.encoder") == NO_ENCODER:
        values["model.encoder"] = ""
    return values


def with_options(recipe: Recipe, options: Mapping[str, Any]) -> Recipe:
    """A recipe with what options set. Raises LimnerError as `recipe_values` does."""
    return recipe.replace(recipe_values(options))
