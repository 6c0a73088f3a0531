"""The plan: the recipe that data and machine ask for, each choice with its reason."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from torch import nn

from limner.errors import LimnerError
from limner.inference.engines import require_device
from limner.model.unet import UNet
from limner.recipe import Recipe, TrainSettings
from limner.training.hardware import NO_COMPILER, can_compile
from limner.training.optim import SCHEDULE_FREE
from limner.training.plan_context import (
    Choice,
    PixelBudget,
    PlanContext,
    PlanFacts,
    field_values,
    spell_size,
)
from limner.training.plan_rules import NETWORK_RULES, SCHEDULE_RULES
from limner.training.step_timing import time_step

SET_BY_USER = "set by you"
"""The reason of a key that the recipe came with."""
CPU_PIXELS, GPU_PIXELS = 24_000 * 96**2, 120_000 * 256**2
"""Pixels shown to the network in all, where no time is given: about 12 minutes on two cores."""
MULTICLASS_FACTOR = 2
"""Several classes, thin or far away, are given more time than one lesion."""
CPU_TIMED_PX, GPU_TIMED_PX = (96, 96), (256, 256)
"""The size at which steps are timed, where the user set none."""
TRAINING_SHARE = 0.85
"""Of the time given, what training steps have, together with all that came before the plan."""
MIN_TRAINING_SHARE = 0.1
"""Of the time given, what they have at least, however long that took."""
COMPILE_S_PER_CONVOLUTION = 1.0
COMPILE_SHARE = 0.05
"""Of the time in all, what a look at whether compiling pays may take."""
MEASURING_SHARE = 0.05
"""Of the time given, after which no further step is measured, with or without compiling."""
MIN_COMPILE_GAIN = 2
"""Compiling must save so many times what it takes."""
Context = TypeVar("Context", bound=PlanContext)


@dataclass(frozen=True, slots=True)
class Plan:
    """The complete recipe, and why each value was chosen.

    A key without a reason is a plain default.
    """

    recipe: Recipe
    reasons: dict[str, str]


def make_plan(recipe: Recipe, facts: PlanFacts) -> Plan:
    """Choose what a recipe leaves open. What the user set is kept, and the reason says so.

    Args:
        recipe: the keys that the user set.
        facts: what is known of the data and of the time.

    Raises LimnerError where the recipe contradicts the data, the machine or the processes.
    """
    context = PlanContext(
        **field_values(facts, PlanFacts),
        explicit_keys=frozenset(recipe.explicit_keys()),
        recipe=recipe,
    )
    _require_consistent(context)
    reasons = dict.fromkeys(context.explicit_keys, SET_BY_USER)
    context = _apply(NETWORK_RULES, context, reasons)
    timed = context.with_budget(pixel_budget(context))
    return Plan(_apply(SCHEDULE_RULES, timed, reasons).recipe, reasons)


def _apply(
    rules: Iterable[Callable[[Context], Iterator[Choice]]],
    context: Context,
    reasons: dict[str, str],
) -> Context:
    """Follow the rules in order, except for the keys that the user set; add their reasons."""
    for rule in rules:
        choices = [choice for choice in rule(context) if choice.key not in context.explicit_keys]
        reasons |= {choice.key: choice.reason for choice in choices}
        recipe = context.recipe.replace({choice.key: choice.value for choice in choices})
        context = replace(context, recipe=recipe)
    return context


def _require_consistent(context: PlanContext) -> None:
    """Raise LimnerError where what the user set does not fit data, machine or processes."""
    recipe, keys, processes = context.recipe, context.explicit_keys, context.processes
    if "data.channels" in keys and recipe.data.channels not in {1, context.image_channels}:
        raise LimnerError(
            f"data.channels is {recipe.data.channels}, and the images have "
            f"{context.image_channels}. Leave the key out, or set it to 1 for their mean."
        )
    require_device(recipe.train.device)
    train = recipe.train
    if train.lr_schedule == SCHEDULE_FREE and train.ema_decay != TrainSettings().ema_decay:
        raise LimnerError(
            f"train.ema_decay is {train.ema_decay}, and schedule-free training has an average of "
            "its own. Leave the key out, or set train.lr_schedule to cosine."
        )
    if "train.batch_size" in keys and recipe.train.batch_size % processes:
        raise LimnerError(
            f"train.batch_size is {recipe.train.batch_size}, which {processes} processes "
            f"cannot share. Make it a multiple of {processes}."
        )


def pixel_budget(context: PlanContext) -> PixelBudget:
    """How many pixels the network can be shown: a fixed number, or what the time given allows.

    The latter is measured with the network chosen so far, less the time that is gone.
    """
    recipe, on_cpu = context.recipe, context.on_cpu
    if recipe.train.minutes is None:
        factor = 1 if context.labels.binary else MULTICLASS_FACTOR
        return PixelBudget(float(CPU_PIXELS if on_cpu else GPU_PIXELS) * factor)
    size_px = recipe.data.size_px
    if "data.size_px" not in context.explicit_keys:
        size_px = CPU_TIMED_PX if on_cpu else GPU_TIMED_PX
    started = time.monotonic() if context.started is None else context.started
    minutes = recipe.train.minutes
    timing = time_step(
        recipe.replace({"data.size_px": size_px}),
        limit_s=MEASURING_SHARE * minutes * 60,
        progress=context.progress,
    )
    images_per_s = recipe.train.batch_size / timing.later_s
    training_s = max(
        TRAINING_SHARE * minutes * 60 - (time.monotonic() - started),
        MIN_TRAINING_SHARE * minutes * 60,
    )
    return PixelBudget(
        training_s * images_per_s * math.prod(size_px),
        f"{images_per_s:.0f} images/s of {spell_size(size_px)} measured, {minutes:g} minutes given",
    )


def choose_compile(plan: Plan, views_per_epoch: int) -> Plan:
    """Complete a plan by train.compile: on where it saves more time than compiling takes.

    Args:
        plan: all other keys; train.compile is left alone where the user set it.
        views_per_epoch: the images of an epoch, or their tiles.
    """
    if "train.compile" in plan.recipe.explicit_keys():
        return plan
    compiled, reason = _compile_pays(plan.recipe, views_per_epoch)
    return Plan(
        plan.recipe.replace({"train.compile": compiled}),
        {**plan.reasons, "train.compile": reason},
    )


def _compile_pays(recipe: Recipe, views_per_epoch: int) -> tuple[bool, str]:
    """Whether compiling pays, measured, and the reason.

    Where training is short nothing is compiled: that alone takes a second for each convolution.
    """
    if not can_compile(recipe.train.device):
        return False, NO_COMPILER
    minutes = recipe.train.minutes
    limit_s = MEASURING_SHARE * minutes * 60 if minutes else math.inf
    plain_s = time_step(recipe, limit_s=limit_s).later_s
    steps = recipe.train.epochs * max(1, views_per_epoch // recipe.train.batch_size)
    training_s = minutes * 60 if minutes else steps * plain_s
    layers = UNet.from_settings(recipe.model, recipe.data.channels, 1).modules()
    compile_s = COMPILE_S_PER_CONVOLUTION * sum(isinstance(layer, nn.Conv2d) for layer in layers)
    if compile_s > COMPILE_SHARE * training_s:
        return False, (
            f"training takes about {training_s / 60:.1f} minutes, and compiling alone would take "
            f"about {compile_s:.0f} s"
        )
    try:
        compiled = time_step(recipe, compiled=True)
    # A compiler may fail in any way, and training does not depend on it
    except Exception as error:  # noqa: BLE001
        return False, f"compiling failed ({type(error).__name__})"
    saved_s = training_s * (1 - compiled.later_s / plain_s)
    return saved_s > MIN_COMPILE_GAIN * compiled.first_s, (
        f"measured: a step takes {compiled.later_s * 1000:.0f} ms compiled and "
        f"{plain_s * 1000:.0f} ms not; compiling took {compiled.first_s:.0f} s"
    )
