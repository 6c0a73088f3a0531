"""Every problem of a dataset as Findings, and the facts that the plan needs, from one pass over the files."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from os import cpu_count
from pathlib import Path
from typing import Literal

import numpy as np

from limner.data.folder import Dataset, Sample
from limner.data.images import image_size, read_image, read_mask
from limner.errors import LimnerError
from limner.labels import Labels, detect_labels

Severity = Literal["error", "warning"]
TINY_PX = 16


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem: a stable code, how bad it is, the file, what is wrong and how to mend it."""

    code: str
    severity: Severity
    file: str
    message: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What one readable sample is like: its size, and the share of its pixels that has each mask value."""

    id: str
    size_px: tuple[int, int]
    value_share: dict[int, float]


@dataclass(frozen=True, slots=True)
class Health:
    """The findings of a dataset, errors first, and what was learned on the way."""

    findings: tuple[Finding, ...]
    facts: tuple[Facts, ...]
    labels: Labels | None

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "error")

    def as_json(self) -> list[dict[str, str]]:
        return [asdict(finding) for finding in self.findings]


def check(dataset: Dataset, progress: Callable[[Iterable[object], int], Iterable[object]] | None = None) -> Health:
    """Decode every file of the dataset and report all that is wrong, independent problems together.

    `progress` wraps the iteration over samples (given their count), so that a caller can draw a bar.
    """
    findings = list(_unpaired(dataset))
    facts: list[Facts] = []
    with ThreadPoolExecutor(cpu_count()) as pool:
        inspected: Iterable[object] = pool.map(_inspect, dataset.samples)
        for result in progress(inspected, len(dataset.samples)) if progress else inspected:
            assert isinstance(result, tuple)
            found, fact = result
            findings += found
            facts += [fact] if fact else []
    labels = None
    if not dataset.samples:
        findings.append(Finding("no-pairs", "error", str(dataset.root), "no image has a mask of the same name. Name each mask as its image."))
    elif facts:
        try:
            labels = detect_labels({value for fact in facts for value in fact.value_share}, dataset.class_names)
            findings += _mask_findings(facts, labels, {sample.id: sample for sample in dataset.samples})
        except LimnerError as error:
            findings.append(Finding("mask-values", "error", str(dataset.root), str(error)))
    findings.sort(key=lambda finding: (finding.severity != "error", finding.code, finding.file))
    return Health(tuple(findings), tuple(facts), labels)


def require_sound(health: Health) -> Labels:
    """The labels of a dataset without errors. Raises LimnerError naming the first errors."""
    if health.errors or health.labels is None:
        shown = "\n".join(f"  {finding.message}" for finding in health.errors[:5])
        more = f"\n  and {len(health.errors) - 5} more" if len(health.errors) > 5 else ""
        raise LimnerError(
            f"the dataset has {len(health.errors)} error{'s' * (len(health.errors) != 1)}:\n{shown}{more}\nMend them; `limner check` lists them all."
        )
    return health.labels


def _inspect(sample: Sample) -> tuple[list[Finding], Facts | None]:
    findings = []
    mask = None
    try:
        size = image_size(sample.image)
        image = read_image(sample.image)
        size = image.shape[0], image.shape[1]
        if min(size) < TINY_PX:
            findings.append(_finding("tiny-image", "warning", sample.image, f"is only {size[1]}x{size[0]} px. Is it a thumbnail?"))
        if image.min() == image.max():
            findings.append(_finding("blank-image", "warning", sample.image, f"has the one value {image.min()} everywhere. Was it exported whole?"))
    except LimnerError as error:
        findings.append(Finding("unreadable-image", "error", str(sample.image), str(error)))
        size = None
    try:
        mask = read_mask(sample.mask)
    except LimnerError as error:
        findings.append(Finding("unreadable-mask", "error", str(sample.mask), str(error)))
    if size is None or mask is None:
        return findings, None
    if mask.shape != size:
        transposed = " It looks transposed." if mask.shape == size[::-1] else ""
        message = (
            f"is {mask.shape[1]}x{mask.shape[0]} but its image is {size[1]}x{size[0]}.{transposed} Masks must have their image's size: export this mask again."
        )
        return [*findings, _finding("size-differs", "error", sample.mask, message)], None
    counts = np.bincount(mask.ravel(), minlength=256)
    return findings, Facts(sample.id, size, {int(v): float(counts[v] / mask.size) for v in np.flatnonzero(counts)})


def _unpaired(dataset: Dataset) -> Iterator[Finding]:
    for path in dataset.images_without_mask:
        yield _finding("missing-mask", "error", path, "has no mask. Add a mask of the same name, or move the image away.")
    for path in dataset.masks_without_image:
        yield _finding("missing-image", "error", path, "has no image. Add an image of the same name, or move the mask away.")
    for first, second in dataset.ambiguous:
        yield _finding("same-name", "error", second, f"stands beside {first.name}, and a pair is known by its name. Keep one of the two.")
    for sample, following in zip(dataset.samples, dataset.samples[1:], strict=False):
        if sample.id == following.id:
            yield _finding("same-id", "error", following.image, f"and {sample.image} have the same id in two splits. Each image is in one split.")


def _mask_findings(facts: list[Facts], labels: Labels, samples: dict[str, Sample]) -> Iterator[Finding]:
    present: set[int] = set()
    for fact in facts:
        present |= fact.value_share.keys()
        mask = samples[fact.id].mask
        foreground = fact.value_share.get(labels.values[1], 0.0) if labels.binary else 1.0
        if labels.binary and foreground == 0:
            yield _finding("empty-mask", "warning", mask, "marks nothing. That is right only where the image shows nothing to find.")
        if labels.binary and foreground == 1:
            yield _finding("full-mask", "warning", mask, "marks the whole image. Is it inverted?")
        if sum(fact.value_share.get(value, 0.0) for value in labels.void_values) == 1:
            yield _finding("void-mask", "warning", mask, "is void everywhere, so nothing is learned from it.")
    for name, value in zip(labels.names, labels.values, strict=True):
        if value not in present:
            severity: Severity = "error" if labels.binary and name != "background" else "warning"
            yield Finding("absent-class", severity, "", f"class {name} (pixel value {value}) is in no mask. A model cannot learn it.")


def _finding(code: str, severity: Severity, path: Path, message: str) -> Finding:
    return Finding(code, severity, str(path), f"{path} {message}")
