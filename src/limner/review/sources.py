"""read_predictions: what is reviewed, from a folder of limner's or another tool's."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from limner.data.annotation_mask import AnnotationMask
from limner.data.check import check
from limner.data.dataset import Dataset
from limner.data.parallel import Progress
from limner.data.sample import Sample
from limner.data.scan import scan
from limner.errors import LimnerError
from limner.inference.audit_record import AUDIT_FILE, AuditFile
from limner.inference.prediction_record import (
    PREDICTIONS_FILE,
    PredictionFile,
    PredictionRecord,
)
from limner.labels import Labels
from limner.review.blank import has_classes, read_blank
from limner.review.predictions import Entry, Predictions


def read_predictions(folder: Path, progress: Progress | None = None) -> Predictions:
    """Read what is reviewed.

    Args:
        folder: What `limner predict` wrote; or what `limner audit` wrote, for the masks of its
            dataset that are likeliest to be wrong; or images whose masks are drawn from nothing
            (`blank`); or images and masks in any layout that `limner train` takes.
        progress: Draws a bar while a dataset is checked.

    Raises LimnerError where the folder is none of them, and where masks have errors.
    """
    record = folder / PREDICTIONS_FILE
    if record.is_file():
        return _from_record(folder, record.read_bytes())
    if (folder / AUDIT_FILE).is_file():
        return _from_audit(folder, AuditFile.read(folder / AUDIT_FILE), progress)
    if not folder.is_dir():
        raise LimnerError(
            f"{folder} is not a folder. Give one that limner predict wrote, or one with images/ "
            "and masks/ of another tool."
        )
    if has_classes(folder):
        return read_blank(folder)
    try:
        dataset = scan(folder)
    except LimnerError as error:
        raise LimnerError(
            f"{folder} has no {PREDICTIONS_FILE}. As images and masks of another tool: {error}"
        ) from error
    return _from_dataset(folder, dataset, progress)


def _from_record(folder: Path, content: bytes) -> Predictions:
    """The predictions that limner's own record describes."""
    file = PredictionFile.from_bytes(content, folder / PREDICTIONS_FILE)
    if not file.records:
        raise LimnerError(f"{folder} holds no prediction. Give a folder that limner predict wrote.")
    stacks = {record.image for record in file.records if record.page}
    return Predictions(
        folder,
        file.labels,
        tuple(_entry_of(record, folder, stacks) for record in file.records),
        file.models,
        hashlib.sha256(content).hexdigest(),
        from_limner=True,
    )


def _entry_of(record: PredictionRecord, folder: Path, stacks: set[str]) -> Entry:
    return Entry(
        id=record.mask,
        image=record.image,
        page=record.page,
        mask=folder / record.mask,
        priority=record.priority,
        predicted_dice=record.predicted_dice,
        unusual=record.unusual,
        image_sha256=record.image_sha256,
        group=PurePosixPath(record.image).name if record.image in stacks else None,
        pixel_size=record.pixel_size,
        uncertainty=folder / record.uncertainty if record.uncertainty else None,
    )


def _from_audit(folder: Path, audit: AuditFile, progress: Progress | None) -> Predictions:
    """The masks of a dataset that an audit found likeliest to be wrong."""
    data = Path(audit.data)
    suspects = {mask.id: mask for mask in audit.masks[: audit.worst]}
    dataset = scan(data)
    if region := next((s for s in dataset.samples if s.region and s.id in suspects), None):
        raise LimnerError(
            f"{folder} is about regions of large images, such as {region.id}, and the page shows "
            "whole images. Mend these masks in the tool that drew them."
        )
    predictions = _from_dataset(data, dataset, progress)
    entries = tuple(
        replace(
            entry,
            priority=-suspects[entry.id].probability,
            note=f"the audit suspects: {suspects[entry.id].summary}",
        )
        for entry in predictions.entries
        if entry.id in suspects
    )
    if len(entries) < len(suspects):
        raise LimnerError(
            f"{data} has {len(entries)} of the {len(suspects)} masks that {folder} names: it was "
            "changed since. Audit it again."
        )
    identity = _dataset_identity(predictions.labels, entries)
    return replace(
        predictions, folder=folder, entries=entries, models=tuple(audit.models), identity=identity
    )


def _whole_images(samples: Sequence[Sample]) -> dict[str, Sample]:
    """Samples by their ids, with one for each large image in place of its regions.

    Raises LimnerError where the masks of a large image are drawn from annotations.
    """
    whole: dict[str, Sample] = {}
    for sample in samples:
        if sample.region is not None and isinstance(sample.mask, AnnotationMask):
            raise LimnerError(
                f"{sample.image} is read part by part, and its annotations are drawn for parts of "
                "it alone. Export the whole mask as a tiled TIFF of class numbers."
            )
        whole.setdefault(sample.image_id, sample)
    return whole


def _from_dataset(folder: Path, dataset: Dataset, progress: Progress | None) -> Predictions:
    """The images and masks of another tool."""
    report = check(dataset, progress)
    if report.errors or report.labels is None:
        first_error = (
            f"{report.errors[0].file}: {report.errors[0].message}"
            if report.errors
            else "no mask could be read."
        )
        raise LimnerError(
            f"{folder} has no {PREDICTIONS_FILE}, and as images and masks it has errors, of which "
            f"one is: {first_error} See all with: limner check {folder}"
        )
    entries = tuple(
        Entry(
            id,
            str(sample.image.resolve()),
            sample.page,
            sample.mask,
            priority=0.0,
            mask_page=sample.mask_page,
            group=sample.group,
        )
        for id, sample in _whole_images(dataset.samples).items()
    )
    identity = _dataset_identity(report.labels, entries)
    return Predictions(folder, report.labels, entries, (), identity, from_limner=False)


def _dataset_identity(labels: Labels, entries: tuple[Entry, ...]) -> str:
    # Masks are stored as class indices, which mean nothing without the values they stand for
    coding = json.dumps([labels.values, labels.void_values, labels.coloured])
    text = "\n".join([coding, *sorted(entry.id for entry in entries)])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
