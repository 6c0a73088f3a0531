"""Findings about masks that number objects, by their values and some of their pixels."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from jaxtyping import UInt
from numpy import ndarray

from limner.data.check_masks import count_classes, mostly_foreground
from limner.data.findings import Finding
from limner.data.grey_coding import MAX_CLASSES
from limner.data.mask_polarity import swap_binary
from limner.data.object_numbers import (
    WHOLE_SHARE,
    both_readings,
    count_unbroken_numbers,
    count_whole_numbers,
    judge_numbers,
    may_number_objects,
    object_numbers,
)
from limner.data.sample import Sample
from limner.data.sample_info import SampleInfo
from limner.errors import LimnerError
from limner.labels import Labels, labels_lines

LOOKED_AT = 24
"""So many masks are read again, spread over the set."""


def object_findings(
    infos: Sequence[SampleInfo], samples: Mapping[str, Sample], labels: Labels
) -> Iterator[Finding]:
    """Warn where class numbers may as well be those of objects, or of which none is a background.

    Args:
        infos: What is known of each readable sample.
        samples: All samples, by id.
        labels: The coding as it was concluded from the values alone.

    Raises LimnerError where the numbers seem to be those of objects.
    """
    masks = [info.mask for info in infos]
    if labels.coloured or any(mask.lossy or mask.white_is_zero for mask in masks):
        return
    if labels.binary:
        yield from _no_background(infos, labels)
        return
    numbers = object_numbers(masks)
    if not may_number_objects(numbers):
        return
    if _share(infos, samples, count_unbroken_numbers) < WHOLE_SHARE:
        return
    verdict = judge_numbers(numbers, _share(infos, samples, count_whole_numbers))
    if verdict == "classes":
        return
    example = max(infos, key=lambda info: len(info.mask.shares))
    counts = sorted({len(mask.shares) for mask in numbers})
    cause = (
        f"the masks (for instance {example.mask.file}) hold numbers from 1 on, {counts[0]} to "
        f"{counts[-1]} in a mask, each of one part: they"
    )
    if verdict == "objects":
        raise LimnerError(f"{cause} seem to number objects one by one. {both_readings(masks)}")
    message = f"{cause} are read as classes, and may number objects. {both_readings(masks)}"
    yield Finding("numbered-objects", "warning", "", message, (example.id,))


def _no_background(infos: Sequence[SampleInfo], labels: Labels) -> Iterator[Finding]:
    """Warn where 1 and 2, or other small numbers, are the only values."""
    first, second = labels.values[0][0][0], labels.values[1][0][0]
    if first > 0 and second < MAX_CLASSES:
        both = labels_lines(replace(labels, names=(f"class {first}", f"class {second}")))
        message = (
            f"the masks hold {first} and {second} and never 0. {first} is read as the background. "
        )
        # Lines that make most of every mask the foreground would be doubted once they are pasted
        if mostly_foreground(count_classes(infos, labels)):
            message += (
                f"{second} covers more of the masks, and is likelier to be it. Then say so in a "
                f"labels.toml:\n{labels_lines(swap_binary(labels))}\n  Where both are classes to "
                f"score, name both:\n{both}"
            )
        else:
            message += f"Where both are classes to score, say so in a labels.toml:\n{both}"
        yield Finding("no-background", "warning", "", message)


def _share(
    infos: Sequence[SampleInfo],
    samples: Mapping[str, Sample],
    count: Callable[[UInt[ndarray, "h w"], Sequence[int]], int],
) -> float:
    """The share of the numbers that is counted, in some of the masks."""
    several = [info for info in infos if len(info.mask.shares) > 2] or list(infos)
    step = -(-len(several) // LOOKED_AT)
    counted = total = 0
    for info in several[::step]:
        numbers = [number for mask in object_numbers([info.mask]) for number in mask.shares]
        counted += count(samples[info.id].read_mask().values, numbers)
        total += len(numbers)
    return counted / max(1, total)
