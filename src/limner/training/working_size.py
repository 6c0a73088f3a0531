"""The rule that decides the size of the network's input, from the resize ceiling and the budget."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from limner.data.sample_info import SampleInfo
from limner.plurals import count_noun
from limner.recipe import ResizeMode
from limner.training.expected_dice import expected_dice
from limner.training.plan_context import Choice, TimedContext, spell_size

SIDES_PX = (64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024)
"""Sizes that are tried have the area of these squares and the shape of the images."""
SIZE_MULTIPLE = 16
CPU_TILE_PX, GPU_TILE_PX = 128, 256
MIN_TILES = 2
"""An image has so many tiles at least where tiles are worth it."""
MAX_SHAPE_RATIO = 1.5
"""Stretching hides what shapes tell. So it is not done where the widest tenth of the images is
wider than the narrowest tenth by this factor.
"""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A way to bring images to the network, and what is expected of it."""

    resize_mode: ResizeMode
    size_px: tuple[int, int]
    shown: float
    """Canvases that the network is shown in all."""
    ceiling: Mapping[str, float]
    """The best mean Dice of each class; empty for tiles, which lose nothing."""
    expected: float
    """From `expected_dice`."""


def working_size(context: TimedContext) -> Iterator[Choice]:
    """Choose how images are resized, and to which size: the one that is expected to do best."""
    explicit, samples = context.explicit_keys, context.samples
    if "data.resize_mode" in explicit:
        resize_mode, reason = context.recipe.data.resize_mode, "set by you"
    else:
        resize_mode, reason = _choose_resize_mode(samples)
    resize = Choice("data.resize_mode", resize_mode, reason)
    if resize_mode == "tile":
        yield Choice("data.size_px", _tile_size(context), "a tile that this machine trains well")
        yield resize
    elif "data.size_px" in explicit:
        yield resize
    else:
        yield from _best_size(context, resize_mode, resize)


def _choose_resize_mode(samples: Sequence[SampleInfo]) -> tuple[ResizeMode, str]:
    """Stretch or pad, and the reason."""
    ratios = [sample.size_px[1] / sample.size_px[0] for sample in samples]
    narrow, wide = np.percentile(ratios, (10, 90))
    if wide > MAX_SHAPE_RATIO * narrow:
        reason = f"the images' shapes differ, from {narrow:.2f} to {wide:.2f} times as wide as high"
        return "letterbox", reason
    return "resize", "the images have much the same shape"


def _best_size(context: TimedContext, resize_mode: ResizeMode, resize: Choice) -> Iterator[Choice]:
    """Weigh what a size loses of the masks against how many images it shows in the time."""
    candidates = _resized_candidates(context, resize_mode)
    best = max(candidates, key=lambda candidate: candidate.expected)
    tile = None if "data.resize_mode" in context.explicit_keys else _tile_candidate(context)
    if tile is not None and tile.expected > best.expected:
        reason = (
            f"thin or small things: {_describe_limit(best.ceiling)} at "
            f"{spell_size(best.size_px)}, so tiles at the images' own size are cut"
        )
        yield Choice("data.resize_mode", "tile", reason)
        reason = f"a tile that this machine trains well; about {tile.shown:,.0f} are shown"
        yield Choice("data.size_px", tile.size_px, reason)
        return
    yield resize
    reason = (
        f"expected to do best of {count_noun(len(candidates), 'size')}: about "
        f"{best.shown:,.0f} images are shown, and {_describe_limit(best.ceiling)}"
    )
    yield Choice("data.size_px", best.size_px, reason)


def _resized_candidates(context: TimedContext, resize_mode: ResizeMode) -> list[_Candidate]:
    """The sizes from the smallest on, until none that is larger can be the best."""
    candidates: list[_Candidate] = []
    best = -math.inf
    for size_px in candidate_sizes(context.samples):
        shown = context.budget.pixels / math.prod(size_px)
        # A larger size shows fewer images still
        if _expected(context, 1.0, shown) < best:
            break
        ceiling = context.ceiling(size_px, resize_mode)
        mean = float(np.mean([*ceiling.values()])) if ceiling else 1.0
        expected = _expected(context, mean, shown)
        candidates.append(_Candidate(resize_mode, size_px, shown, ceiling, expected))
        best = max(best, expected)
    return candidates


def _tile_candidate(context: TimedContext) -> _Candidate | None:
    """Tiles at the images' own size; None where an image is hardly larger than one."""
    size_px = _tile_size(context)
    largest = max(math.prod(sample.size_px) for sample in context.samples)
    if largest < MIN_TILES * math.prod(size_px):
        return None
    shown = context.budget.pixels / math.prod(size_px)
    return _Candidate("tile", size_px, shown, {}, _expected(context, 1.0, shown, tiles=True))


def _expected(context: TimedContext, ceiling: float, shown: float, *, tiles: bool = False) -> float:
    return expected_dice(
        ceiling,
        shown,
        pretrained=bool(context.recipe.model.encoder),
        binary=context.labels.binary,
        tiles=tiles,
    )


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


def _tile_size(context: TimedContext) -> tuple[int, int]:
    """A square tile, no larger than the largest height and width of the images."""
    largest = CPU_TILE_PX if context.on_cpu else GPU_TILE_PX
    sides = (max(sample.size_px[axis] for sample in context.samples) for axis in (0, 1))
    height, width = (
        min(largest, math.ceil(side / SIZE_MULTIPLE) * SIZE_MULTIPLE) for side in sides
    )
    return height, width


def _describe_limit(ceiling: Mapping[str, float]) -> str:
    """What a size costs, in words: the class that it limits most."""
    if not ceiling:
        return "no mask has a class that could be lost"
    name = min(ceiling, key=lambda name: ceiling[name])
    class_name = f" ({name})" if len(ceiling) > 1 else ""
    return f"no model can pass a Dice of {ceiling[name]:.3f}{class_name}"
