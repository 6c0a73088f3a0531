"""The recipe that data and machine ask for, each choice with its reason."""

import bisect
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from limner.data.health import Facts
from limner.data.preprocess import views
from limner.labels import Labels
from limner.losses import LOSSES
from limner.model.encoders import at_hand
from limner.model.presets import ENCODER_DEFAULTS, PRESETS, build
from limner.recipe import Geometry, Recipe
from limner.training.loop import autocast, begin

CPU_PIXELS, GPU_PIXELS = 24_000 * 96**2, 120_000 * 256**2
"""Pixels shown to the network in all, where no time is given: about 12 minutes on two cores."""
LEAST_IMAGES = 16_000
"""Canvases shown in all, at least: shown fewer, a small size beats a large one (isic2018 in 12 minutes: 96 px 0.881 mean Dice, 128 px 0.848)."""
MULTICLASS_FACTOR = 2
"""Several classes, thin or far away, are given more time than one lesion."""
ENCODER = "tf_efficientnet_lite0"
PASSING = 0.99
"""A size that cuts every network off below this Dice is too small."""
SIDES = (64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024)
"""Working sizes that are tried: squares of these sides, in the shape of the images."""
CPU_TILE, GPU_TILE = 128, 256
LEAST_EPOCHS = 20
"""Tiles at the images' own size are worth it where each is seen so many times."""
SHAPES_DIFFER = 1.5
"""Where the widest tenth of the images is wider than the narrowest tenth by this factor, stretching them to one shape would hide what shape tells."""

Ceiling = Callable[[tuple[int, int], Geometry], dict[str, float]]
"""The best mean Dice of each class that a working size allows; see `data.ceiling`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The complete recipe, and why each value was chosen; a key without a reason is a plain default."""

    recipe: Recipe
    reasons: dict[str, str]


def plan(recipe: Recipe, facts: Sequence[Facts], labels: Labels, ceiling: Ceiling) -> Plan:
    """Choose what the recipe leaves open, from the facts of the training samples. What the user set is kept, and the reason says so."""
    chosen = recipe.chosen()
    reasons = dict.fromkeys(chosen, "set by you")

    def choose(key: str, value: object, reason: str) -> None:
        nonlocal recipe
        if key not in chosen:
            recipe = recipe.replace({key: value})
            reasons[key] = reason

    device, why = _device()
    choose("train.device", device, why)
    precision, why = _precision(recipe.train.device)
    choose("train.precision", precision, why)
    on_cpu = recipe.train.device == "cpu"
    count = len(facts)
    choose("train.batch_size", min(16, max(2, count // 4)), f"{count} training images" + (", and a processor gains nothing from more" if on_cpu else ""))
    if not any(key.startswith("model.") for key in chosen) and at_hand(ENCODER):
        choose(
            "model.encoder", ENCODER, "pretrained, and its weights are here; on photographs it beats networks from scratch in the same time (docs/family.md)"
        )
    for key, value in (ENCODER_DEFAULTS if recipe.model.encoder else PRESETS[recipe.model.preset]).items():
        choose(f"model.{key}", value, f"with the encoder {recipe.model.encoder}" if recipe.model.encoder else f"the preset {recipe.model.preset}")
    own = not recipe.model.encoder and not any(key in chosen for key in ("model.preset", "model.widths"))
    if own and on_cpu:
        choose("model.widths", _scaled(recipe, 0.5), "half as wide, a quarter of the arithmetic, for a processor")
    budget, measured = float(CPU_PIXELS if on_cpu else GPU_PIXELS) * (1 if labels.binary else MULTICLASS_FACTOR), ""
    if recipe.train.minutes is not None:
        budget, measured = _pixels_in(recipe, recipe.train.minutes, on_cpu)
    for key, value, reason in _canvas(recipe, facts, budget, on_cpu, ceiling):
        choose(key, value, reason)
    canvases = sum(len(views(fact.size_px, recipe.data.size_px, recipe.data.geometry)) for fact in facts)
    shown = budget / math.prod(recipe.data.size_px)
    if measured:
        if own and shown < LEAST_IMAGES / 4:
            choose("model.widths", _scaled(recipe, 0.5), f"{measured}: a narrower network sees more images")
            shown *= 2.5
        elif own and shown > 4 * LEAST_IMAGES and on_cpu:
            choose("model.widths", _scaled(recipe, 1.5), f"{measured}: enough for a wider network")
            shown /= 2
        choose("train.epochs", max(1, round(shown / canvases)), f"{measured}; the schedule follows the clock")
    else:
        epochs = min(max(math.ceil(shown / canvases), 20), 300)
        what = f"{count} images" if canvases == count else f"{canvases} tiles of {count} images"
        choose("train.epochs", epochs, f"{what}, shown about {epochs * canvases:,} times in all")
    choose("train.patience", max(10, recipe.train.epochs // 2), "half of the schedule, so that the decay is seldom cut")
    if not labels.binary:
        choose("train.class_weights", "balanced", "several classes: the rare and the thin count too")
        choose("augment.rotate_degrees", 15.0, "several classes: up and down may matter")
        choose("augment.upside_down", 0.0, "several classes: up and down may matter")
    return Plan(recipe, reasons)


def _canvas(recipe: Recipe, facts: Sequence[Facts], budget: float, on_cpu: bool, ceiling: Ceiling) -> Iterator[tuple[str, object, str]]:
    """What the network sees: the smallest size whose ceiling passes, tiles where none does, or the largest that the budget allows."""
    given = recipe.chosen()
    shapes = [fact.size_px[1] / fact.size_px[0] for fact in facts]
    narrow, wide = np.percentile(shapes, (10, 90))
    if "data.geometry" in given:
        geometry, why = recipe.data.geometry, "set by you"
    elif wide > SHAPES_DIFFER * narrow:
        geometry, why = "letterbox", f"the images' shapes differ, from {narrow:.2f} to {wide:.2f} times as wide as high"
    else:
        geometry, why = "resize", "the images have much the same shape"
    if geometry == "tile":
        yield "data.size_px", _tile_px(facts, on_cpu), "a tile that this machine trains well"
    if geometry == "tile" or "data.size_px" in given:
        yield "data.geometry", geometry, why
        return
    sizes = _sizes(facts)
    measured: dict[tuple[int, int], dict[str, float]] = {}

    def passes(size: tuple[int, int]) -> bool:
        measured[size] = ceiling(size, geometry)
        return min(measured[size].values(), default=1.0) >= PASSING

    first = bisect.bisect_left(sizes, True, key=passes)
    wanted = sizes[first] if first < len(sizes) else None
    allowed = [size for size in sizes if math.prod(size) <= budget / LEAST_IMAGES] or sizes[:1]
    if wanted in allowed:
        yield "data.geometry", geometry, why
        yield "data.size_px", wanted, f"the smallest that loses nothing: {_limit(measured[wanted])}"
        return
    native = sum(fact.size_px[0] * fact.size_px[1] for fact in facts)
    if wanted is None and native * LEAST_EPOCHS <= budget:
        lost = _limit(measured.get(sizes[-1]) or ceiling(sizes[-1], geometry))
        yield "data.geometry", "tile", f"thin or small things are lost even at {_spell(sizes[-1])} ({lost}), so tiles at the images' own size are cut"
        yield "data.size_px", _tile_px(facts, on_cpu), "a tile that this machine trains well"
        return
    cost = _limit(measured.get(allowed[-1]) or ceiling(allowed[-1], geometry))
    cure = f"{_spell(wanted)} would lose nothing" if wanted else "tiles at the images' own size (--set data.geometry=tile) would lose nothing"
    times = (math.prod(wanted) / math.prod(allowed[-1])) if wanted else LEAST_EPOCHS * native / budget
    yield "data.geometry", geometry, why
    yield "data.size_px", allowed[-1], f"the largest that the time allows. {cost}; {cure}, and want about {max(times, 1.1):.1f} times the time"


def _limit(ceiling: Mapping[str, float]) -> str:
    """What a size costs, in words: the class that it limits most."""
    if not ceiling:
        return "no mask has a class that could be lost"
    name = min(ceiling, key=lambda name: ceiling[name])
    return f"no model can pass a Dice of {ceiling[name]:.3f}" + (f" ({name})" if len(ceiling) > 1 else "")


def _sizes(facts: Sequence[Facts]) -> list[tuple[int, int]]:
    """Heights and widths of the images' median shape in multiples of 16, no larger than the largest image, the smallest first."""
    height, width = (float(np.median([fact.size_px[axis] for fact in facts])) for axis in (0, 1))
    largest = math.sqrt(max(math.prod(fact.size_px) for fact in facts))
    factors = [min(largest, side) / math.sqrt(height * width) for side in SIDES]
    return sorted({(max(16, round(height * f / 16) * 16), max(16, round(width * f / 16) * 16)) for f in factors}, key=lambda size: (math.prod(size), size))


def _tile_px(facts: Sequence[Facts], on_cpu: bool) -> tuple[int, int]:
    """A square, no larger than the images."""
    largest = CPU_TILE if on_cpu else GPU_TILE
    height, width = (min(largest, max(16, -(-max(fact.size_px[axis] for fact in facts) // 16) * 16)) for axis in (0, 1))
    return height, width


def _spell(size_px: tuple[int, int]) -> str:
    return f"{size_px[1]}x{size_px[0]}"


def _scaled(recipe: Recipe, factor: float) -> tuple[int, ...]:
    """The network's widths, all narrower or wider."""
    return tuple(max(1, round(width * factor)) for width in recipe.model.widths)


def _device() -> tuple[str, str]:
    if torch.cuda.is_available():
        return "cuda", torch.cuda.get_device_name()
    if torch.backends.mps.is_available():
        return "mps", "an Apple GPU is there"
    return "cpu", f"no GPU; {torch.get_num_threads()} threads"


def _precision(device: str) -> tuple[str, str]:
    if device == "cuda":
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
        return ("bfloat16", "the GPU computes it natively") if supported else ("float32", "this GPU has no bfloat16")
    if device == "mps":
        return "float32", "bfloat16 is not used on Apple GPUs"
    flags = _processor_flags()
    fast = flags & {"avx512_bf16", "amx_bf16"}
    if fast:
        return "bfloat16", f"the processor has {sorted(fast)[0]}"
    return "float32", "the processor has neither avx512_bf16 nor amx_bf16; emulated bfloat16 is slower"


def _processor_flags() -> set[str]:
    """What the processor can do, as Linux names it; empty where it does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return set(next((line.split(":", 1)[1] for line in lines if line.startswith("flags")), "").split())


def _pixels_in(recipe: Recipe, minutes: float, on_cpu: bool) -> tuple[float, str]:
    """How many pixels a training step can look at in the time, from a measurement, and that measurement in words."""
    size_px = recipe.data.size_px if "data.size_px" in recipe.chosen() else ((96, 96) if on_cpu else (256, 256))
    rate = _measure_rate(recipe.replace({"data.size_px": size_px}))
    return 0.85 * minutes * 60 * rate * math.prod(size_px), f"{rate:.0f} images/s of {_spell(size_px)} measured, {minutes:g} minutes given"


def _measure_rate(recipe: Recipe) -> float:
    """Images per second of a training step on random pixels: the best of three after one to warm up."""
    settings = recipe.train
    state = begin(build(recipe.model, recipe.data.channels, 1), settings)
    shape = settings.batch_size, recipe.data.channels, *recipe.data.size_px
    images = torch.zeros(shape, device=settings.device).contiguous(memory_format=torch.channels_last)
    masks = torch.zeros((shape[0], *recipe.data.size_px), dtype=torch.uint8, device=settings.device)
    seconds = []
    for _ in range(4):
        began = time.perf_counter()
        with autocast(settings):
            logits = state.network(images)
        loss = LOSSES[settings.loss](logits.float(), masks)
        loss.backward()  # type: ignore[no-untyped-call]
        float(loss.detach())
        seconds.append(time.perf_counter() - began)
    return settings.batch_size / min(seconds[1:])
