"""write_masks: reviewed masks in a new folder, in the format of another tool."""

from collections.abc import Sequence
from pathlib import Path

from limner.errors import LimnerError
from limner.review.formats.write import require_format, write_format
from limner.review.verdicts import ReviewedEntry, ReviewResults


def write_masks(
    results: ReviewResults,
    out: Path,
    format_name: str,
    prefer: str | None = None,
    image_prefix: str = "",
) -> tuple[int, Sequence[str]]:
    """Write the accepted and corrected masks into a new folder.

    Args:
        results: the review.
        out: the new folder, or a zip where it is called .zip.
        format_name: one of `formats.write.EXPORTERS`.
        prefer: the reviewer whose verdict counts where two differ.
        image_prefix: what stands before the images' names in files that name them.

    Returns how many masks there are, and what the format cannot hold, in words.

    Raises LimnerError for an unknown format, a folder that exists, two people who differ with
    nobody preferred, and whatever a format cannot hold.
    """
    require_format(format_name)
    kept = _kept_entries(results, prefer)
    masks = results.kept_masks(kept, prefer, image_prefix)
    return len(kept), write_format(masks, results.predictions, out, format_name)


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
