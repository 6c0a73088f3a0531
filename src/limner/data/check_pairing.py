"""Findings about files that could not be paired, from the names of the files alone."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from unicodedata import normalize

from limner.data.dataset import Dataset
from limner.data.file_kinds import count_kinds
from limner.data.findings import Finding, Severity, file_finding
from limner.data.image_file import without_suffix
from limner.data.layout_match import pair_key
from limner.data.sample import Sample
from limner.data.unread_masks import unread_findings
from limner.name_list import list_some
from limner.plurals import count_noun

TABLE_LAYOUTS = "CSV manifest"
"""How the name of a layout begins whose pairs are the lines of a table."""
FILES_SHOWN = 2
"""Files of one name that a message lists before it counts the rest."""


def pairing_findings(dataset: Dataset) -> Iterator[Finding]:
    """Report what the scan could not pair, or paired in a way that cannot be right."""
    yield from _files_without_partner(dataset)
    yield from _files_of_one_name(dataset)
    yield from _unused_files(dataset)
    yield from _differing_pages(dataset)
    yield from _unsupported_formats(dataset)
    yield from _repeated_ids(dataset)
    yield from _ids_that_differ_in_case(dataset)
    yield from unread_findings(dataset.unread)
    yield from dataset.findings


def _files_without_partner(dataset: Dataset) -> Iterator[Finding]:
    masks, images = _by_name(dataset.masks_without_image), _by_name(dataset.images_without_mask)
    for path in dataset.images_without_mask:
        name = _name_of_pair(path)
        message = "has no mask. Add a mask of the same name, or move the image away."
        if name in masks:
            cure = _cure(images[name], masks[name])
            files = list_some([str(mask) for mask in masks[name]], FILES_SHOWN)
            message = f"has no mask at its place, but elsewhere of its name: {files}. {cure}"
        yield file_finding("missing-mask", "error", path, message)
    for path in dataset.masks_without_image:
        name = _name_of_pair(path)
        message = "has no image. Add an image of the same name, or move the mask away."
        if name in images:
            cure = _cure(images[name], masks[name])
            files = list_some([str(image) for image in images[name]], FILES_SHOWN)
            message = f"has no image at its place, but elsewhere of its name: {files}. {cure}"
        yield file_finding("missing-image", "error", path, message)


def unpaired_by_folder(dataset: Dataset) -> bool:
    """Whether there is an image without a mask whose name a mask in another folder has."""
    masks = _by_name(dataset.masks_without_image)
    return any(_name_of_pair(path) in masks for path in dataset.images_without_mask)


def _by_name(files: Iterable[Path]) -> dict[str, list[Path]]:
    by_name: dict[str, list[Path]] = {}
    for path in files:
        by_name.setdefault(_name_of_pair(path), []).append(path)
    return by_name


def _name_of_pair(path: Path) -> str:
    return pair_key(normalize("NFC", without_suffix(path.name)))


def _cure(images: Sequence[Path], masks: Sequence[Path]) -> str:
    """Say how images and masks of one name, in several folders, come into pairs."""
    if len(masks) > len(images):
        return (
            "An image has one mask. If these show a class each, draw all into one mask, with a "
            "value for each class, and put it where the image is below the folder of images."
        )
    return (
        "A mask lies in the same folder below that of the masks as its image below that of the "
        "images: name the folders alike, or move the files."
    )


def _files_of_one_name(dataset: Dataset) -> Iterator[Finding]:
    for first, second in dataset.same_name:
        message = (
            f"stands beside {first.name}, and a pair is known by its name. Keep one of the two."
        )
        yield file_finding("same-name", "error", second, message)


def _unused_files(dataset: Dataset) -> Iterator[Finding]:
    if dataset.unused:
        message = (
            f"{count_noun(len(dataset.unused), 'image file is', 'image files are')} in no pair, "
            f"such as {dataset.unused[0]}. Is a part of the set missing its masks, or of another "
            "layout?"
        )
        if dataset.layout.startswith(TABLE_LAYOUTS):
            message = (
                f"{count_noun(len(dataset.unused), 'image file is', 'image files are')} in no line "
                f"of the {dataset.layout}, such as {dataset.unused[0]}, and left out. Add lines "
                "for them if they belong to the set."
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
        if sample.id != following.id:
            continue
        splits = f"{sample.split} and {following.split}"
        if sample.image != following.image:
            message = f"and {sample.image} have the same id, {sample.id}"
            message += (
                f", in two splits ({splits}). Each image is in one split."
                if sample.split != following.split
                else ". Give each an id of its own, or remove one of them."
            )
        elif sample.split != following.split:
            message = f"is listed twice, in two splits ({splits}). Each image is in one split."
        else:
            message = f"is listed twice, with the id {sample.id}. Remove one of the lines."
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
