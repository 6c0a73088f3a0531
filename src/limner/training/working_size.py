"""The rule that decides the size of the network's input, from the resize ceiling and the budget."""

import bisect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

import numpy as np

from limner.data.sample_info import SampleInfo
from limner.recipe import ResizeMode
from limner.training.plan_context import Choice, TimedContext, spell_size

MIN_SHOWN = 16_000
"""Images and tiles shown in all, at least. Shown fewer, a small size beats a large one (isic2018 in
12 minutes: 96 px 0.881 mean Dice, 128 px 0.848).
"""
MIN_CEILING = 0.99
"""A size that limits every network to a lower Dice is too small."""
SIDES_PX = (64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024)
"""Sizes that are tried have the area of these squares and the shape of the images."""
SIZE_MULTIPLE = 16
CPU_TILE_PX, GPU_TILE_PX = 128, 256
MIN_TILE_EPOCHS = 20
"""Tiles are worth it where the budget shows each of them so many times."""
MAX_SHAPE_RATIO = 1.5
"""Stretching hides what shapes tell. So it is not done where the widest tenth of the images is
wider than the narrowest tenth by this factor.
"""


def working_size(context: TimedContext) -> Iterator[Choice]:
    """Choose how images are resized, and to which size.

    That is the smallest size that loses nothing, tiles where every size loses something, or the
    largest size that the budget allows.
    """
    explicit, samples = context.explicit_keys, context.samples
    if "data.resize_mode" in explicit:
        resize_mode, reason = context.recipe.data.resize_mode, "set by you"
    else:
        resize_mode, reason = _choose_resize_mode(samples)
    resize = Choice("data.resize_mode", resize_mode, reason)
    if resize_mode == "tile":
        yield _tile_size(samples, context.on_cpu)
        yield resize
    elif "data.size_px" in explicit:
        yield resize
    else:
        yield from _search_size(context, resize_mode, resize)


def _choose_resize_mode(samples: Sequence[SampleInfo]) -> tuple[ResizeMode, str]:
    """Stretch or pad, and the reason."""
    ratios = [sample.size_px[1] / sample.size_px[0] for sample in samples]
    narrow, wide = np.percentile(ratios, (10, 90))
    if wide > MAX_SHAPE_RATIO * narrow:
        reason = f"the images' shapes differ, from {narrow:.2f} to {wide:.2f} times as wide as high"
        return "letterbox", reason
    return "resize", "the images have much the same shape"


def _search_size(
    context: TimedContext, resize_mode: ResizeMode, resize: Choice
) -> Iterator[Choice]:
    """Compare the smallest size that loses nothing with the largest that the budget allows."""
    ceiling = cache(lambda size_px: context.ceiling(size_px, resize_mode))
    sizes, budget = candidate_sizes(context.samples), context.budget.pixels
    lossless = _smallest_lossless(sizes, ceiling)
    affordable = [size for size in sizes if math.prod(size) <= budget / MIN_SHOWN] or sizes[:1]
    native_pixels = sum(math.prod(sample.size_px) for sample in context.samples)
    if lossless in affordable:
        limit = _describe_limit(ceiling(lossless))
        yield resize
        yield Choice("data.size_px", lossless, f"the smallest that loses nothing: {limit}")
    elif lossless is None and native_pixels * MIN_TILE_EPOCHS <= budget:
        reason = (
            f"thin or small things are lost even at {spell_size(sizes[-1])} "
            f"({_describe_limit(ceiling(sizes[-1]))}), so tiles at the images' own size are cut"
        )
        yield Choice("data.resize_mode", "tile", reason)
        yield _tile_size(context.samples, context.on_cpu)
    else:
        largest = affordable[-1]
        if lossless:
            remedy, pixels = spell_size(lossless), math.prod(lossless) / math.prod(largest)
        else:
            remedy = "tiles at the images' own size (--set data.resize_mode=tile)"
            pixels = MIN_TILE_EPOCHS * native_pixels / budget
        reason = (
            f"the largest that the time allows. {_describe_limit(ceiling(largest))}; {remedy} "
            f"would lose nothing, and want about {max(pixels, 1.1):.1f} times the time"
        )
        yield resize
        yield Choice("data.size_px", largest, reason)


def _smallest_lossless(
    sizes: Sequence[tuple[int, int]], ceiling: Callable[[tuple[int, int]], Mapping[str, float]]
) -> tuple[int, int] | None:
    """The first size whose ceiling is high enough for every class; None where there is none."""
    # A larger size hardly ever has a lower ceiling, so a few sizes are looked at
    index = bisect.bisect_left(
        sizes, True, key=lambda size_px: min(ceiling(size_px).values(), default=1.0) >= MIN_CEILING
    )
    return sizes[index] if index < len(sizes) else None


def candidate_sizes(samples: Sequence[SampleInfo]) -> list[tuple[int, int]]:
    """Give the sizes that are tried, the smallest first.

    Their sides are multiples of 16 at the images' median aspect ratio. Their area is that of the
    largest image at most.
    """
    height, width = (
        float(np.median([sample.size_px[axis] for sample in samples])) for axis in (0, 1)
    )
    largest_side = math.sqrt(max(math.prod(sample.size_px) for sample in samples))
    factors = [min(largest_side, side) / math.sqrt(height * width) for side in SIDES_PX]
    sizes = {(_round_side(height * factor), _round_side(width * factor)) for factor in factors}
    return sorted(sizes, key=lambda size_px: (math.prod(size_px), size_px))


def _round_side(side: float) -> int:
    return max(SIZE_MULTIPLE, round(side / SIZE_MULTIPLE) * SIZE_MULTIPLE)


def _tile_size(samples: Sequence[SampleInfo], on_cpu: bool) -> Choice:
    """A square tile, no larger than the largest height and width of the images."""
    largest = CPU_TILE_PX if on_cpu else GPU_TILE_PX
    sides = (max(sample.size_px[axis] for sample in samples) for axis in (0, 1))
    height, width = (
        min(largest, math.ceil(side / SIZE_MULTIPLE) * SIZE_MULTIPLE) for side in sides
    )
    return Choice("data.size_px", (height, width), "a tile that this machine trains well")


def _describe_limit(ceiling: Mapping[str, float]) -> str:
    """What a size costs, in words: the class that it limits most."""
    if not ceiling:
        return "no mask has a class that could be lost"
    name = min(ceiling, key=lambda name: ceiling[name])
    class_name = f" ({name})" if len(ceiling) > 1 else ""
    return f"no model can pass a Dice of {ceiling[name]:.3f}{class_name}"
