"""write_masks: reviewed masks in a new folder, in the format of another tool."""

from collections.abc import Sequence
from pathlib import Path

from limner.errors import LimnerError
from limner.review.formats.write import require_format, write_format
from limner.review.verdicts import ReviewedEntry, ReviewResults, Settlement


def write_masks(
    results: ReviewResults,
    out: Path,
    format_name: str,
    settlement: Settlement | None = None,
    image_prefix: str = "",
) -> tuple[int, Sequence[str]]:
    """Write the accepted and corrected masks into a new folder.

    Args:
        results: the review.
        out: the new folder, or a zip where it is called .zip.
        format_name: one of `formats.write.EXPORTERS`.
        settlement: what counts where people differ; by default that is an error.
        image_prefix: what stands before the images' names in files that name them.

    Returns how many masks there are, and what the format cannot hold, in words.

    Raises LimnerError for an unknown format, a folder that exists, two people who differ with
    nobody preferred, and whatever a format cannot hold.
    """
    require_format(format_name)
    settlement = settlement or Settlement()
    kept = _kept_entries(results, settlement)
    masks = results.kept_masks(kept, settlement, image_prefix)
    return len(kept), write_format(masks, results.predictions, out, format_name)


def _kept_entries(results: ReviewResults, settlement: Settlement) -> list[ReviewedEntry]:
    """The entries whose mask was accepted or corrected. Raises LimnerError where there is none."""
    reviewed = results.reviewed_entries()
    if unsettled := [entry for entry in reviewed if not entry.is_settled(settlement)]:
        first = unsettled[0]
        raise LimnerError(
            f"people differ about {len(unsettled)} masks, such as {first.entry.id} "
            f"({results.describe_difference(first)}). Say whose count with "
            "--prefer NAME, or take --consensus majority or staple."
        )
    kept = [entry for entry in reviewed if not entry.is_rejected(settlement)]
    if not kept:
        folder = results.predictions.folder
        raise LimnerError(
            f"no mask of {folder} was accepted or corrected yet. Begin with: limner review {folder}"
        )
    return kept
