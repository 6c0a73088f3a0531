"""Findings about classes that training lacks, or that no score can tell of."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from limner.data.check_masks import count_classes
from limner.data.check_set import FEW_IMAGES
from limner.data.findings import Finding
from limner.data.sample import Sample
from limner.data.sample_info import SampleInfo
from limner.data.splits import split_units
from limner.labels import Labels, labels_lines
from limner.plurals import count_noun


def class_split_findings(
    infos: Sequence[SampleInfo],
    samples: Mapping[str, Sample],
    labels: Labels,
    copies: Mapping[str, str],
) -> Iterator[Finding]:
    """Report the classes that a split tears from training, or leaves nothing of to score.

    Args:
        infos: What is known of each readable sample.
        samples: All samples, by id.
        labels: The coding of the masks.
        copies: For each id one that all copies of its image share.
    """
    holders = count_classes(infos, labels).holders
    has_splits = any(sample.split for sample in samples.values())
    units = split_units(list(samples.values()), copies)
    unit_by_id = {sample.id: number for number, unit in enumerate(units) for sample in unit}
    for class_index in range(len(labels.names)):
        having = [samples[info.id] for info in holders.get(class_index, ())]
        if has_splits and having and all(sample.split != "train" for sample in having):
            yield _not_in_training(class_index, having, labels)
        # The check of the masks says so of a single mask among many
        said = len(having) == 1 and len(infos) >= FEW_IMAGES
        together = len({unit_by_id[sample.id] for sample in having}) == 1 < len(units)
        if together and not has_splits and not said:
            yield _not_scored(class_index, having, labels)


def _not_in_training(class_index: int, having: Sequence[Sample], labels: Labels) -> Finding:
    sides = " and ".join(sorted({str(sample.split) for sample in having}))
    message = (
        f"class {labels.names[class_index]} (pixel value {labels.format_class(class_index)}) is in "
        f"{count_noun(len(having), 'image')} of {sides} (for instance {having[0].mask}) and in "
        "no training "
        "image, so no model can learn it. Move images with it to the training images"
    )
    if len(labels.names) > 2:
        message += (
            ", or leave it out with a labels.toml:\n"
            f"{labels_lines(_without_class(labels, class_index))}"
        )
    else:
        message += "."
    ids = tuple(sample.id for sample in having[:3])
    return Finding("class-not-in-training", "error", "", message, ids)


def _without_class(labels: Labels, class_index: int) -> Labels:
    """The same coding with one class as void."""
    names, values = list(labels.names), list(labels.values)
    del names[class_index]
    void_values = (*labels.void_values, *values.pop(class_index))
    return replace(labels, names=tuple(names), values=tuple(values), void_values=void_values)


def _not_scored(class_index: int, having: Sequence[Sample], labels: Labels) -> Finding:
    where = (
        "one image"
        if len(having) == 1
        else f"{len(having)} images that stay together as copies or as a group"
    )
    message = (
        f"class {labels.names[class_index]} (pixel value {labels.format_class(class_index)}) is "
        f"only in {where} (for instance {having[0].mask}). It is trained on, and no score will "
        "tell how well: add other images with it."
    )
    ids = tuple(sample.id for sample in having[:3])
    return Finding("class-not-scored", "warning", "", message, ids)
