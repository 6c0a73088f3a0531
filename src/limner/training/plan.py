"""The recipe that data and machine ask for, each choice with its reason."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from limner.data.health import Facts
from limner.labels import Labels
from limner.losses import LOSSES
from limner.model.presets import build
from limner.recipe import Recipe
from limner.training.loop import autocast, begin

CPU_PIXELS, GPU_PIXELS = 96 * 96, 256 * 256
MULTICLASS_FACTOR = 2
"""Classes that are thin or far away need more pixels than one lesion does."""
CPU_IMAGES, GPU_IMAGES = 24_000, 120_000
"""Training images shown in all, where no time is given: about 12 minutes on two cores."""
LEAST_IMAGES = 16_000
"""Shown fewer, a small fast network beats a large one (isic2018 in 12 minutes: 96 px 0.881 mean Dice, 128 px 0.848)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The complete recipe, and why each value was chosen; a key without a reason is a plain default."""

    recipe: Recipe
    reasons: dict[str, str]


def plan(recipe: Recipe, facts: Sequence[Facts], train_count: int, labels: Labels) -> Plan:
    """Choose what the recipe leaves open. What the user set is kept, and the reason says so."""
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
    choose(
        "train.batch_size",
        min(16, max(2, train_count // 4)),
        f"{train_count} training images" + (", and a processor gains nothing from more" if on_cpu else ""),
    )
    choose("model.width", 16 if on_cpu else 32, "a quarter of the arithmetic of 32, for a processor" if on_cpu else "the tutorial's own width")
    pixels = (CPU_PIXELS if on_cpu else GPU_PIXELS) * (1 if labels.binary else MULTICLASS_FACTOR)
    size, why = _size(facts, pixels)
    choose("data.size_px", size, why)
    if recipe.train.minutes is not None:
        _fit_time(recipe, recipe.train.minutes, train_count, choose)
    else:
        shown = CPU_IMAGES if on_cpu else GPU_IMAGES
        epochs = min(max(math.ceil(shown / train_count), 20), 300)
        choose("train.epochs", epochs, f"{train_count} images, shown about {epochs * train_count:,} times in all")
    choose("train.patience", max(10, recipe.train.epochs // 2), "half of the schedule, so that the decay is seldom cut")
    if not labels.binary:
        choose("train.class_weights", "balanced", "several classes: the rare and the thin count too")
        choose("augment.rotate_degrees", 15.0, "several classes: up and down may matter")
        choose("augment.upside_down", 0.0, "several classes: up and down may matter")
    return Plan(recipe, reasons)


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


def _size(facts: Sequence[Facts], pixels: int) -> tuple[tuple[int, int], str]:
    """Height and width with the data's median shape, about `pixels` in all, in multiples of 16, no larger than the images."""
    height, width = (float(np.median([fact.size_px[axis] for fact in facts])) for axis in (0, 1))
    factor = min(1.0, math.sqrt(pixels / (height * width)))
    size = (max(16, round(height * factor / 16) * 16), max(16, round(width * factor / 16) * 16))
    return size, f"half of the images are at least {width:.0f}x{height:.0f}; about {round(math.sqrt(pixels))}² pixels are what this machine trains well"


def _fit_time(recipe: Recipe, minutes: float, train_count: int, choose: Callable[[str, object, str], None]) -> None:
    rate = _measure_rate(recipe)
    shown = 0.85 * minutes * 60 * rate
    measured = f"{rate:.0f} images/s measured, {minutes:g} minutes given"
    if shown < LEAST_IMAGES / 4 and recipe.model.width > 8:
        choose("model.width", 8, f"{measured}: a narrower network sees more images")
        shown *= 2.5
    elif shown > 4 * LEAST_IMAGES and recipe.train.device == "cpu":
        choose("model.width", 24, f"{measured}: enough for a wider network")
        shown /= 2
    epochs = max(1, round(shown / train_count))
    choose("train.epochs", epochs, f"{measured}; the schedule follows the clock")


def _measure_rate(recipe: Recipe) -> float:
    """Images per second of a training step on random pixels: the best of three after one to warm up."""
    settings = recipe.train
    state = begin(build(recipe.model, channels=3, classes=1), settings)
    shape = settings.batch_size, 3, *recipe.data.size_px
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
