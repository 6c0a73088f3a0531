"""Every problem of a dataset as Findings, and the facts that the plan needs, from one pass over the
files.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt, UInt8
from numpy import ndarray

from limner.data.duplicates import DuplicatePair, connected_components, near_duplicates, thumbnail
from limner.data.images import FORMATS, ImageInfo, MaskPixels, exif_orientation, read_with_info
from limner.data.parallel import Progress, map_in_order, with_progress
from limner.data.sample import AnnotationMask, Sample
from limner.data.scan import Dataset
from limner.errors import LimnerError
from limner.labels import VOID, Labels, ValueHistogram, detect_label_coding

Severity = Literal["error", "warning", "note"]
"""An error stops training, a warning is worth a look, a note says what limner takes care of by
itself.
"""
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
TINY_PX, HUGE_PX = 16, 100_000_000
INSPECTED_PX = (256, 256)
"""A JPEG is decoded at a half, a quarter or an eighth where it stays this large: all of it is read,
and all that is looked for is seen.
"""
FEW_IMAGES = 10
MIXED_AREA = 64
"""Images whose areas differ by more than this factor are seldom one kind of picture."""
RARE_SHARE = 1e-4
MOSTLY = 0.6
SPECK_SHARE = 0.05
"""Single pixels unlike all eight around them, as a share of what is not the mask's commonest value;
drawings by hand reach 0.01.
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem: a stable code, how bad it is, the file, what is wrong and how to mend it, and
    the ids of the samples that show it.
    """

    code: str
    severity: Severity
    file: str
    message: str
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SampleInfo:
    """What one readable sample is like: its size, what its mask holds, and what it is compared
    by.
    """

    id: str
    size_px: tuple[int, int]
    mask: ValueHistogram
    thumbnail: UInt8[ndarray, "64 64"]
    pixel_sha256: bytes
    """SHA-256 of the decoded pixels."""
    mask_sha256: bytes = b""
    channels: int = 3
    """Of the image: 3 for colour and grey, else those of a microscope."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The findings of a dataset, errors first, and what was learned on the way.

    `clusters` gives for each id the lowest id of the samples that are its copies, exact or near,
    itself among them.
    """

    findings: tuple[Finding, ...]
    sample_info: tuple[SampleInfo, ...]
    labels: Labels | None
    clusters: dict[str, str]

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "error")

    def count(self, severity: Severity) -> int:
        return sum(finding.severity == severity for finding in self.findings)

    def by_code(self) -> dict[str, list[Finding]]:
        """The findings of each code, the worst codes first."""
        groups: dict[str, list[Finding]] = {}
        for finding in self.findings:
            groups.setdefault(finding.code, []).append(finding)
        return groups

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(finding) for finding in self.findings]


def check(dataset: Dataset, progress: Progress | None = None) -> CheckResult:
    """Decode every file of the dataset and report all that is wrong, independent problems together.

    `progress` wraps the iteration over samples (given their count), so that a caller can draw a
    bar.
    """
    findings = list(_pairing_findings(dataset))
    facts: list[SampleInfo] = []
    for found, fact in with_progress(
        map_in_order(_inspect, dataset.samples), len(dataset.samples), progress
    ):
        findings += found
        facts += [fact] if fact else []
    samples = {sample.id: sample for sample in dataset.samples}
    labels, copies = None, dict[str, str]()
    if not dataset.samples:
        findings.append(
            Finding(
                "no-pairs",
                "error",
                "",
                "no image has a mask of the same name. Name each mask as its image.",
            )
        )
    elif facts:
        findings += _set_findings(facts, samples)
        found, copies = _duplicate_findings(facts, samples)
        findings += found
        try:
            labels = detect_label_coding(
                [fact.mask for fact in facts], dataset.class_names, dataset.stated_labels
            )
            findings += _mask_findings(facts, labels)
        except LimnerError as error:
            findings.append(Finding("mask-values", "error", "", str(error)))
    findings.sort(
        key=lambda finding: (SEVERITIES.index(finding.severity), finding.code, finding.file)
    )
    return CheckResult(tuple(findings), tuple(facts), labels, copies)


def require_valid(health: CheckResult, allowed: frozenset[str] = frozenset()) -> Labels:
    """The labels of a dataset without errors but those of the `allowed` codes. Raises LimnerError
    naming the first errors.
    """
    errors = [finding for finding in health.errors if finding.code not in allowed]
    if errors or health.labels is None:
        shown = "\n".join(f"  {finding.message}" for finding in errors[:5])
        more = f"\n  and {len(errors) - 5} more" if len(errors) > 5 else ""
        raise LimnerError(
            f"the dataset has {len(errors)} "
            f"error{'s' * (len(errors) != 1)}:\n{shown}{more}\nMend them; `limner check` "
            "lists them all."
        )
    return health.labels


def foreground_shares(health: CheckResult) -> dict[str, float]:
    """For each id the share of its pixels that is neither background nor void, by which splits are
    balanced.
    """
    assert health.labels is not None
    background = {i for i, name in enumerate(health.labels.names) if name == "background"}
    shares = ((fact.id, health.labels.class_shares(fact.mask)) for fact in health.sample_info)
    return {
        id: sum(
            share for class_index, share in found.items() if class_index not in background | {VOID}
        )
        for id, found in shares
    }


def _inspect(sample: Sample) -> tuple[list[Finding], SampleInfo | None]:
    """What is wrong with one sample by itself, and its facts where both files can be read and
    fit.
    """
    findings: list[Finding] = []
    image = survey = mask = None
    try:
        image, survey = read_with_info(sample.image, page=sample.page, at_least_px=INSPECTED_PX)
        findings += _image_findings(sample, image, survey)
    except LimnerError as error:
        findings.append(
            Finding("unreadable-image", "error", str(sample.image), str(error), (sample.id,))
        )
    try:
        mask = sample.read_mask()
    except LimnerError as error:
        findings.append(
            Finding("unreadable-mask", "error", str(sample.mask), str(error), (sample.id,))
        )
    if image is None or survey is None or mask is None:
        return findings, None
    findings += _fit_findings(sample, survey, mask)
    if mask.values.shape != survey.size_px:
        return findings, None
    values = _values(sample, mask)
    specks = _specks(mask.values) if not mask.lossy else 0
    if specks > SPECK_SHARE * (1 - max(values.shares.values())) * mask.values.size:
        message = (
            f"has {specks} single pixels unlike all around them. Was it drawn by a threshold, or "
            "resized by interpolation? Smooth it."
        )
        findings.append(_finding("specks", "warning", sample.mask, message, sample.id))
    digest = hashlib.sha256(str(survey.size_px).encode() + image.tobytes()).digest()
    return findings, SampleInfo(
        sample.id,
        survey.size_px,
        values,
        thumbnail(image),
        digest,
        hashlib.sha256(mask.values.tobytes()).digest(),
        image.shape[2],
    )


def _image_findings(
    sample: Sample, image: UInt8[ndarray, "h w c"], survey: ImageInfo
) -> Iterator[Finding]:
    height, width = survey.size_px
    if min(survey.size_px) < TINY_PX:
        yield _finding(
            "tiny-image",
            "warning",
            sample.image,
            f"is only {width}x{height} px. Is it a thumbnail?",
            sample.id,
        )
    if height * width > HUGE_PX:
        message = (
            f"is {width}x{height} px. Cut it into parts, or expect that small things are lost "
            "when it is resized."
        )
        yield _finding("huge-image", "warning", sample.image, message, sample.id)
    if image.min() == image.max():
        yield _finding(
            "blank-image",
            "warning",
            sample.image,
            f"has the one value {image.min()} everywhere. Was it exported whole?",
            sample.id,
        )
    elif survey.bits == 16 and survey.largest <= 255:
        message = (
            f"has 16 bits but no value above {survey.largest:.0f}. It was 8 bits once: is that "
            "the file you meant?"
        )
        yield _finding("shallow-depth", "warning", sample.image, message, sample.id)


def _fit_findings(sample: Sample, survey: ImageInfo, mask: MaskPixels) -> Iterator[Finding]:
    height, width = survey.size_px
    shape = mask.values.shape
    if shape != survey.size_px:
        hint = ""
        if shape == survey.size_px[::-1]:
            turned = (
                " (the image is turned by its EXIF orientation and the mask is not)"
                if survey.orientation in {5, 6, 7, 8}
                else ""
            )
            hint = f" It looks transposed{turned}."
        message = (
            f"is {shape[1]}x{shape[0]} but its image is {width}x{height}.{hint} Masks must have "
            "their image's size: export this mask again."
        )
        yield _finding("size-differs", "error", sample.mask, message, sample.id)
    elif (
        survey.orientation != 1
        and not isinstance(sample.mask, AnnotationMask)
        and exif_orientation(sample.mask) != survey.orientation
    ):
        message = (
            f"has another EXIF orientation than its image ({survey.orientation}), which is turned "
            "upright. Was it drawn on the image as people see it?"
        )
        yield _finding("orientation-differs", "warning", sample.mask, message, sample.id)


def _values(sample: Sample, mask: MaskPixels) -> ValueHistogram:
    if mask.kind == "colour":
        found, counts = np.unique(mask.values, return_counts=True)
    else:
        all_counts = np.bincount(mask.values.ravel())
        found = np.flatnonzero(all_counts)
        counts = all_counts[found]
    share = {
        int(value): float(count / mask.values.size)
        for value, count in zip(found, counts, strict=True)
    }
    palette = {value: mask.palette[value] for value in share if value < len(mask.palette)}
    return ValueHistogram(str(sample.mask), share, mask.kind, palette, mask.lossy)


def _specks(values: UInt[ndarray, "h w"]) -> int:
    """How many pixels are unlike all eight around them; those at the border are not counted."""
    height, width = values.shape
    if min(height, width) < 3:
        return 0
    alone = np.ones((height - 2, width - 2), np.bool_)
    for y, x in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2)):
        alone &= values[1:-1, 1:-1] != values[y : y + height - 2, x : x + width - 2]
    return int(alone.sum())


def _pairing_findings(dataset: Dataset) -> Iterator[Finding]:
    for path in dataset.images_without_mask:
        yield _finding(
            "missing-mask",
            "error",
            path,
            "has no mask. Add a mask of the same name, or move the image away.",
        )
    for path in dataset.masks_without_image:
        yield _finding(
            "missing-image",
            "error",
            path,
            "has no image. Add an image of the same name, or move the mask away.",
        )
    for first, second in dataset.same_name:
        yield _finding(
            "same-name",
            "error",
            second,
            f"stands beside {first.name}, and a pair is known by its name. Keep one of the two.",
        )
    if dataset.unused:
        message = (
            f"{len(dataset.unused)} image files are in no pair, such as {dataset.unused[0]}. Is a "
            "part of the set missing its masks, or of another layout?"
        )
        yield Finding("unused-files", "warning", str(dataset.unused[0]), message)
    for sample, pages in dataset.page_mismatches:
        yield _finding(
            "pages-differ",
            "error",
            sample.mask,
            f"holds {pages} images, and {sample.image} another number. Export both with the same.",
        )
    for path in dataset.unsupported:
        yield _finding(
            "foreign-format",
            "warning",
            path,
            (
                f"is in a format that is not read. Formats are {', '.join(FORMATS)}: export it as "
                "one of them."
            ),
        )
    for sample, following in zip(dataset.samples, dataset.samples[1:], strict=False):
        if sample.id == following.id:
            yield _finding(
                "same-id",
                "error",
                following.image,
                f"and {sample.image} have the same id in two splits. Each image is in one split.",
            )


def _set_findings(facts: Sequence[SampleInfo], samples: dict[str, Sample]) -> Iterator[Finding]:
    if len(facts) < FEW_IMAGES:
        message = (
            f"there are {len(facts)} usable pairs. A model learned from so few is seldom of use, "
            "and its scores say little."
        )
        yield Finding("few-images", "warning", "", message)
    areas = sorted((fact.size_px[0] * fact.size_px[1], fact.id) for fact in facts)
    (least, small), (most, large) = areas[0], areas[-1]
    if most > MIXED_AREA * least:
        message = (
            f"the images are of very different sizes, from {samples[small].image} to "
            f"{samples[large].image}. Are thumbnails or overviews among them?"
        )
        yield Finding("mixed-sizes", "warning", "", message, (small, large))
    commonest, _ = Counter(fact.channels for fact in facts).most_common(1)[0]
    for fact in facts:
        if fact.channels != commonest:
            message = (
                f"has {fact.channels} channels, and most images have {commonest}. Export it with "
                "the same, or move it away."
            )
            yield _finding("channels-differ", "error", samples[fact.id].image, message, fact.id)
    named = [
        sample
        for sample in samples.values()
        if sample.group and sample.group != sample.id.partition("#")[0]
        # A stack is a group by itself
    ]
    alone = [sample for sample in samples.values() if not sample.group]
    if named and alone:
        message = (
            f"{len(alone)} images are in no group, such as {alone[0].image}, though {len(named)} "
            "others are. They are split as if each were alone."
        )
        yield Finding("ungrouped", "note", str(alone[0].image), message, (alone[0].id,))
    sides: dict[str, dict[str, str]] = defaultdict(dict)
    for sample in samples.values():
        if sample.group and sample.split:
            sides[sample.group].setdefault(sample.split, sample.id)
    for group, found in sides.items():
        if len(found) > 1:
            message = (
                f"the group {group} has images in {' and '.join(sorted(found))}, "
                f"{_CURES[_leak_severity(found)]}"
            )
            yield Finding("group-leak", _leak_severity(found), "", message, tuple(found.values()))


def _duplicate_findings(
    facts: Sequence[SampleInfo], samples: dict[str, Sample]
) -> tuple[list[Finding], dict[str, str]]:
    """Findings on copies and leaks, and the clusters that a split must keep together."""
    by_digest: dict[bytes, list[int]] = defaultdict(list)
    for position, fact in enumerate(facts):
        by_digest[fact.pixel_sha256].append(position)
    pairs = [
        DuplicatePair(same[0], other, 1.0) for same in by_digest.values() for other in same[1:]
    ]
    exact = len(pairs)
    firsts = sorted(
        same[0]
        for same in by_digest.values()
        # One of each set of exact copies is compared with the rest
    )
    near = near_duplicates(np.stack([facts[position].thumbnail for position in firsts]))
    pairs += [
        DuplicatePair(firsts[pair.first], firsts[pair.second], pair.similarity) for pair in near
    ]
    findings = [
        _duplicate_finding(facts[pair.first], facts[pair.second], samples, pair, exact=i < exact)
        for i, pair in enumerate(pairs)
    ]
    linked = connected_components(len(facts), ((pair.first, pair.second) for pair in pairs))
    return findings, {fact.id: facts[lowest].id for fact, lowest in zip(facts, linked, strict=True)}


def _duplicate_finding(
    one: SampleInfo,
    other: SampleInfo,
    samples: dict[str, Sample],
    pair: DuplicatePair,
    *,
    exact: bool,
) -> Finding:
    first, second = samples[one.id], samples[other.id]
    what = (
        f"is a copy of {first.image}"
        if exact
        else f"is nearly a copy of {first.image} (likeness {pair.similarity:.2f} of 1)"
    )
    sides = {first.split, second.split} - {None}
    if len(sides) == 2:
        severity = _leak_severity(sides)
        return _finding(
            "leak",
            severity,
            second.image,
            f"({second.split}) {what} ({first.split}), {_CURES[severity]}",
            one.id,
            other.id,
        )
    if exact and one.mask_sha256 != other.mask_sha256:
        return _finding(
            "copies-disagree",
            "warning",
            second.image,
            f"{what}, but their masks differ. Keep the better one.",
            one.id,
            other.id,
        )
    if exact:
        return _finding(
            "copies",
            "warning",
            second.image,
            f"{what}. It counts twice: keep one. Until then both are on one side of every split.",
            one.id,
            other.id,
        )
    return _finding(
        "near-copies",
        "note",
        second.image,
        f"{what}. Both are kept on one side of every split.",
        one.id,
        other.id,
    )


def _leak_severity(sides: Iterable[str | None]) -> Severity:
    return "error" if "test" in sides else "warning"


_CURES: dict[Severity, str] = {
    "error": (
        "so the test would flatter the model. Move them to one side, or train in spite of it with "
        "--set data.allow_leaks=true."
    ),
    "warning": "so the validation flatters the model. Move them to one side.",
}


def _mask_findings(facts: Sequence[SampleInfo], labels: Labels) -> Iterator[Finding]:
    """What is wrong with masks, now that it is known which values mean what."""
    pixels: Counter[int] = Counter()
    holders: dict[int, list[SampleInfo]] = defaultdict(list)
    whole = sum(fact.size_px[0] * fact.size_px[1] for fact in facts)
    for fact in facts:
        shares = labels.class_shares(fact.mask)
        for class_index, share in shares.items():
            pixels[class_index] += round(share * fact.size_px[0] * fact.size_px[1])
            holders[class_index].append(fact)
        foreground, void = shares.get(1, 0.0), shares.get(VOID, 0.0)
        if labels.binary and foreground == 0 and void < 1:
            yield _finding(
                "empty-mask",
                "warning",
                fact.mask.file,
                "marks nothing. That is right only where the image shows nothing to find.",
                fact.id,
            )
        if labels.binary and foreground == 1:
            yield _finding(
                "full-mask",
                "warning",
                fact.mask.file,
                "marks the whole image. Is it inverted?",
                fact.id,
            )
        if void == 1:
            yield _finding(
                "void-mask",
                "warning",
                fact.mask.file,
                "is void everywhere, so nothing is learned from it.",
                fact.id,
            )
    if lossy := [fact for fact in facts if fact.mask.lossy]:
        message = (
            f"{len(lossy)} masks were saved as JPEG (for instance {lossy[0].mask.file}), so their "
            "borders are smeared, and are cut at the middle."
        )
        yield Finding(
            "lossy-mask",
            "warning",
            lossy[0].mask.file,
            f"{message} Export them as PNG if you can.",
            (lossy[0].id,),
        )
    if labels.binary and pixels[1] > MOSTLY * whole and pixels[0] > 0:
        message = (
            f"the foreground ({labels.format_class(1)}) covers {pixels[1] / whole:.0%} of all "
            "pixels. Are the masks inverted? A labels.toml can say so."
        )
        yield Finding("mostly-foreground", "warning", "", message, (holders[1][0].id,))
    for class_index, name in enumerate(labels.names):
        value, held = labels.format_class(class_index), holders[class_index]
        if not held:
            severity: Severity = "warning" if len(pixels.keys() - {VOID}) > 1 else "error"
            message = (
                f"class {name} (pixel value {value}) is in no mask, and a model cannot learn it. "
                "Is its pixel value right?"
            )
            yield Finding("absent-class", severity, "", message)
        elif len(held) == 1 and len(facts) >= FEW_IMAGES:
            message = (
                f"is the only mask with class {name} (pixel value {value}). Is that value a slip?"
            )
            yield _finding("seen-once", "warning", held[0].mask.file, message, held[0].id)
        elif pixels[class_index] < RARE_SHARE * whole:
            message = (
                f"class {name} has {pixels[class_index] / whole:.1e} of all pixels. It is hard to "
                "learn: more of it, or larger crops, would help."
            )
            yield Finding("rare-class", "warning", "", message, tuple(fact.id for fact in held[:3]))


def _finding(
    code: str, severity: Severity, file: Path | AnnotationMask | str, message: str, *ids: str
) -> Finding:
    return Finding(code, severity, str(file), f"{file} {message}", ids)
