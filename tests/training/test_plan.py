import math

import numpy as np
import pytest

from limner.data.sample_info import SampleInfo
from limner.data.value_histogram import ValueHistogram
from limner.labels import Labels
from limner.recipe import Recipe, ResizeMode, parse_recipe
from limner.training.plan import CeilingFunction, Plan, make_plan

BINARY = Labels.from_values(("background", "foreground"), (0, 255))
ON_CPU = parse_recipe({"train": {"device": "cpu", "precision": "float32"}})


def facts(height: int, width: int) -> SampleInfo:
    return SampleInfo(
        "a",
        (height, width),
        ValueHistogram("a.png", {0: 0.5, 255: 0.5}),
        np.zeros((64, 64), np.uint8),
        b"",
    )


SQUARE = [facts(384, 384)] * 1000


def passes_from(side: float) -> CeilingFunction:
    """A ceiling that rises with the size and passes from a square of this side on."""
    return lambda size_px, resize_mode: {
        "foreground": 1 - 0.01 * side / math.sqrt(math.prod(size_px))
    }


def planned(
    recipe: Recipe = ON_CPU,
    data: list[SampleInfo] = SQUARE,
    labels: Labels = BINARY,
    ceiling: CeilingFunction = passes_from(80),  # noqa: B008
) -> Plan:
    return make_plan(recipe, data, labels, ceiling)


@pytest.fixture(autouse=True)
def no_weights_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limner.training.plan.weights_available", lambda name: False)


def test_a_pretrained_encoder_is_taken_where_its_weights_are_here_and_no_network_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("limner.training.plan.weights_available", lambda name: True)
    assert planned().recipe.model.encoder == "tf_efficientnet_lite0"
    named = planned(
        parse_recipe(
            {"model": {"preset": "unet"}, "train": {"device": "cpu", "precision": "float32"}}
        )
    )
    assert (named.recipe.model.encoder, named.recipe.model.widths[-1]) == ("", 1024)


def test_every_choice_has_a_reason() -> None:
    made = planned(Recipe())
    assert made.recipe.explicit_keys() == made.reasons.keys()
    assert all(made.reasons.values())


def test_what_the_user_set_is_kept() -> None:
    made = planned(
        parse_recipe({"train": {"epochs": 7, "batch_size": 3}, "data": {"size_px": [64, 80]}})
    )
    assert (made.recipe.train.epochs, made.recipe.train.batch_size, made.recipe.data.size_px) == (
        7,
        3,
        (64, 80),
    )
    assert made.reasons["train.epochs"] == "set by you"


def test_the_smallest_size_that_loses_nothing_is_taken() -> None:
    made = planned(ceiling=passes_from(80))
    assert made.recipe.data.size_px == (80, 80)
    assert "no model can pass a Dice of 0.990" in made.reasons["data.size_px"]


def test_a_size_beyond_the_budget_is_not_taken_and_the_cost_is_said() -> None:
    made = planned(ceiling=passes_from(256))
    assert 96 <= made.recipe.data.size_px[0] < 128
    assert (
        "no model can pass a Dice of 0.977; 256x256 would lose nothing, and want about 5.2 "
        "times the time"
    ) in made.reasons["data.size_px"]


def never(_size_px: tuple[int, int], _resize_mode: ResizeMode) -> dict[str, float]:
    return {"vein": 0.9, "artery": 0.8}


def test_thin_things_of_few_images_are_cut_into_tiles() -> None:
    made = planned(data=[facts(500, 600)] * 20, ceiling=never)
    assert made.recipe.data.resize_mode == "tile"
    assert made.recipe.data.size_px == (128, 128)
    assert "no model can pass a Dice of 0.800 (artery)" in made.reasons["data.resize_mode"]
    assert "400 tiles of 20 images" in made.reasons["train.epochs"]


def test_thin_things_of_many_images_say_what_they_cost() -> None:
    made = planned(ceiling=never)
    assert made.recipe.data.resize_mode == "resize"
    assert "data.resize_mode=tile" in made.reasons["data.size_px"]


def test_the_working_size_has_the_data_s_shape() -> None:
    height, width = planned(data=[facts(300, 600)] * 100).recipe.data.size_px
    assert abs(width - 2 * height) <= 16
    assert height % 16 == width % 16 == 0


def test_images_of_many_shapes_are_fitted_and_not_stretched() -> None:
    made = planned(data=[facts(300, 600), facts(600, 300)] * 50)
    assert made.recipe.data.resize_mode == "letterbox"
    assert "shapes differ" in made.reasons["data.resize_mode"]


def test_small_images_are_not_enlarged() -> None:
    assert planned(data=[facts(48, 32)] * 100, ceiling=passes_from(1)).recipe.data.size_px == (
        48,
        32,
    )


def test_few_images_are_shown_in_more_epochs() -> None:
    few, many = (planned(data=SQUARE[:1] * count).recipe.train.epochs for count in (100, 5000))
    assert few > many


def test_several_classes_are_not_turned_over() -> None:
    recipe = planned(labels=Labels.from_values(("sky", "road", "car"), (0, 1, 2))).recipe
    assert (recipe.augment.vertical_flip, recipe.augment.rotate_degrees) == (0, 15)
    assert recipe.train.class_weights == "balanced"


def test_the_same_data_gives_the_same_plan() -> None:
    assert planned() == planned()


@pytest.mark.parametrize("minutes", [0.01, 1.0])
def test_a_time_budget_is_measured(minutes: float) -> None:
    made = planned(
        parse_recipe(
            {
                "train": {"minutes": minutes},
                "data": {"size_px": [16, 16]},
                "model": {"widths": [2, 4, 8]},
            }
        )
    )
    assert "images/s of 16x16 measured" in made.reasons["train.epochs"]
