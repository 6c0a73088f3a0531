"""A folder in any known layout as a Dataset of Samples.

Each layout is a file in `layouts/`, with a function that gives a LayoutMatch, or None for a folder
of another layout. A new layout needs such a file and a line in `LAYOUTS`.
"""

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from limner.data.annotation_tools import forget_annotation_files
from limner.data.class_names import read_class_names
from limner.data.dataset import Dataset
from limner.data.dicom_groups import with_dicom_groups
from limner.data.file_kinds import ARCHIVE, GZIP, ZIP, FileKind, kind_by_name
from limner.data.findings import Finding
from limner.data.folder_listing import FolderListing
from limner.data.folder_proposal import propose_folders
from limner.data.groups import with_groups
from limner.data.layout_match import LayoutMatch
from limner.data.layouts import (
    annotation_files,
    camvid,
    cityscapes,
    class_folders,
    coco,
    cvat,
    darwin,
    dicom_seg,
    dicom_series,
    drive,
    folders,
    imagej,
    isic,
    label_studio,
    label_studio_masks,
    labelme,
    manifest,
    nnunet,
    object_masks,
    ome_zarr,
    qupath,
    rle_table,
    suffixes,
    supervisely,
    via,
    voc,
    yolo,
)
from limner.data.left_out_files import left_out_findings, other_forms
from limner.data.nested_folder import has_settings, inner_folder, nested_finding
from limner.data.regions import split_large_images
from limner.data.sample import Sample
from limner.data.split_folders import split_link_findings, split_name_findings
from limner.data.split_lists import announced_splits
from limner.data.stacks import count_pages, split_stacks
from limner.data.stated_folders import match_stated
from limner.errors import LimnerError
from limner.files import require_folder
from limner.labels import load_labels
from limner.name_list import list_some
from limner.plurals import count_noun
from limner.recipe import DataSettings

Layout = Callable[[FolderListing], LayoutMatch | None]
"""The error for an unknown layout prints its docstring, so that is written for users."""

LAYOUTS: tuple[Layout, ...] = (
    manifest.match_layout,
    nnunet.match_layout,
    coco.match_layout,
    labelme.match_layout,
    label_studio_masks.match_layout,
    label_studio.match_layout,
    cvat.match_layout,
    via.match_layout,
    supervisely.match_layout,
    qupath.match_layout,
    imagej.match_layout,
    darwin.match_layout,
    rle_table.match_layout,
    dicom_seg.match_layout,
    dicom_series.match_layout,
    ome_zarr.match_layout,
    cityscapes.match_layout,
    yolo.match_layout,
    voc.match_layout,
    camvid.match_layout,
    isic.match_layout,
    drive.match_layout,
    object_masks.match_layout,
    class_folders.match_layout,
    folders.match_layout,
    suffixes.match_layout,
    annotation_files.match_layout,
)
"""The layouts in the order in which a folder is tried; the first that matches is taken."""

ANNOTATION_LAYOUTS = frozenset(
    module.match_layout
    for module in (coco, labelme, label_studio, cvat, via, supervisely, qupath, imagej, darwin)
)
"""Those of annotation tools, beside whose files there may be masks too."""
MASK_LAYOUTS: tuple[Layout, ...] = (
    voc.match_layout,
    isic.match_layout,
    object_masks.match_layout,
    class_folders.match_layout,
    folders.match_layout,
    suffixes.match_layout,
)
"""Those of masks in files that people make of annotations."""


class UnknownLayoutError(LimnerError):
    """A folder in no layout that limner knows, such as one of images alone."""


ANNOTATION_SUFFIXES = frozenset(
    (".csv", ".geojson", ".json", ".roi", ".txt", ".xml", ".yaml", ".yml")
)
"""Of files that may say where masks are."""
PACKED = frozenset({ZIP, GZIP, ARCHIVE})


def scan_as(root: Path | str, settings: DataSettings) -> Dataset:
    """Scan a folder as a recipe says: its groups, and the folders of images and masks."""
    return scan(
        root,
        settings.group_pattern,
        image_folder=settings.image_folder,
        mask_folder=settings.mask_folder,
    )


def scan(
    root: Path | str,
    group_pattern: str = "",
    *,
    image_folder: str = "",
    mask_folder: str = "",
) -> Dataset:
    """Recognise the layout of a folder and pair its images with its masks.

    A labels.toml at the top states the classes. A groups.csv (image, group) states which samples
    belong together, such as those of one patient.

    Args:
        root: The folder of the dataset.
        group_pattern: A regular expression for the part of an id that samples of one group share;
            its first parenthesis, if any, is the group.
        image_folder: The folder of the images in it, where its name says nothing.
        mask_folder: The folder of their masks, likewise.

    Returns:
        The samples, and the files that could not be paired; `check` reports these.

    Raises:
        UnknownLayoutError: The folder is in no known layout.
        LimnerError: The folder does not exist. Or a file in it that states pairs, splits, groups or
            classes cannot be used.

    Example:
        >>> from limner import scan
        >>> dataset = scan("isic2018")
        >>> dataset.layout, len(dataset.samples)
        ('ISIC', 2594)
    """
    root = Path(root)
    require_folder(root)
    try:
        if image_folder or mask_folder:
            listing = FolderListing(root)
            match = match_stated(listing, image_folder, mask_folder)
        else:
            listing, match = _find_dataset(root)
    finally:
        forget_annotation_files()
    top, nested = root, [nested_finding(root, listing.root)] if listing.root != root else []
    root = listing.root
    announced = announced_splits(listing, match.samples, top, match.lists)
    page_counts = count_pages(announced.samples)
    whole, region_findings = split_large_images(
        split_stacks(page_counts), {count.sample.image for count in page_counts if count.is_large}
    )
    samples = sorted(
        _with_official_splits(whole),
        key=lambda sample: (sample.id, str(sample.image)),
    )
    samples, dicom_findings = with_dicom_groups(with_groups(root, samples, group_pattern))
    return Dataset(
        root,
        match.layout,
        tuple(samples),
        match.class_names or read_class_names(root, listing.direct_folders()),
        load_labels(root / "labels.toml") if (root / "labels.toml").is_file() else None,
        match.images_without_mask,
        match.masks_without_image,
        match.same_name,
        _unsupported(listing, match),
        _unused(listing, match),
        tuple((count.sample, count.mask) for count in page_counts if count.mask != count.image),
        match.unread,
        (
            *nested,
            *match.findings,
            *announced.findings,
            *split_name_findings(root, announced.samples),
            *split_link_findings(root, listing.repeated_links()),
            *left_out_findings(listing),
            *dicom_findings,
            *region_findings,
        ),
    )


def _find_dataset(root: Path) -> tuple[FolderListing, LayoutMatch]:
    """Find the folder that the dataset begins in, at `root` or within, and match its layout.

    Raises LimnerError where it is in none.
    """
    listings = [FolderListing(root)]
    while inner := inner_folder(listings[-1]):
        listings.append(FolderListing(inner))
    # Files that state pairs, groups or classes are looked for at the top alone
    stating = [listing for listing in listings if has_settings(listing)]
    for listing in stating or listings:
        for layout in LAYOUTS:
            if match := layout(listing):
                beside = _masks_beside(listing, match) if layout in ANNOTATION_LAYOUTS else ()
                return listing, replace(match, findings=(*match.findings, *beside))
    raise _unknown_layout(listings[0])


def _masks_beside(listing: FolderListing, match: LayoutMatch) -> Iterator[Finding]:
    """Report masks in files beside a tool's annotations of the same images.

    Raises LimnerError where images have such masks and no annotation: then half of the set would be
    left out.
    """
    annotated = {sample.image for sample in match.samples}
    for layout in MASK_LAYOUTS:
        try:
            other = layout(listing)
        except LimnerError:
            # Files that are masks of nothing
            continue
        pairs = [(sample.image, sample.mask) for sample in other.samples] if other else []
        if missing := [pair for pair in pairs if pair[0] not in annotated]:
            image, mask = missing[0]
            raise LimnerError(
                f"{listing.root} holds annotations of {match.layout} for "
                f"{count_noun(len(annotated), 'image')}, and masks in files for "
                f"{count_noun(len(missing), 'other')}, such as {mask} for {image}. Only one of the "
                f"two can be the truth: move the files of {match.layout} or the masks out of the "
                "folder."
            )
        if pairs:
            message = (
                f"{count_noun(len(pairs), 'image has', 'images have')} masks in files beside the "
                f"annotations of {match.layout}, such as {pairs[0][1]}. The annotations are read, "
                "and these masks are not."
            )
            yield Finding("masks-beside-annotations", "warning", str(pairs[0][1]), message)
            return


def _unknown_layout(listing: FolderListing) -> UnknownLayoutError:
    images = listing.images()
    proposal = propose_folders(listing)
    if images and not (proposal or listing.foreign() or listing.files(ANNOTATION_SUFFIXES)):
        root = shlex.quote(str(listing.root))
        return UnknownLayoutError(
            f"{listing.root} holds {count_noun(len(images), 'image')} and no masks. Masks are "
            "known by their place and name: images/x.jpg with masks/x.png, x.jpg with x_mask.png, "
            "or the files of an annotation tool (COCO, labelme, CVAT and others). Are they in "
            "another folder? Put it beside the images, and name both with --images and --masks. "
            f"Are there none yet? Draw the first ones: limner review {root}"
        )
    known = "\n".join(f"  {' '.join((layout.__doc__ or '').split())}" for layout in LAYOUTS)
    entries = sorted(path.name for path in listing.direct_files() + listing.direct_folders())
    archives = [path.name for path in listing.direct_files() if kind_by_name(path.name) in PACKED]
    unpack = (
        f" Unpack {list_some(archives)} there: archives are not read, and may hold the "
        "images or the masks."
        if archives
        else ""
    )
    names = (
        f" {proposal.reason}: add --images {shlex.quote(proposal.images)} --masks "
        f"{shlex.quote(proposal.masks)} to limner check or train, or rename them images/ and "
        "masks/."
        if proposal
        else ""
    )
    return UnknownLayoutError(
        f"{listing.root} is in no layout that limner knows. Looked for:\n{known}\n"
        f"Found there: {list_some(entries, 8) or 'nothing'}.{unpack}{names}"
    )


def _unsupported(listing: FolderListing, match: LayoutMatch) -> dict[Path, FileKind]:
    """What may be images and is not read, where no other form of the same image is beside it."""
    told = {*(item.file for item in match.unread), *match.set_aside, *other_forms(listing)}
    return {path: kind for path, kind in listing.foreign().items() if path not in told}


def _unused(listing: FolderListing, match: LayoutMatch) -> tuple[Path, ...]:
    """The images that the match does not account for, by any path that leads to them."""
    files = match.files()
    unused = [path for path in dict.fromkeys(listing.images()) if path not in files]
    if unused and listing.repeated_links():
        real_files = {path.resolve() for path in files}
        unused = [path for path in unused if path.resolve() not in real_files]
    return tuple(unused)


def _with_official_splits(samples: Sequence[Sample]) -> list[Sample]:
    """Where some samples have a split of the layout, the others are for training."""
    if not any(sample.split for sample in samples):
        return list(samples)
    return [sample.with_split(sample.split_or_train) for sample in samples]
