"""The recipe that data and machine ask for, each choice with its reason."""

import bisect
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from limner.data.check import SampleInfo
from limner.data.preprocess import views
from limner.errors import LimnerError
from limner.inference.engines import require_device
from limner.labels import Labels
from limner.losses import LOSSES
from limner.model.encoders import weights_available
from limner.model.presets import ENCODER_DEFAULTS, PRESETS, build_network
from limner.recipe import Recipe, ResizeMode
from limner.training.distributed import SINGLE_PROCESS
from limner.training.hardware import NO_COMPILER, best_device, best_precision, can_compile
from limner.training.step import TrainStep, initial_state
from limner.training.trackers import is_installed

CPU_PIXELS, GPU_PIXELS = 24_000 * 96**2, 120_000 * 256**2
"""Pixels shown to the network in all, where no time is given: about 12 minutes on two cores."""
LEAST_IMAGES = 16_000
"""Canvases shown in all, at least: shown fewer, a small size beats a large one (isic2018 in 12
minutes: 96 px 0.881 mean Dice, 128 px 0.848).
"""
MULTICLASS_FACTOR = 2
"""Several classes, thin or far away, are given more time than one lesion."""
COMPILE_S, COMPILE_SHARE = 1.0, 0.05
"""About what compiling takes for each convolution; and of the time in all, what a look at whether
it pays may take.
"""
VALIDATION_COST, VALIDATION_SHARE = 1 / 3, 0.1
"""Of the time of a training canvas, what a validation canvas takes (no backward pass); and of the
time in all, what validation may take.
"""
UNENDING = 1_000_000
ENCODER = "tf_efficientnet_lite0"
PASSING = 0.99
"""A size that cuts every network off below this Dice is too small."""
SIDES = (64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024)
"""Working sizes that are tried: squares of these sides, in the shape of the images."""
CPU_TILE, GPU_TILE = 128, 256
LEAST_EPOCHS = 20
"""Tiles at the images' own size are worth it where each is seen so many times."""
SHAPES_DIFFER = 1.5
"""Where the widest tenth of the images is wider than the narrowest tenth by this factor, stretching
them to one shape would hide what shape tells.
"""

CeilingFunction = Callable[[tuple[int, int], ResizeMode], dict[str, float]]
"""The best mean Dice of each class that a working size allows; see `data.ceiling`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The complete recipe, and why each value was chosen; a key without a reason is a plain
    default.
    """

    recipe: Recipe
    reasons: dict[str, str]


def make_plan(
    recipe: Recipe,
    facts: Sequence[SampleInfo],
    labels: Labels,
    ceiling: CeilingFunction,
    *,
    validated: float = 0.0,
    processes: int = 1,
) -> Plan:
    """Choose what the recipe leaves open, from the facts of the training samples. What the user set
    is kept, and the reason says so.

    `validated` is how many samples are validated on for each that is trained on; `processes` share
    each batch. Raises LimnerError where that contradicts the data.
    """
    chosen = recipe.explicit_keys()
    reasons = dict.fromkeys(chosen, "set by you")

    def choose(key: str, value: object, reason: str) -> None:
        nonlocal recipe
        if key not in chosen:
            recipe = recipe.replace({key: value})
            reasons[key] = reason

    (held,) = {fact.channels for fact in facts}
    if held != 3:
        choose("data.channels", held, "the images have so many")
    if recipe.data.channels not in {1, held}:
        raise LimnerError(
            f"data.channels is {recipe.data.channels}, and the images have {held}. Leave the "
            "key out, or set it to 1 for their mean."
        )
    device, why = best_device()
    choose("train.device", device, why)
    require_device(recipe.train.device)
    precision, why = best_precision(recipe.train.device)
    choose("train.precision", precision, why)
    on_cpu = recipe.train.device == "cpu"
    count = len(facts)
    batch = max(processes, min(16, max(2, count // 4)) // processes * processes)
    shared = (
        f", in parts for {processes} processes"
        if processes > 1
        else ", and a processor gains nothing from more"
        if on_cpu
        else ""
    )
    choose("train.batch_size", batch, f"{count} training images{shared}")
    if recipe.train.batch_size % processes:
        raise LimnerError(
            f"train.batch_size is {recipe.train.batch_size}, which {processes} processes "
            f"cannot share. Make it a multiple of {processes}."
        )
    if "train.trackers" not in chosen and is_installed("tensorboard"):
        choose(
            "train.trackers",
            ("tensorboard",),
            "it is installed: tensorboard --logdir runs shows the runs",
        )
    if not any(key.startswith("model.") for key in chosen) and weights_available(ENCODER):
        choose(
            "model.encoder",
            ENCODER,
            (
                "pretrained, and its weights are here; on photographs it beats networks from "
                "scratch in the same time (docs/family.md)"
            ),
        )
    if not any(key.startswith("model.") for key in reasons):
        choose(
            "model.preset",
            "limner",
            (
                "of the networks from scratch the best for the time, where no pretrained encoder "
                "is here (docs/family.md)"
            ),
        )
    for key, value in (
        ENCODER_DEFAULTS if recipe.model.encoder else PRESETS[recipe.model.preset]
    ).items():
        choose(
            f"model.{key}",
            value,
            f"with the encoder {recipe.model.encoder}"
            if recipe.model.encoder
            else f"the preset {recipe.model.preset}",
        )
    own = not recipe.model.encoder and not any(
        key in chosen for key in ("model.preset", "model.widths")
    )
    if own and on_cpu:
        choose(
            "model.widths",
            _scaled(recipe, 0.5),
            "half as wide, a quarter of the arithmetic, for a processor",
        )
    budget, measured = (
        float(CPU_PIXELS if on_cpu else GPU_PIXELS) * (1 if labels.binary else MULTICLASS_FACTOR),
        "",
    )
    if recipe.train.minutes is not None:
        budget, measured = _pixels_in(recipe, recipe.train.minutes, on_cpu)
    for key, value, reason in _canvas(recipe, facts, budget, on_cpu, ceiling):
        choose(key, value, reason)
    canvases = sum(
        len(views(fact.size_px, recipe.data.size_px, recipe.data.resize_mode)) for fact in facts
    )
    shown = budget / math.prod(recipe.data.size_px)
    if measured:
        if own and shown < LEAST_IMAGES / 4:
            choose(
                "model.widths",
                _scaled(recipe, 0.5),
                f"{measured}: a narrower network sees more images",
            )
            shown *= 2.5
        elif own and shown > 4 * LEAST_IMAGES and on_cpu:
            choose("model.widths", _scaled(recipe, 1.5), f"{measured}: enough for a wider network")
            shown /= 2
        choose(
            "train.epochs",
            max(1, round(shown / canvases)),
            f"{measured}; the schedule follows the clock",
        )
    else:
        epochs = min(max(math.ceil(shown / canvases), 20), 300)
        what = f"{count} images" if canvases == count else f"{canvases} tiles of {count} images"
        choose("train.epochs", epochs, f"{what}, shown about {epochs * canvases:,} times in all")
    every = max(1, math.ceil(validated * VALIDATION_COST / VALIDATION_SHARE))
    choose(
        "train.validate_every",
        every,
        f"validation takes less than {VALIDATION_SHARE:.0%} of the time"
        if every > 1
        else "after each epoch",
    )
    if recipe.train.minutes is not None:
        choose("train.patience", UNENDING, "the time that is given is used")
    else:
        choose(
            "train.patience",
            max(10, recipe.train.epochs // 2),
            "half of the schedule, so that the decay is seldom cut",
        )
    if not labels.binary:
        choose(
            "train.class_weights", "balanced", "several classes: the rare and the thin count too"
        )
        choose("augment.rotate_degrees", 15.0, "several classes: up and down may matter")
        choose("augment.vertical_flip", 0.0, "several classes: up and down may matter")
    return Plan(recipe, reasons)


def _canvas(
    recipe: Recipe,
    facts: Sequence[SampleInfo],
    budget: float,
    on_cpu: bool,
    ceiling: CeilingFunction,
) -> Iterator[tuple[str, object, str]]:
    """What the network sees: the smallest size whose ceiling passes, tiles where none does, or the
    largest that the budget allows.
    """
    given = recipe.explicit_keys()
    shapes = [fact.size_px[1] / fact.size_px[0] for fact in facts]
    narrow, wide = np.percentile(shapes, (10, 90))
    if "data.resize_mode" in given:
        resize_mode, why = recipe.data.resize_mode, "set by you"
    elif wide > SHAPES_DIFFER * narrow:
        resize_mode, why = (
            "letterbox",
            f"the images' shapes differ, from {narrow:.2f} to {wide:.2f} times as wide as high",
        )
    else:
        resize_mode, why = "resize", "the images have much the same shape"
    if resize_mode == "tile":
        yield "data.size_px", _tile_px(facts, on_cpu), "a tile that this machine trains well"
    if resize_mode == "tile" or "data.size_px" in given:
        yield "data.resize_mode", resize_mode, why
        return
    sizes = _sizes(facts)
    measured: dict[tuple[int, int], dict[str, float]] = {}

    def passes(size: tuple[int, int]) -> bool:
        measured[size] = ceiling(size, resize_mode)
        return min(measured[size].values(), default=1.0) >= PASSING

    first = bisect.bisect_left(sizes, True, key=passes)
    wanted = sizes[first] if first < len(sizes) else None
    allowed = [size for size in sizes if math.prod(size) <= budget / LEAST_IMAGES] or sizes[:1]
    if wanted in allowed:
        yield "data.resize_mode", resize_mode, why
        yield "data.size_px", wanted, f"the smallest that loses nothing: {_limit(measured[wanted])}"
        return
    native = sum(fact.size_px[0] * fact.size_px[1] for fact in facts)
    if wanted is None and native * LEAST_EPOCHS <= budget:
        lost = _limit(measured.get(sizes[-1]) or ceiling(sizes[-1], resize_mode))
        yield (
            "data.resize_mode",
            "tile",
            (
                f"thin or small things are lost even at {_spell(sizes[-1])} ({lost}), so tiles at "
                "the images' own size are cut"
            ),
        )
        yield "data.size_px", _tile_px(facts, on_cpu), "a tile that this machine trains well"
        return
    cost = _limit(measured.get(allowed[-1]) or ceiling(allowed[-1], resize_mode))
    cure = (
        f"{_spell(wanted)} would lose nothing"
        if wanted
        else "tiles at the images' own size (--set data.resize_mode=tile) would lose nothing"
    )
    times = (
        (math.prod(wanted) / math.prod(allowed[-1])) if wanted else LEAST_EPOCHS * native / budget
    )
    yield "data.resize_mode", resize_mode, why
    yield (
        "data.size_px",
        allowed[-1],
        (
            f"the largest that the time allows. {cost}; {cure}, and want about "
            f"{max(times, 1.1):.1f} times the time"
        ),
    )


def _limit(ceiling: Mapping[str, float]) -> str:
    """What a size costs, in words: the class that it limits most."""
    if not ceiling:
        return "no mask has a class that could be lost"
    name = min(ceiling, key=lambda name: ceiling[name])
    return f"no model can pass a Dice of {ceiling[name]:.3f}" + (
        f" ({name})" if len(ceiling) > 1 else ""
    )


def _sizes(facts: Sequence[SampleInfo]) -> list[tuple[int, int]]:
    """Heights and widths of the images' median shape in multiples of 16, no larger than the largest
    image, the smallest first.
    """
    height, width = (float(np.median([fact.size_px[axis] for fact in facts])) for axis in (0, 1))
    largest = math.sqrt(max(math.prod(fact.size_px) for fact in facts))
    factors = [min(largest, side) / math.sqrt(height * width) for side in SIDES]
    return sorted(
        {
            (max(16, round(height * f / 16) * 16), max(16, round(width * f / 16) * 16))
            for f in factors
        },
        key=lambda size: (math.prod(size), size),
    )


def _tile_px(facts: Sequence[SampleInfo], on_cpu: bool) -> tuple[int, int]:
    """A square, no larger than the images."""
    largest = CPU_TILE if on_cpu else GPU_TILE
    height, width = (
        min(largest, max(16, -(-max(fact.size_px[axis] for fact in facts) // 16) * 16))
        for axis in (0, 1)
    )
    return height, width


def _spell(size_px: tuple[int, int]) -> str:
    return f"{size_px[1]}x{size_px[0]}"


def _scaled(recipe: Recipe, factor: float) -> tuple[int, ...]:
    """The network's widths, all narrower or wider."""
    return tuple(max(1, round(width * factor)) for width in recipe.model.widths)


def _pixels_in(recipe: Recipe, minutes: float, on_cpu: bool) -> tuple[float, str]:
    """How many pixels a training step can look at in the time, from a measurement, and that
    measurement in words.
    """
    size_px = (
        recipe.data.size_px
        if "data.size_px" in recipe.explicit_keys()
        else ((96, 96) if on_cpu else (256, 256))
    )
    _, seconds = _measure_step(recipe.replace({"data.size_px": size_px}))
    rate = recipe.train.batch_size / seconds
    return 0.85 * minutes * 60 * rate * math.prod(
        size_px
    ), f"{rate:.0f} images/s of {_spell(size_px)} measured, {minutes:g} minutes given"


def choose_compile(planned: Plan, canvases: int) -> Plan:
    """The plan with train.compile chosen by measurement: where compiling and the steps after it
    take less time than the steps alone.

    `canvases` are those of an epoch. Where training is short, nothing is measured, since compiling
    alone takes a second for each convolution.
    """
    recipe = planned.recipe
    if "train.compile" in recipe.explicit_keys():
        return planned

    def chosen(value: bool, reason: str) -> Plan:
        return Plan(
            recipe.replace({"train.compile": value}), {**planned.reasons, "train.compile": reason}
        )

    if not can_compile(recipe.train.device):
        return chosen(False, NO_COMPILER)
    steps = recipe.train.epochs * max(1, canvases // recipe.train.batch_size)
    _, plain = _measure_step(recipe)
    whole = recipe.train.minutes * 60 if recipe.train.minutes else steps * plain
    network = build_network(recipe.model, recipe.data.channels, 1)
    expected = COMPILE_S * sum(isinstance(layer, torch.nn.Conv2d) for layer in network.modules())
    if expected > COMPILE_SHARE * whole:
        return chosen(
            False,
            (
                f"training takes about {whole / 60:.1f} minutes, and compiling alone would take "
                f"about {expected:.0f} s"
            ),
        )
    try:
        first, fast = _measure_step(recipe, compiled=True)
    except Exception as error:  # noqa: BLE001
        # A compiler may fail in any way, and training does not depend on it
        return chosen(False, f"compiling failed ({type(error).__name__})")
    gained = whole * (1 - fast / plain)
    said = (
        f"measured: a step takes {fast * 1000:.0f} ms compiled and {plain * 1000:.0f} ms not; "
        f"compiling took {first:.0f} s"
    )
    return chosen(gained > 2 * first, said)


def _measure_step(recipe: Recipe, *, compiled: bool = False) -> tuple[float, float]:
    """Seconds of the first training step and of a later one, the best of three, on empty images."""
    settings = recipe.train
    state = initial_state(build_network(recipe.model, recipe.data.channels, 1), settings)
    shape = settings.batch_size, recipe.data.channels, *recipe.data.size_px
    images = torch.zeros(shape, device=settings.device).contiguous(
        memory_format=torch.channels_last
    )
    masks = torch.zeros((shape[0], *recipe.data.size_px), dtype=torch.uint8, device=settings.device)
    stepper = TrainStep(state, LOSSES[settings.loss], settings, SINGLE_PROCESS, compiled=compiled)
    seconds: list[float] = []
    while len(seconds) < 4:
        began = time.perf_counter()
        try:
            float(stepper.step(images, masks, settings.learning_rate)[0])
        except torch.OutOfMemoryError:
            # Training will go through the batch in parts, and say so
            if state.parts >= len(images):
                raise
            state.parts *= 2
            stepper.prepare()
            continue
        seconds.append(time.perf_counter() - began)
    return seconds[0], min(seconds[1:])
