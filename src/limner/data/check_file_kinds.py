"""Findings about how the files of a set hold their pixels: bands, kinds, nodata and the rest."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from limner.data.annotation_mask import AnnotationMask
from limner.data.findings import Finding, Severity
from limner.data.images import ImageInfo
from limner.data.sample import Sample
from limner.data.sample_info import SampleInfo
from limner.name_list import list_some
from limner.plurals import count_noun

SHOWN = 3
"""So many files a finding names."""
FEW_VALUES = 2
"""Masks of fewer values have lost a class to nodata."""
MOSTLY_VOID = 0.5
"""A larger share of void in all masks may be the background."""


def agree_on_bands(
    infos: Sequence[SampleInfo], samples: Mapping[str, Sample]
) -> tuple[list[SampleInfo], list[Finding]]:
    """Decide for the whole set whether a last band that may be a transparency is kept.

    It is kept in all images where it varies like an image in any, and all images have it.

    Returns:
        The samples, with as many channels as are then read, and what was decided.
    """
    doubtful = [info for info in infos if info.image_info and info.image_info.extra_band]
    findings: list[Finding] = []
    channels = {info.id: info.channels for info in infos}
    for bands in sorted({_bands(info) for info in doubtful}):
        alike = [info for info in infos if _bands(info) == bands]
        # Without a doubt it is data too
        of_data = [
            info
            for info in alike
            if info.image_info and info.image_info.extra_band not in {"opaque", "transparency"}
        ]
        is_kept = bool(of_data) and len(alike) == len(infos)
        kept = bands if is_kept else 3 if bands == 2 else bands - 1
        channels |= dict.fromkeys((info.id for info in alike), kept)
        findings.append(_band_finding(bands, is_kept, alike, of_data, samples))
    return [replace(info, channels=channels[info.id]) for info in infos], findings


def _bands(info: SampleInfo) -> int:
    stored = info.image_info.stored if info.image_info else None
    return stored.bands if stored else 0


def _band_finding(
    bands: int,
    is_kept: bool,
    alike: Sequence[SampleInfo],
    of_data: Sequence[SampleInfo],
    samples: Mapping[str, Sample],
) -> Finding:
    example = samples[(of_data or alike)[0].id].image
    if is_kept:
        decision = (
            f"In {len(of_data)} of them it varies like an image (for instance {example}), so it is "
            f"kept in all: the images have {bands} channels."
        )
    elif of_data:
        decision = (
            f"In {len(of_data)} of them it varies like an image (for instance {example}), but "
            "other images lack it, so it is left out. Export all images with it to keep it."
        )
    else:
        decision = f"It is opaque or a transparency (for instance {example}), and is left out."
    message = (
        f"{count_noun(len(alike), 'image has', 'images have')} {bands} bands, of which the last "
        "may be a transparency. "
        f"{decision}"
    )
    return Finding("extra-band", "note", "", message, tuple(info.id for info in alike[:SHOWN]))


def file_kind_findings(
    infos: Sequence[SampleInfo], samples: Mapping[str, Sample]
) -> Iterator[Finding]:
    """Report what some files say otherwise than most, and what is not read of them."""
    images = [(info, info.image_info) for info in infos if info.image_info]
    masks = [
        (info, info.mask_info)
        for info in infos
        if info.mask_info and not isinstance(samples[info.id].mask, AnnotationMask)
    ]
    for what, files in (("images", images), ("masks", masks)):

        def name(info: SampleInfo, what: str = what) -> str:
            sample = samples[info.id]
            return str(sample.image if what == "images" else sample.mask)

        yield from _differing_kinds(what, files, name)
        yield from _parts_left_out(what, files, name)
    yield from _images_without_data(images, samples)
    yield from _masks_without_data(masks)


Files = Sequence[tuple[SampleInfo, ImageInfo]]


def _differing_kinds(
    what: str, files: Files, name: Callable[[SampleInfo], str]
) -> Iterator[Finding]:
    """Report TIFFs that hold their pixels otherwise than most of the set's TIFFs."""
    kinds = [(info, file.stored) for info, file in files if file.stored]
    for question in ("colours", "bands", "depth"):
        answers = Counter(getattr(stored, question) for _, stored in kinds)
        if len(answers) < 2:
            continue
        commonest, count = answers.most_common(1)[0]
        others = [
            (info, getattr(stored, question))
            for info, stored in kinds
            if getattr(stored, question) != commonest
        ]
        listed = list_some([f"{name(info)}: {answer}" for info, answer in others], SHOWN)
        message = (
            f"{len(others)} {what} differ in their {question} from the other {count}, which have "
            f"{commonest} ({listed}). Were they made in another way? Export all alike."
        )
        ids = tuple(info.id for info, _ in others[:SHOWN])
        yield Finding(f"{what}-differ", "warning", name(others[0][0]), message, ids)


def _parts_left_out(
    what: str, files: Files, name: Callable[[SampleInfo], str]
) -> Iterator[Finding]:
    holders = [(info, file) for info, file in files if file.left_out]
    if holders:
        first, file = holders[0]
        message = (
            f"{len(holders)} {what} are files that hold more than is read, such as {name(first)}: "
            f"{', '.join(file.left_out)}. {_what_is_taken(file.left_out)}"
        )
        yield Finding("parts-left-out", "note", name(first), message, (first.id,))


def _what_is_taken(left_out: Sequence[str]) -> str:
    frames = all(part.endswith("frames") for part in left_out)
    return "The first frame is taken." if frames else "The largest is taken."


def _images_without_data(files: Files, samples: Mapping[str, Sample]) -> Iterator[Finding]:
    holders = [(info, file) for info, file in files if file.no_data_share > 0]
    if holders:
        first, file = max(holders, key=lambda holder: holder[1].no_data_share)
        message = (
            f"{count_noun(len(holders), 'image holds', 'images hold')} pixels without data, "
            "most of all "
            f"{samples[first.id].image} ({file.no_data_share:.1%}). They are nodata, NaN or what "
            "an internal mask leaves out: they are 0, and have no part in the contrast."
        )
        yield Finding("no-data", "note", str(samples[first.id].image), message, (first.id,))


def _masks_without_data(files: Files) -> Iterator[Finding]:
    holders = [info for info, file in files if info.mask.void_share > 0]
    if not holders:
        return
    first = max(holders, key=lambda info: info.mask.void_share)
    message = (
        f"{count_noun(len(holders), 'mask holds', 'masks hold')} pixels without data, most of "
        f"all {first.mask.file} "
        f"({first.mask.void_share:.1%}). They are nodata, NaN or what an internal mask leaves out: "
        "they are void, neither trained on nor scored."
    )
    values = {value for info, _ in files for value in info.mask.shares}
    share = sum(info.mask.void_share for info, _ in files) / len(files)
    severity: Severity = "note"
    if len(values) < FEW_VALUES or share > MOSTLY_VOID:
        severity = "warning"
        message += (
            " If they are the background, remove the nodata value (gdal_edit.py -unsetnodata "
            "FILE) or the internal mask."
        )
    yield Finding("no-data-in-masks", severity, first.mask.file, message, (first.id,))
