"""write_masks: reviewed masks in a new folder, in the format of another tool.

A new format is a new file in `formats/` and one line in `EXPORTERS`.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from limner.data.storage import Storage
from limner.errors import LimnerError
from limner.files import atomic_folder, require_new
from limner.review.formats import (
    coco,
    cvat,
    cvat_xml,
    imagej,
    label_studio,
    labelme,
    nnunet,
    png,
    qupath,
    yolo,
)
from limner.review.predictions import Predictions
from limner.review.verdicts import KeptMask, ReviewedEntry, ReviewResults

Exporter = Callable[[Storage, Iterator[KeptMask], Predictions], Sequence[str] | None]
"""It may return what the format cannot hold, in words."""
EXPORTERS: dict[str, Exporter] = {
    "png": png.write,
    "coco": coco.write,
    "label-studio": label_studio.write,
    "cvat": cvat.write,
    "cvat-xml": cvat_xml.write,
    "labelme": labelme.write,
    "yolo": yolo.write,
    "qupath": qupath.write,
    "imagej": imagej.write,
    "nnunet": nnunet.write,
}
"""By the name that `limner masks --format` takes."""


def write_masks(
    results: ReviewResults, out: Path, format_name: str, prefer: str | None = None
) -> tuple[int, Sequence[str]]:
    """Write the accepted and corrected masks into a new folder.

    Args:
        results: the review.
        out: the new folder.
        format_name: one of `EXPORTERS`.
        prefer: the reviewer whose verdict counts where two differ.

    Returns how many masks there are, and what the format cannot hold, in words.

    Raises LimnerError for an unknown format, a folder that exists, two people who differ with
    nobody preferred, and whatever a format cannot hold.
    """
    if format_name not in EXPORTERS:
        raise LimnerError(
            f"--format {format_name} is not known. Choose one of {', '.join(EXPORTERS)}."
        )
    require_new(out)
    kept = _kept_entries(results, prefer)
    with atomic_folder(out) as folder:
        lost = EXPORTERS[format_name](
            Storage(folder), results.kept_masks(kept, prefer), results.predictions
        )
    return len(kept), lost or ()


def _kept_entries(results: ReviewResults, prefer: str | None) -> list[ReviewedEntry]:
    """The entries whose mask was accepted or corrected. Raises LimnerError where there is none."""
    reviewed = results.reviewed_entries()
    if unsettled := [entry for entry in reviewed if not entry.is_settled(prefer)]:
        first = unsettled[0]
        raise LimnerError(
            f"two people differ about {len(unsettled)} masks, such as {first.entry.id} "
            f"({results.describe_difference(first)}). Say whose count with --prefer NAME."
        )
    kept = [entry for entry in reviewed if entry.event_of(prefer).verdict != "rejected"]
    if not kept:
        folder = results.predictions.folder
        raise LimnerError(
            f"no mask of {folder} was accepted or corrected yet. Begin with: limner review {folder}"
        )
    return kept
