"""merge: accepted and corrected masks become the next revision of a dataset, in a new folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from limner.data.check import check, require_valid
from limner.data.parallel import Progress
from limner.data.scan import scan
from limner.errors import LimnerError
from limner.files import require_new
from limner.labels import require_same_classes
from limner.name_list import list_some_lines
from limner.review.matching import TargetDataset, collect_candidates, match_candidates
from limner.review.queue import MAX_READERS, task_key
from limner.review.revision import write_revision
from limner.review.verdicts import ReviewedEntry, ReviewResults, Settlement, open_results

SHOWN_CONFLICTS = 8
"""How many conflicts an error message lists."""


@dataclass(frozen=True, slots=True)
class MergePolicy:
    """What settles a conflict.

    With `replace` a reviewed mask takes the place of the one that the dataset has for the same
    image.
    """

    settlement: Settlement = field(default_factory=Settlement)
    """Where people differ."""
    replace: bool = False


@dataclass(frozen=True, slots=True)
class MergeResult:
    """How many samples of the new revision come from where."""

    before: int
    """Samples of the dataset."""
    added: int
    replaced: int
    """Samples of the dataset that got a reviewed mask."""
    rejected: int
    left: int
    """Entries without a verdict, or with a draft since."""
    agreement: tuple[float, ...]
    """The Dice between the masks of each entry that several people kept."""
    with_consensus: Mapping[str, float]
    """The mean Dice of each person's masks with the consensus, where people differ."""


def merge(
    predictions: str | Path,
    dataset: str | Path | None,
    out: str | Path,
    *,
    settlement: Settlement | None = None,
    replace: bool = False,
    store: str | None = None,
) -> MergeResult:
    """Write the next revision of a dataset: its samples, and those with a reviewed mask.

    `provenance.jsonl` in the new folder has a line for each reviewed mask: its image, the models,
    the reviewer and the event. The dataset itself is not changed.

    Args:
        predictions: the folder that was reviewed.
        dataset: the folder of images and masks that the reviewed ones join; None begins a new
            dataset with them.
        out: the new folder.
        settlement: whose verdict counts where people differ, or by which consensus their masks
            become one; by default that is an error.
        replace: let reviewed masks take the place of those that the dataset has for the same
            images.
        store: the URL of the review's database; by default it lies beside the predictions.

    Raises:
        LimnerError: where `out` exists, the predictions were not reviewed, the dataset has errors,
            or the classes differ. Conflicts are listed together: two people who differ, images or
            masks that were changed or are gone, the id of another image, and images that the
            dataset has with another mask. Nothing is written then.

    Example:
        >>> result = limner.merge("predictions", "lesions", "lesions-2")  # doctest: +SKIP
        >>> result.added, result.rejected  # doctest: +SKIP
        (12, 1)
    """
    with open_results(Path(predictions), store) as results:
        folder = None if dataset is None else Path(dataset)
        policy = MergePolicy(settlement or Settlement(), replace)
        return merge_results(results, folder, Path(out), policy)


def merge_results(
    results: ReviewResults,
    folder: Path | None,
    out: Path,
    policy: MergePolicy,
    progress: Progress | None = None,
) -> MergeResult:
    """Do what `merge` does, with open results. `progress` draws a bar while the dataset is checked.

    Raises LimnerError as `merge` does.
    """
    require_new(out)
    dataset = _read_dataset(folder, results, progress)
    reviewed = results.reviewed_entries()
    if not reviewed:
        predictions = results.predictions.folder
        raise LimnerError(
            f"nobody has decided on any mask of {predictions} yet. Begin with: limner "
            f"review {predictions}"
        )
    collected = collect_candidates(results, reviewed, policy.settlement)
    matches = match_candidates(results, collected.candidates, dataset, replace=policy.replace)
    _require_no_conflicts([*collected.conflicts, *matches.conflicts])
    write_revision(out, dataset, matches, results)
    return MergeResult(
        before=len(dataset.samples),
        added=len(matches.added),
        replaced=len(matches.replaced),
        rejected=collected.rejected,
        left=_count_left(results, reviewed),
        agreement=tuple(results.agreement(reviewed)),
        with_consensus=results.dice_with_consensus(reviewed, policy.settlement),
    )


def _read_dataset(
    folder: Path | None, results: ReviewResults, progress: Progress | None
) -> TargetDataset:
    """Read and check a dataset; without a folder one that begins with the reviewed masks.

    Raises LimnerError for errors, and for other classes.
    """
    if folder is None:
        return TargetDataset(results.predictions.folder, (), results.predictions.labels)
    dataset = scan(folder)
    labels = require_valid(check(dataset, progress))
    predictions = results.predictions
    require_same_classes(labels, str(folder), predictions.labels, str(predictions.folder))
    return TargetDataset(folder, dataset.samples, labels)


def _require_no_conflicts(conflicts: Sequence[str]) -> None:
    if not conflicts:
        return
    shown = list_some_lines(conflicts, SHOWN_CONFLICTS)
    raise LimnerError(f"{len(conflicts)} conflicts, and nothing was written:\n{shown}")


def _count_left(results: ReviewResults, reviewed: Sequence[ReviewedEntry]) -> int:
    """How many entries have no verdict, or a draft since."""
    decided = {reviewed_entry.entry.id for reviewed_entry in reviewed}
    drafts = {key for key, state in results.store.states().items() if state.draft}
    return sum(
        entry.id not in decided
        or any(task_key(entry, reading) in drafts for reading in range(1, MAX_READERS + 1))
        for entry in results.predictions.entries
    )
