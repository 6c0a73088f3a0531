"""Findings about files that could not be paired, from the names of the files alone."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from limner.data.dataset import Dataset
from limner.data.file_kinds import count_kinds
from limner.data.findings import Finding, Severity, file_finding
from limner.data.sample import Sample
from limner.data.unread_masks import unread_findings


def pairing_findings(dataset: Dataset) -> Iterator[Finding]:
    """Report what the scan could not pair, or paired in a way that cannot be right."""
    yield from _files_without_partner(dataset)
    yield from _files_of_one_name(dataset)
    yield from _unused_files(dataset)
    yield from _differing_pages(dataset)
    yield from _unsupported_formats(dataset)
    yield from _repeated_ids(dataset)
    yield from _ids_that_differ_in_case(dataset)
    yield from unread_findings(dataset.root, dataset.unread)
    yield from dataset.findings


def _files_without_partner(dataset: Dataset) -> Iterator[Finding]:
    for path in dataset.images_without_mask:
        message = "has no mask. Add a mask of the same name, or move the image away."
        yield file_finding("missing-mask", "error", path, message)
    for path in dataset.masks_without_image:
        message = "has no image. Add an image of the same name, or move the mask away."
        yield file_finding("missing-image", "error", path, message)


def _files_of_one_name(dataset: Dataset) -> Iterator[Finding]:
    for first, second in dataset.same_name:
        message = (
            f"stands beside {first.name}, and a pair is known by its name. Keep one of the two."
        )
        yield file_finding("same-name", "error", second, message)


def _unused_files(dataset: Dataset) -> Iterator[Finding]:
    if dataset.unused:
        message = (
            f"{len(dataset.unused)} image files are in no pair, such as {dataset.unused[0]}. Is a "
            "part of the set missing its masks, or of another layout?"
        )
        yield Finding("unused-files", "warning", str(dataset.unused[0]), message)


def _differing_pages(dataset: Dataset) -> Iterator[Finding]:
    ids_of: dict[Path, list[str]] = {}
    for page in dataset.samples if dataset.page_mismatches else ():
        ids_of.setdefault(page.image, []).append(page.id)
    for sample, pages in dataset.page_mismatches:
        message = (
            f"holds {pages} images, and {sample.image} another number. Export both with the same."
        )
        ids = ids_of.get(sample.image, [])
        yield file_finding("pages-differ", "error", sample.mask, message, *ids)


def _unsupported_formats(dataset: Dataset) -> Iterator[Finding]:
    for kind, count in count_kinds(dataset.unsupported.values()).items():
        first = next(path for path, other in dataset.unsupported.items() if other == kind)
        which = f"{first} is" if count == 1 else f"{count} files, such as {first}, are each"
        message = f"{which} {kind.name}, which is not read. {kind.cure}"
        severity: Severity = "warning" if kind.is_image else "note"
        yield Finding("foreign-format", severity, str(first), message)


def _repeated_ids(dataset: Dataset) -> Iterator[Finding]:
    for sample, following in pairwise(dataset.samples):
        if sample.id == following.id:
            message = (
                f"and {sample.image} have the same id in two splits. Each image is in one split."
            )
            yield file_finding("same-id", "error", following.image, message)


def _ids_that_differ_in_case(dataset: Dataset) -> Iterator[Finding]:
    by_folded: dict[str, Sample] = {}
    for sample in dataset.samples:
        first = by_folded.setdefault(sample.id.casefold(), sample)
        if first.id != sample.id:
            message = (
                f"and {first.image} differ in their names only by the case of letters. Windows and "
                "macOS take such files for one, and one would replace the other: rename one pair."
            )
            yield file_finding(
                "same-name-but-case", "warning", sample.image, message, first.id, sample.id
            )
