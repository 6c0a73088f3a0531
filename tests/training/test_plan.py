import numpy as np

from limner.data.health import Facts
from limner.labels import Labels, MaskValues
from limner.recipe import Recipe, parse_recipe
from limner.training.plan import plan

BINARY = Labels.of(("background", "foreground"), (0, 255))


def facts(height: int, width: int) -> Facts:
    return Facts("a", (height, width), MaskValues("a.png", {0: 0.5, 255: 0.5}), np.zeros((64, 64), np.uint8), b"")


SQUARE = [facts(384, 384)] * 20


def test_every_choice_has_a_reason() -> None:
    planned = plan(Recipe(), SQUARE, 1000, BINARY)
    assert planned.recipe.chosen() == planned.reasons.keys()
    assert all(planned.reasons.values())


def test_what_the_user_set_is_kept() -> None:
    planned = plan(parse_recipe({"train": {"epochs": 7, "batch_size": 3}, "data": {"size_px": [64, 80]}}), SQUARE, 1000, BINARY)
    assert (planned.recipe.train.epochs, planned.recipe.train.batch_size, planned.recipe.data.size_px) == (7, 3, (64, 80))
    assert planned.reasons["train.epochs"] == "set by you"


def test_the_working_size_has_the_data_s_shape() -> None:
    height, width = plan(Recipe(), [facts(300, 600)], 100, BINARY).recipe.data.size_px
    assert width == 2 * height
    assert height % 16 == width % 16 == 0


def test_small_images_are_not_enlarged() -> None:
    assert plan(Recipe(), [facts(48, 32)], 100, BINARY).recipe.data.size_px == (48, 32)


def test_few_images_are_shown_in_more_epochs() -> None:
    few, many = (plan(Recipe(), SQUARE, count, BINARY).recipe.train.epochs for count in (100, 5000))
    assert few > many


def test_several_classes_are_not_turned_over() -> None:
    recipe = plan(Recipe(), SQUARE, 100, Labels.of(("sky", "road", "car"), (0, 1, 2))).recipe
    assert (recipe.augment.upside_down, recipe.augment.rotate_degrees) == (0, 15)


def test_the_same_data_gives_the_same_plan() -> None:
    assert plan(Recipe(), SQUARE, 100, BINARY) == plan(Recipe(), SQUARE, 100, BINARY)


def test_a_time_budget_is_measured() -> None:
    recipe = parse_recipe({"train": {"minutes": 1.0}, "data": {"size_px": [16, 16]}, "model": {"width": 2}})
    planned = plan(recipe, SQUARE, 100, BINARY)
    assert "images/s measured" in planned.reasons["train.epochs"]
