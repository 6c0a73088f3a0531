"""Findings about specks: single pixels of a class that no pixel around them has."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, UInt
from numpy import ndarray

from limner.data.findings import Finding, file_finding
from limner.data.parallel import map_in_order
from limner.data.sample import Sample
from limner.data.sample_info import SampleInfo
from limner.data.value_histogram import class_shares
from limner.labels import Labels

SPECK_SHARE = 0.05
"""Specks, as a share of the pixels that do not have the mask's commonest class. Drawings by hand
reach 0.01.
"""


def speck_findings(
    infos: Sequence[SampleInfo], samples: Mapping[str, Sample], labels: Labels | None
) -> Iterator[Finding]:
    """Report masks with many specks, counted after the values became classes.

    A speck of a class is also one of a value. So only masks with many of the latter are read again,
    and only where values share a class, as the shades of a smooth border do.

    Args:
        infos: What is known of each readable sample.
        samples: All samples, by id.
        labels: The coding of the masks; None where it is not certain. Then values are counted.
    """
    suspects = [info for info in infos if info.value_specks > _most_specks(info, labels)]
    for info, specks in zip(
        suspects,
        map_in_order(lambda info: _class_specks(info, samples[info.id], labels), suspects),
        strict=True,
    ):
        if specks > _most_specks(info, labels):
            message = (
                f"has {specks} single pixels unlike all around them. Was it drawn by a threshold, "
                "or resized by interpolation? Smooth it."
            )
            yield file_finding("specks", "warning", samples[info.id].mask, message, info.id)


def count_specks(values: UInt[ndarray, "h w"], void: Bool[ndarray, "h w"] | None = None) -> int:
    """Count the pixels that are unlike all eight around them.

    Those at the border and those without data are left out.
    """
    height, width = values.shape
    if min(height, width) < 3:
        return 0
    isolated = np.ones((height - 2, width - 2), np.bool_)
    for y, x in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2)):
        isolated &= values[1:-1, 1:-1] != values[y : y + height - 2, x : x + width - 2]
    if void is not None:
        isolated &= ~void[1:-1, 1:-1]
    return int(isolated.sum())


def _shares(info: SampleInfo, labels: Labels | None) -> Mapping[int, float]:
    return class_shares(labels, info.mask) if labels else info.mask.shares


def _most_specks(info: SampleInfo, labels: Labels | None) -> float:
    """How many specks are usual in a mask of this size and content."""
    height, width = info.size_px
    return SPECK_SHARE * (1 - max(_shares(info, labels).values(), default=1.0)) * height * width


def _class_specks(info: SampleInfo, sample: Sample, labels: Labels | None) -> int:
    if labels is None or len(_shares(info, labels)) == len(info.mask.shares):
        return info.value_specks
    return count_specks(sample.class_index(labels))
