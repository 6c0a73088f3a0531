"""find_scored_samples: what models are scored on, and how its masks are read."""

from collections.abc import Sequence
from typing import NamedTuple

from limner.data.dataset import Dataset
from limner.data.fingerprints import read_thumbnails
from limner.data.parallel import StageProgress, no_progress
from limner.data.split_record import SplitRecord, read_contents
from limner.inference.label_alignment import align_labels
from limner.inference.scored_data import ScoredData, choose_scored_data, unknown_samples
from limner.labels import Labels


class ScoredSamples(NamedTuple):
    """The samples that models are scored on, and how their masks hold the models' classes."""

    scored: ScoredData
    labels: Labels
    notes: Sequence[str] = ()
    """What people are told about the choice."""


def find_scored_samples(
    records: Sequence[SplitRecord],
    labels: Labels,
    dataset: Dataset,
    split: str | None = None,
    progress: StageProgress = no_progress,
) -> ScoredSamples:
    """Choose the samples of a folder that models are scored on.

    Args:
        records: What each model was trained on.
        labels: The models' classes.
        dataset: The folder.
        split: "train", "val", "test", "new" or "all"; None takes the test images of the training,
            and all of a folder that the models know nothing of.
        progress: Draws a bar for each stage.

    Raises LimnerError as `choose_scored_data` and `align_labels` do.
    """
    contents = read_contents(dataset.samples, progress("identifying"))
    unknown = unknown_samples(records, dataset.samples, contents)
    thumbnails = read_thumbnails(unknown, progress("comparing")) if unknown else {}
    scored = choose_scored_data(records, dataset, contents, split, thumbnails)
    aligned = align_labels(labels, dataset, scored.samples, progress("reading masks of"))
    notes = (*scored.notes, *([aligned.note] if aligned.note else []))
    return ScoredSamples(scored, aligned.labels, notes)
