"""Findings about one mask that stands for many images, as the field of view of a camera does."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from limner.data.findings import Finding
from limner.data.sample import Sample
from limner.data.sample_info import SampleInfo

FEWEST = 4
"""So many different images with one mask are no coincidence."""
SAME_SHARE = 0.5
"""Of the masks that mark something."""
COMPARED = 12
"""So many masks are read again, where all mark nearly the same share of their pixels."""
MOST_DIFFERENCE = 0.05
"""Pixels in which two masks differ, as a share of those without the commonest value."""


def same_mask_findings(
    infos: Sequence[SampleInfo], samples: Mapping[str, Sample], copies: Mapping[str, str]
) -> Iterator[Finding]:
    """Report a mask that many images share, exactly or nearly.

    Args:
        infos: What is known of each readable sample.
        samples: All samples, by id.
        copies: For each id one that all copies of its image share.
    """
    # An empty mask and a full one have findings of their own
    marking = [info for info in infos if len(info.mask.shares) > 1]
    groups: dict[tuple[bytes, tuple[int, int]], list[SampleInfo]] = defaultdict(list)
    for info in marking:
        groups[info.mask_sha256, info.size_px].append(info)
    largest = max(groups.values(), key=len, default=[])
    if len(largest) < SAME_SHARE * len(marking):
        largest = marking if _are_nearly_same(marking, samples) else []
    if len({copies[info.id] for info in largest}) < FEWEST:
        return
    number = "all" if len(largest) == len(infos) else f"{len(largest)} of {len(infos)}"
    message = (
        f"{number} masks are the same, or nearly (for instance {largest[0].mask.file}), though "
        "their images differ. Is it the field of view, such as the round opening of a lens? Then "
        "the masks of the objects are elsewhere: put them in this place."
    )
    ids = tuple(info.id for info in largest[:3])
    yield Finding("same-mask", "warning", largest[0].mask.file, message, ids)


def _are_nearly_same(marking: Sequence[SampleInfo], samples: Mapping[str, Sample]) -> bool:
    """Whether some of the masks, spread over the set, differ in few pixels."""
    marked = [_marked_share(info) for info in marking]
    sizes = {info.size_px for info in marking}
    if (
        len(marking) < FEWEST
        or len(sizes) > 1
        or max(marked) - min(marked) > (MOST_DIFFERENCE * min(marked))
    ):
        return False
    first, *others = (
        samples[info.id].read_mask().values for info in marking[:: -(-len(marking) // COMPARED)]
    )
    most = MOST_DIFFERENCE * min(marked) * first.size
    return all(int((first != other).sum()) <= most for other in others)


def _marked_share(info: SampleInfo) -> float:
    return 1 - max(info.mask.shares.values())
