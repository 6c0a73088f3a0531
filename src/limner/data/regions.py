"""Large images, such as whole slides, as one sample for each region that holds annotations."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from limner.data.annotation_mask import AnnotationMask
from limner.data.findings import Finding
from limner.data.large_images import open_same_image
from limner.data.region_masks import read_mask_regions
from limner.data.sample import Sample
from limner.data.united_mask import UnitedMask
from limner.data.views import Box
from limner.errors import LimnerError
from limner.labels import VOID
from limner.plurals import count_noun

REGION_PX = 2048
"""The longest side of a region."""
Mask = Path | UnitedMask | AnnotationMask


def split_large_images(
    samples: Sequence[Sample], large: Set[Path]
) -> tuple[list[Sample], list[Finding]]:
    """Give the regions of large images as samples of their own; an image is a group.

    Where annotations are drawn, those regions are taken that some reach into: what nobody
    annotated may hold anything. A mask as a file says of every pixel what it is, so that as many
    regions without an object are taken, spread over the image. The regions of the only image of a
    set are no group, since nothing could be held out then.

    Args:
        samples: All of the set.
        large: The files whose images are read part by part.
    """
    split: list[Sample] = []
    findings: list[Finding] = []
    is_only = len(samples) == 1
    for sample in samples:
        if sample.image not in large:
            split.append(sample)
            continue
        try:
            regions = _regions_of(sample)
        except LimnerError as error:
            findings.append(
                Finding("unreadable-mask", "error", str(sample.mask), str(error), (sample.id,))
            )
            regions = None
        if regions is None:
            split.append(sample)
            continue
        group = None if is_only else sample.group or sample.id
        taken = [
            replace(
                sample,
                id=f"{sample.id}@x{box.left}y{box.top}",
                group=group,
                region=box,
                mask=mask,
            )
            for box, mask in regions.taken
        ]
        split += taken
        ids = tuple(each.id for each in taken[:2])
        findings.append(_regions_finding(sample, regions, ids, is_only=is_only))
    return split, findings


@dataclass(frozen=True, slots=True)
class _Regions:
    """The regions of an image that are taken, with their masks."""

    size_px: tuple[int, int]
    taken: Sequence[tuple[Box, Mask]]
    total: int
    blank: int = 0
    """How many of those that are taken hold no object."""


def _regions_of(sample: Sample) -> _Regions | None:
    """Find the regions; None where the image is not read part by part, which its reader reports.

    Raises:
        LimnerError: The mask cannot be read, or has another size.
    """
    try:
        image = open_same_image(sample.image)
    except LimnerError:
        return None
    if image is None:
        return None
    boxes = _grid(image.size_px)
    if isinstance(sample.mask, AnnotationMask):
        return _annotated_regions(sample, sample.mask, image.size_px, boxes)
    read, mask_px = read_mask_regions(sample.mask)
    if mask_px != image.size_px:
        (mask_height, mask_width), (height, width) = mask_px, image.size_px
        raise LimnerError(
            f"{sample.mask} is {mask_width}x{mask_height} but its image is {width}x{height}. Masks "
            "must have their image's size: export this mask again."
        )
    holds = np.array([bool(read(box).values.any()) for box in boxes])
    blank = np.flatnonzero(~holds)
    wanted = min(len(blank), max(1, int(holds.sum())))
    spread = np.unique(np.linspace(0, len(blank) - 1, wanted).round().astype(int))
    taken = np.sort(np.concatenate([np.flatnonzero(holds), blank[spread]])).tolist()
    return _Regions(
        image.size_px, [(boxes[at], sample.mask) for at in taken], len(boxes), len(spread)
    )


def _annotated_regions(
    sample: Sample, mask: AnnotationMask, size_px: tuple[int, int], boxes: Sequence[Box]
) -> _Regions:
    masks = mask.within(boxes)
    if mask.is_cut:
        holds = [bool(part.class_indices() - {VOID}) for part in masks]
    else:
        values = mask.read(sample.image).values
        holds = [bool(((part := box.crop(values)) > 0)[part != VOID].any()) for box in boxes]
    pairs = zip(boxes, masks, holds, strict=True)
    return _Regions(size_px, [(box, part) for box, part, kept in pairs if kept], len(boxes))


def _grid(size_px: tuple[int, int]) -> list[Box]:
    """Divide an image into regions of about the same size."""
    rows, columns = (
        np.linspace(0, side, -(-side // REGION_PX) + 1).round().astype(int).tolist()
        for side in size_px
    )
    return [
        Box.from_edges(top, left, bottom, right)
        for top, bottom in pairwise(rows)
        for left, right in pairwise(columns)
    ]


def _regions_finding(
    sample: Sample, regions: _Regions, ids: tuple[str, ...], *, is_only: bool
) -> Finding:
    height, width = regions.size_px
    left_out = regions.total - len(regions.taken)
    where = (
        "nothing is annotated in the rest"
        if isinstance(sample.mask, AnnotationMask)
        else f"{count_noun(regions.blank, 'of these holds', 'of these hold')} no object"
    )
    together = (
        " Regions on both sides of the split are neighbours, so that scores flatter: add images."
        if is_only
        else " They stay in one split."
    )
    message = (
        f"{sample.image} has {width}x{height} px and is taken in regions of up to {REGION_PX} px: "
        f"{len(regions.taken)} of {regions.total}, and {left_out} are left out ({where}).{together}"
    )
    return Finding("regions", "note", str(sample.image), message, ids)
