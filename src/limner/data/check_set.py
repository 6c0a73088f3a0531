"""Findings about the dataset as a whole: how many images, of which sizes, channels and groups."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from limner.data.findings import Finding, file_finding
from limner.data.sample import Sample
from limner.data.sample_info import SampleInfo
from limner.plurals import count_noun

FEW_IMAGES = 10
MOST_OF_8_BITS = 255
MIXED_AREA = 64
"""Images whose areas differ by more than this factor are seldom of one kind."""


def dataset_findings(
    infos: Sequence[SampleInfo], samples: Mapping[str, Sample]
) -> Iterator[Finding]:
    """Report what is odd about the readable samples together. `samples` are all, by id."""
    yield from _few_images(infos)
    yield from _mixed_sizes(infos, samples)
    yield from _differing_channels(infos, samples)
    yield from _ungrouped(samples)
    yield from _shallow_depth(infos, samples)


def _few_images(infos: Sequence[SampleInfo]) -> Iterator[Finding]:
    if len(infos) < FEW_IMAGES:
        message = (
            f"there are {len(infos)} usable pairs. A model learned from so few is seldom of use, "
            "and its scores say little."
        )
        yield Finding("few-images", "warning", "", message)


def _mixed_sizes(infos: Sequence[SampleInfo], samples: Mapping[str, Sample]) -> Iterator[Finding]:
    areas = sorted((info.size_px[0] * info.size_px[1], info.id) for info in infos)
    (smallest_area, smallest), (largest_area, largest) = areas[0], areas[-1]
    if largest_area > MIXED_AREA * smallest_area:
        message = (
            f"the images are of very different sizes, from {samples[smallest].image} to "
            f"{samples[largest].image}. Are thumbnails or overviews among them?"
        )
        yield Finding("mixed-sizes", "warning", "", message, (smallest, largest))


def _differing_channels(
    infos: Sequence[SampleInfo], samples: Mapping[str, Sample]
) -> Iterator[Finding]:
    commonest, _ = Counter(info.channels for info in infos).most_common(1)[0]
    for info in infos:
        if info.channels != commonest:
            message = (
                f"has {info.channels} channels, and most images have {commonest}. Export it with "
                "the same, or move it away."
            )
            yield file_finding("channels-differ", "error", samples[info.id].image, message, info.id)


def _ungrouped(samples: Mapping[str, Sample]) -> Iterator[Finding]:
    # The pages of a stack are a group by themselves, named as the stack
    grouped = [
        sample
        for sample in samples.values()
        if sample.group and sample.group != sample.id.partition("#")[0]
    ]
    ungrouped = [sample for sample in samples.values() if not sample.group]
    if grouped and ungrouped:
        first = ungrouped[0]
        message = (
            f"{count_noun(len(ungrouped), 'image is', 'images are')} in no group, such as "
            f"{first.image}, though "
            f"{len(grouped)} others are. They are split as if each were alone."
        )
        yield Finding("ungrouped", "note", str(first.image), message, (first.id,))


def _shallow_depth(infos: Sequence[SampleInfo], samples: Mapping[str, Sample]) -> Iterator[Finding]:
    files = [(info, info.image_info) for info in infos if info.image_info]
    shallow = [
        (info, file)
        for info, file in files
        if file.bits == 16 and 0 < file.largest <= MOST_OF_8_BITS
    ]
    if shallow:
        first = samples[shallow[0][0].id].image
        largest = max(file.largest for _, file in shallow)
        message = (
            f"{count_noun(len(shallow), 'image has', 'images have')} 16 bits but no value above "
            f"{largest:.0f}, such as "
            f"{first}. They were 8 bits once: are these the files you meant?"
        )
        ids = tuple(info.id for info, _ in shallow)
        yield Finding("shallow-depth", "warning", str(first), message, ids)
