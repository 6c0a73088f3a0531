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
from limner.data.value_histogram import ValueHistogram, value_histogram
from limner.errors import LimnerError
from limner.labels import Labels, dump_labels


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
        progress: wraps the reading of their masks, which is needed without a labels.toml.

    Raises LimnerError where the folder has a class that the model does not know, or where it is
    not certain which value means which class.
    """
    if dataset.stated_labels is not None:
        return _align(model, dataset.stated_labels, dataset)
    read = with_progress(map_in_order(_read_histogram, samples), len(samples), progress)
    histograms = [histogram for histogram in read if histogram is not None]
    detected = _detect(histograms, dataset) if histograms else None
    if not histograms or _fits(model, histograms, detected):
        return AlignedLabels(model)
    if detected is None:
        raise LimnerError(_unknown_coding(model, dataset))
    return _align(model, detected, dataset)


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
    if model.coloured:
        histograms = [mask.to_colours() for mask in histograms]
    elif any(mask.kind == "colour" for mask in histograms):
        return False
    values = {value for mask in histograms for value in mask.shares}
    if any(model.class_of(value) is None for value in values):
        return False
    if not model.binary or detected is None or not detected.binary:
        return True
    # A model of smeared masks takes 0 to 127 for the background, so it has a class for 1, too
    return all(model.class_of(low) == 1 for low, _ in detected.values[1] if low in values)


def _align(model: Labels, folder: Labels, dataset: Dataset) -> AlignedLabels:
    """The model's classes with the values of the folder's classes of the same names."""
    if folder == model:
        return AlignedLabels(model)
    if folder.binary and model.binary:
        values = folder.values
    else:
        ranges = dict(zip(folder.names, folder.values, strict=True))
        if unknown := [name for name in folder.names if name not in model.names]:
            raise LimnerError(_unknown_classes(unknown, model, dataset))
        values = tuple(ranges.get(name, ()) for name in model.names)
    aligned = Labels(model.names, values, folder.void_values, folder.coloured)
    note = (
        f"{dataset.root} codes its masks as {folder.describe()}; the model's were "
        f"{model.describe()}. They are matched by class."
    )
    return AlignedLabels(aligned, note)


def _unknown_classes(unknown: Sequence[str], model: Labels, dataset: Dataset) -> str:
    return (
        f"the masks of {dataset.root} have the classes {', '.join(unknown)}, which the model does "
        f"not know. It knows {', '.join(model.names)}. {_cure(model, dataset)}"
    )


def _unknown_coding(model: Labels, dataset: Dataset) -> str:
    return (
        f"the masks of {dataset.root} have values that belong to no class of the model "
        f"({model.describe()}), and do not tell by themselves what they mean. "
        f"{_cure(model, dataset)}"
    )


def _cure(model: Labels, dataset: Dataset) -> str:
    void = "" if model.void_values else "void = []\n"
    return (
        f"Write {dataset.root / 'labels.toml'} with the model's names and your masks' values "
        f"(void for what is to be left out), such as:\n{void}{dump_labels(model).strip()}"
    )
