"""Findings about the masks, once it is known which value means which class."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from limner.data.check_set import FEW_IMAGES
from limner.data.findings import Finding, Severity, file_finding
from limner.data.mask_polarity import swap_binary
from limner.data.sample_info import SampleInfo
from limner.data.value_histogram import class_shares
from limner.labels import VOID, Labels, labels_lines
from limner.plurals import count_noun

RARE_SHARE = 1e-4
"""A class with a smaller share of all pixels is hard to learn."""
MOSTLY_SHARE = 0.6
"""A larger share of foreground may mean that masks are inverted."""


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """For each class index, `VOID` among them: its pixels in the set, and the samples with it."""

    pixels: Mapping[int, int]
    holders: Mapping[int, Sequence[SampleInfo]]
    total_pixels: int


def mask_findings(
    infos: Sequence[SampleInfo], labels: Labels, *, stated: bool = False
) -> Iterator[Finding]:
    """Report what is odd about the masks, now that it is known which values mean what.

    Args:
        infos: What is known of each readable sample.
        labels: The coding of the masks.
        stated: Whether a labels.toml states it.
    """
    for info in infos:
        yield from _one_mask(info, labels)
    yield from _lossy_masks(infos)
    counts = count_classes(infos, labels)
    yield from _mostly_foreground(counts, labels, stated=stated)
    for class_index in range(len(labels.names)):
        yield from _one_class(class_index, counts, labels, len(infos))


def count_classes(infos: Sequence[SampleInfo], labels: Labels) -> ClassCounts:
    """Count the pixels of each class over all masks, and gather the samples that have it."""
    pixels: Counter[int] = Counter()
    holders: dict[int, list[SampleInfo]] = defaultdict(list)
    for info in infos:
        for class_index, share in class_shares(labels, info.mask).items():
            pixels[class_index] += round(share * info.size_px[0] * info.size_px[1])
            holders[class_index].append(info)
    total = sum(info.size_px[0] * info.size_px[1] for info in infos)
    return ClassCounts(pixels, holders, total)


def _one_mask(info: SampleInfo, labels: Labels) -> Iterator[Finding]:
    shares = class_shares(labels, info.mask)
    foreground, void = shares.get(1, 0.0), shares.get(VOID, 0.0)
    if labels.binary and foreground == 0 and void < 1:
        message = "marks nothing. That is right only where the image shows nothing to find."
        yield file_finding("empty-mask", "warning", info.mask.file, message, info.id)
    if labels.binary and foreground == 1:
        message = "marks the whole image. Is it inverted?"
        yield file_finding("full-mask", "warning", info.mask.file, message, info.id)
    if void == 1:
        message = "is void everywhere, so nothing is learned from it."
        yield file_finding("void-mask", "warning", info.mask.file, message, info.id)


def _lossy_masks(infos: Sequence[SampleInfo]) -> Iterator[Finding]:
    if lossy := [info for info in infos if info.mask.lossy]:
        first = lossy[0]
        codecs = " or ".join(sorted({info.mask.lossy_codec for info in lossy}))
        message = (
            f"{count_noun(len(lossy), 'mask was', 'masks were')} saved as {codecs} (for "
            f"instance {first.mask.file}), so their "
            "borders are smeared, and are cut at the middle. Export them as PNG if you can."
        )
        yield Finding("lossy-mask", "warning", first.mask.file, message, (first.id,))


def mostly_foreground(counts: ClassCounts) -> bool:
    """Whether so much of a binary set is foreground that its masks may be inverted."""
    return counts.pixels.get(1, 0) > MOSTLY_SHARE * counts.total_pixels and 0 in counts.pixels


def _mostly_foreground(counts: ClassCounts, labels: Labels, *, stated: bool) -> Iterator[Finding]:
    if not labels.binary or not mostly_foreground(counts):
        return
    message = (
        f"the foreground ({labels.format_class(1)}) covers "
        f"{counts.pixels[1] / counts.total_pixels:.0%} of all pixels"
    )
    holder = counts.holders[1][0].id
    if stated:
        # Whoever pasted lines that were offered is not to be told the opposite
        message += ", as labels.toml states. If that is not meant, exchange the two values there."
        yield Finding("mostly-foreground", "note", "", message, (holder,))
        return
    message += (
        ". Are the masks inverted? Then say so in a labels.toml:\n"
        f"{labels_lines(swap_binary(labels))}"
    )
    yield Finding("mostly-foreground", "warning", "", message, (holder,))


def _one_class(
    class_index: int, counts: ClassCounts, labels: Labels, masks: int
) -> Iterator[Finding]:
    name, value = labels.names[class_index], labels.format_class(class_index)
    holders = counts.holders.get(class_index, ())
    pixels = counts.pixels.get(class_index, 0)
    if not holders:
        # Of a single class nothing can be learnt
        severity: Severity = "warning" if len(counts.pixels.keys() - {VOID}) > 1 else "error"
        message = (
            f"class {name} (pixel value {value}) is in no mask, and a model cannot learn it. Is "
            "its pixel value right?"
        )
        yield Finding("absent-class", severity, "", message)
    elif len(holders) == 1 and masks >= FEW_IMAGES:
        message = (
            f"is the only mask with class {name} (pixel value {value}). Is that value a slip? If "
            "not, add others: a random split trains on it, and no score tells how well."
        )
        yield file_finding("seen-once", "warning", holders[0].mask.file, message, holders[0].id)
    elif pixels < RARE_SHARE * counts.total_pixels:
        message = (
            f"class {name} has {pixels / counts.total_pixels:.1e} of all pixels. It is hard to "
            "learn: more of it, or larger crops, would help."
        )
        yield Finding("rare-class", "warning", "", message, tuple(info.id for info in holders[:3]))
