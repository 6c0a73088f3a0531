import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from limner.data.sample_info import SampleInfo
from limner.data.value_histogram import ValueHistogram
from limner.errors import LimnerError
from limner.labels import Labels
from limner.recipe import Recipe, ResizeMode, parse_recipe
from limner.training.plan import Plan, make_plan
from limner.training.plan_context import CeilingFunction, PlanFacts
from limner.training.step_timing import StepTiming

BINARY = Labels.from_values(("background", "foreground"), (0, 255))
SCENES = Labels.from_values(("sky", "road", "car"), (0, 1, 2))
RECORDED_PLANS: dict[str, dict[str, list[Any]]] = json.loads(
    Path(__file__).with_name("recorded_plans.json").read_text(encoding="utf-8")
)
"""Values and reasons that the plan has always given, by case and key."""


def on_cpu(values: Mapping[str, Any]) -> Recipe:
    """A recipe that leaves nothing to the machine."""
    return Recipe().replace({"train.device": "cpu", "train.precision": "float32", **values})


ON_CPU = on_cpu({})


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
    return make_plan(recipe, PlanFacts(samples=data, labels=labels, ceiling=ceiling))


@pytest.fixture(autouse=True)
def no_weights_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limner.training.plan_rules.weights_available", lambda name: False)


SCENE_SHAPES = [facts(300, 600), facts(600, 300)] * 50
THIN = [facts(500, 600)] * 20


def thin_things_are_lost(_size_px: tuple[int, int], _mode: ResizeMode) -> dict[str, float]:
    return {"vein": 0.9, "artery": 0.8}


CASES: dict[str, dict[str, Any]] = {
    "lossless": {},
    "beyond the budget": {"ceiling": passes_from(256), "validation_ratio": 0.4, "processes": 4},
    "tiles": {"samples": THIN, "ceiling": thin_things_are_lost, "validation_ratio": 0.1},
    "classes": {"samples": SCENE_SHAPES, "labels": SCENES, "validation_ratio": 0.1},
    "preset": {"recipe": on_cpu({"model.preset": "resunet"})},
    "little time": {"recipe": on_cpu({"train.minutes": 0.5})},
    "much time": {"recipe": on_cpu({"train.minutes": 200.0}), "ceiling": passes_from(256)},
}


@pytest.mark.parametrize("case", RECORDED_PLANS)
def test_a_plan_has_the_recorded_values_and_reasons(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limner.training.plan_rules.is_installed", lambda name: False)
    monkeypatch.setattr("limner.training.plan.time_step", lambda recipe, **_: StepTiming(0.5, 0.1))
    # A plan that takes a tenth of a second on a busy machine would leave two images less
    monkeypatch.setattr("limner.training.plan.time", SimpleNamespace(monotonic=lambda: 0.0))
    defaults = {"samples": SQUARE, "labels": BINARY, "ceiling": passes_from(80)}
    arguments = {**defaults, **CASES[case]}
    recipe = arguments.pop("recipe", ON_CPU)
    plan = make_plan(recipe, PlanFacts(**arguments))
    table, explicit = plan.recipe.model_dump(mode="json"), recipe.explicit_keys()
    chosen = {}
    for key, reason in plan.reasons.items():
        section, name = key.split(".")
        if key in explicit:
            assert reason == "set by you"
        else:
            chosen[key] = [table[section][name], reason]
    assert chosen == RECORDED_PLANS[case]


def test_settings_that_contradict_the_data_or_the_processes_are_refused() -> None:
    with pytest.raises(LimnerError, match=r"data\.channels is 4, and the images have 3"):
        planned(on_cpu({"data.channels": 4}))
    with pytest.raises(LimnerError, match="batch_size is 5, which 2 processes cannot share"):
        make_plan(
            on_cpu({"train.batch_size": 5}),
            PlanFacts(samples=SQUARE, labels=BINARY, ceiling=passes_from(80), processes=2),
        )


def test_a_pretrained_encoder_is_taken_where_its_weights_are_here_and_no_network_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("limner.training.plan_rules.weights_available", lambda name: True)
    assert planned().recipe.model.encoder == "tf_efficientnet_lite0"
    named = planned(
        parse_recipe(
            {"model": {"preset": "unet"}, "train": {"device": "cpu", "precision": "float32"}}
        )
    )
    assert (named.recipe.model.encoder, named.recipe.model.widths[-1]) == ("", 1024)


def test_every_choice_has_a_reason() -> None:
    plan = planned(Recipe())
    assert plan.recipe.explicit_keys() == plan.reasons.keys()
    assert all(plan.reasons.values())


def test_what_the_user_set_is_kept() -> None:
    plan = planned(
        parse_recipe({"train": {"epochs": 7, "batch_size": 3}, "data": {"size_px": [64, 80]}})
    )
    assert (plan.recipe.train.epochs, plan.recipe.train.batch_size, plan.recipe.data.size_px) == (
        7,
        3,
        (64, 80),
    )
    assert plan.reasons["train.epochs"] == "set by you"


def rising(lowest: float, highest_from: float) -> CeilingFunction:
    """A ceiling that rises evenly to 1 at a square of some side."""
    return lambda size_px, resize_mode: {
        "foreground": min(1.0, lowest + (1 - lowest) * math.sqrt(math.prod(size_px)) / highest_from)
    }


def test_a_larger_size_is_taken_where_the_time_shows_it_often_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("limner.training.plan.time_step", lambda recipe, **_: StepTiming(1.0, 1.0))
    sides = [
        planned(
            on_cpu({"train.minutes": minutes, "model.encoder": "tf_efficientnet_lite0"}),
            ceiling=rising(0.9, 384),
        ).recipe.data.size_px[0]
        for minutes in (1.0, 10.0, 100.0)
    ]
    assert sides == sorted(sides) and 64 <= sides[0] < sides[1] < sides[2]


def test_a_larger_size_of_the_same_ceiling_is_not_taken() -> None:
    plan = planned(ceiling=rising(1.0, 1.0))
    assert plan.recipe.data.size_px == (64, 64)
    assert "no model can pass a Dice of 1.000" in plan.reasons["data.size_px"]


def test_where_the_time_holds_few_steps_the_batch_is_smaller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("limner.training.plan.time_step", lambda recipe, **_: StepTiming(1.0, 1.0))
    fixed = {"data.size_px": [128, 128]}
    sizes = [
        planned(on_cpu({**fixed, "train.minutes": minutes})).recipe.train.batch_size
        for minutes in (0.5, 2.5, 5.0, 20.0)
    ]
    # A minute shows 816 images, and 300 steps of 16 want 4,800
    assert sizes == [4, 4, 8, 16]
    kept = planned(on_cpu({**fixed, "train.minutes": 0.5, "train.batch_size": 16}))
    assert kept.recipe.train.batch_size == 16


def test_thin_things_are_cut_into_tiles_although_the_time_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("limner.training.plan.time_step", lambda recipe, **_: StepTiming(1.0, 1.0))
    recipe = on_cpu({"train.minutes": 5.0, "model.encoder": "tf_efficientnet_lite0"})
    plan = planned(recipe, data=THIN, ceiling=rising(0.4, 640))
    assert (plan.recipe.data.resize_mode, plan.recipe.data.size_px) == ("tile", (128, 128))
    assert "no model can pass a Dice of" in plan.reasons["data.resize_mode"]
    assert "are shown" in plan.reasons["data.size_px"]
    assert "400 tiles of 20 images" not in plan.reasons["train.epochs"]


def test_what_fits_into_a_tile_or_two_is_not_cut() -> None:
    plan = planned(data=[facts(140, 140)] * 50, ceiling=rising(0.2, 640))
    assert plan.recipe.data.resize_mode == "resize"


def test_the_working_size_has_the_data_s_shape() -> None:
    height, width = planned(data=[facts(300, 600)] * 100).recipe.data.size_px
    assert abs(width - 2 * height) <= 16
    assert height % 16 == width % 16 == 0


def test_images_of_many_shapes_are_fitted_and_not_stretched() -> None:
    plan = planned(data=SCENE_SHAPES)
    assert plan.recipe.data.resize_mode == "letterbox"
    assert "shapes differ" in plan.reasons["data.resize_mode"]


def test_small_images_are_not_enlarged() -> None:
    assert planned(data=[facts(48, 32)] * 100, ceiling=passes_from(1)).recipe.data.size_px == (
        48,
        32,
    )


def test_few_images_are_shown_in_more_epochs() -> None:
    few, many = (planned(data=SQUARE[:1] * count).recipe.train.epochs for count in (100, 5000))
    assert few > many


@pytest.mark.parametrize("epochs", [1, 29, 30])
def test_images_that_are_seldom_shown_are_not_bent_blurred_or_made_noisy(epochs: int) -> None:
    augment = planned(on_cpu({"train.epochs": epochs, "augment.noise": 0.01})).recipe.augment
    default = Recipe().augment
    few = epochs < 30
    assert augment.elastic == (0 if few else default.elastic)
    assert augment.blur == (0 if few else default.blur)
    assert augment.noise == 0.01 and augment.rotate_degrees == default.rotate_degrees


def test_several_classes_are_not_turned_over() -> None:
    recipe = planned(labels=SCENES).recipe
    assert (recipe.augment.vertical_flip, recipe.augment.rotate_degrees) == (0, 15)
    assert recipe.train.class_weights == "balanced"


def test_the_same_data_gives_the_same_plan() -> None:
    assert planned() == planned()


def test_time_that_is_gone_before_the_plan_is_not_planned_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("limner.training.plan.time_step", lambda recipe, **_: StepTiming(0.5, 0.1))
    recipe = on_cpu({"train.minutes": 10.0, "data.size_px": (96, 96), "model.preset": "unet"})

    def epochs(gone_s: float) -> int:
        started = time.monotonic() - gone_s
        facts = PlanFacts(samples=SQUARE, labels=BINARY, ceiling=passes_from(80), started=started)
        return make_plan(recipe, facts).recipe.train.epochs

    # 160 images a second for 85 % of the time given, of 1,000 images
    assert [epochs(0), epochs(210), epochs(600)] == [82, 48, 10]


@pytest.mark.parametrize("minutes", [0.01, 1.0])
def test_a_time_budget_is_measured(minutes: float) -> None:
    plan = planned(
        parse_recipe(
            {
                "train": {"minutes": minutes},
                "data": {"size_px": [16, 16]},
                "model": {"widths": [2, 4, 8]},
            }
        )
    )
    assert "images/s of 16x16 measured" in plan.reasons["train.epochs"]
