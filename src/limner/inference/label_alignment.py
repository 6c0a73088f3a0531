"""The classes of a model in the masks of another folder, which may be coded otherwise.

Masks of 0 and 1, of 0 and 255 or of colours mean the same two classes. Several classes are matched
by their names, which a labels.toml or a class-name file states.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from limner.data.dataset import Dataset
from limner.data.label_coding import detect_label_coding
from limner.data.parallel import Progress, map_in_order, with_progress
from limner.data.sample import Sample
from limner.data.value_histogram import ValueHistogram, class_shares, value_histogram
from limner.errors import LimnerError
from limner.inference.label_cure import labels_cure, mask_values
from limner.labels import Labels

LISTED = 8
"""Classes or values that a message names."""


@dataclass(frozen=True, slots=True)
class AlignedLabels:
    """How the masks of a folder are read as the classes of a model."""

    labels: Labels
    """The model's classes in its order, with the pixel values of the folder."""
    note: str = ""
    """What people are told where the folder codes its masks otherwise than the model's."""


def align_labels(
    model: Labels, dataset: Dataset, samples: Sequence[Sample], progress: Progress | None = None
) -> AlignedLabels:
    """Find out how the masks of a folder hold the classes of a model.

    Args:
        model: the classes of the model, as its own masks coded them.
        dataset: the folder; its labels.toml and class names are heard.
        samples: those of it that are looked at.
        progress: wraps the reading of their masks.

    Raises LimnerError where the folder has a class that the model does not know, where it is not
    certain which value means which class, and where most masks hold a value without a class.
    """
    read = with_progress(map_in_order(_read_histogram, samples), len(samples), progress)
    histograms = [histogram for histogram in read if histogram is not None]
    stated = dataset.stated_labels
    if stated is not None:
        return _align(model, stated, dataset, histograms)
    detected = _detect(histograms, dataset) if histograms else None
    if not histograms or _fits(model, histograms, detected):
        return AlignedLabels(model)
    if detected is None:
        cure = labels_cure(model, None, histograms, dataset.root)
        raise LimnerError(
            f"the masks of {dataset.root} have values that are no class of the model "
            f"({model.describe()}), and do not tell by themselves what they mean. {cure}"
        )
    return _align(model, detected, dataset, histograms)


def _read_histogram(sample: Sample) -> ValueHistogram | None:
    """The values of one mask; None where it cannot be read, which the scoring reports."""
    try:
        return value_histogram(sample, sample.read_mask())
    except LimnerError:
        return None


def _detect(histograms: Sequence[ValueHistogram], dataset: Dataset) -> Labels | None:
    """The coding that the masks show by themselves; None where they show none."""
    try:
        return detect_label_coding(histograms, dataset.class_names)
    except LimnerError:
        return None


def _fits(model: Labels, histograms: Sequence[ValueHistogram], detected: Labels | None) -> bool:
    """Whether every value has a class of the model, and means the same there."""
    if not model.coloured and any(mask.kind == "colour" for mask in histograms):
        return False
    values = mask_values(histograms, coloured=model.coloured)
    if any(model.class_of(value) is None for value in values):
        return False
    if not model.binary or detected is None or not detected.binary:
        return True
    # A model of smeared masks takes 0 to 127 for the background, so it has a class for 1, too
    return all(model.class_of(low) == 1 for low, _ in detected.values[1] if low in values)


def _align(
    model: Labels, folder: Labels, dataset: Dataset, histograms: Sequence[ValueHistogram]
) -> AlignedLabels:
    """The model's classes with the values of the folder's classes of the same names."""
    if folder.binary and model.binary:
        values = folder.values
    else:
        present = {index for mask in histograms for index in class_shares(folder, mask)}
        unknown = [
            index
            for index, name in enumerate(folder.names)
            # Of masks that cannot be read it is not known what they hold
            if name not in model.names and (index in present or not histograms)
        ]
        if unknown:
            raise LimnerError(_unknown_classes(unknown, model, folder, dataset, histograms))
        ranges = dict(zip(folder.names, folder.values, strict=True))
        values = tuple(ranges.get(name, ()) for name in model.names)
    aligned = Labels(model.names, values, folder.void_values, folder.coloured)
    _require_classes(aligned, model, dataset, histograms)
    if aligned == model:
        return AlignedLabels(model)
    note = (
        f"{dataset.root} codes its masks as {aligned.without_absent().describe()}; the model's "
        f"were {model.describe()}. They are matched by class."
    )
    return AlignedLabels(aligned, note)


def _require_classes(
    aligned: Labels, model: Labels, dataset: Dataset, histograms: Sequence[ValueHistogram]
) -> None:
    """Raise LimnerError where most masks hold a value without a class.

    A few such masks are named one by one when they are scored.
    """
    without = [
        {
            value
            for value in mask_values([mask], coloured=aligned.coloured)
            if aligned.class_of(value) is None
        }
        for mask in histograms
    ]
    if 2 * sum(map(bool, without)) > len(histograms):
        listed = ", ".join(map(aligned.format_value, sorted(set[int]().union(*without))[:LISTED]))
        raise LimnerError(
            f"most masks of {dataset.root} hold values without a class, such as {listed}. Known "
            f"are {aligned.without_absent().describe()}. "
            f"{labels_cure(model, aligned, histograms, dataset.root)}"
        )


def _unknown_classes(
    unknown: Sequence[int],
    model: Labels,
    folder: Labels,
    dataset: Dataset,
    histograms: Sequence[ValueHistogram],
) -> str:
    shown = unknown[:LISTED]
    more = f" and {len(unknown) - LISTED} more" if len(unknown) > LISTED else ""
    if dataset.stated_labels or dataset.class_names:
        listed = ", ".join(f"{folder.names[i]} ({folder.format_class(i)})" for i in shown)
        what = "class" if len(unknown) == 1 else "classes"
    else:
        # Their names were made up from the values
        listed = ", ".join(map(folder.format_class, shown))
        what = "value" if len(unknown) == 1 else "values"
    return (
        f"the masks of {dataset.root} have the {what} {listed}{more}, which the model does not "
        f"know. It knows {model.describe()}. {labels_cure(model, folder, histograms, dataset.root)}"
    )
