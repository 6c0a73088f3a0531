"""What is reviewed: images and masks, which `limner predict` or another tool wrote."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from jaxtyping import UInt8
from numpy import ndarray

from limner.data.annotation_mask import AnnotationMask
from limner.data.check import check
from limner.data.dataset import Dataset
from limner.data.image_file import read_only_header, without_suffix
from limner.data.images import read_image, read_predicted_mask
from limner.data.large_images import open_large_image
from limner.data.parallel import Progress
from limner.data.readers.pixel_size import PixelSize
from limner.data.sample import Sample
from limner.data.scan import scan
from limner.data.storage import Storage
from limner.data.united_mask import UnitedMask
from limner.errors import LimnerError
from limner.files import channel_paths, printable_name, sha256_of_file
from limner.inference.audit_record import AUDIT_FILE, AuditFile
from limner.inference.prediction_record import (
    PREDICTIONS_FILE,
    PredictionFile,
    PredictionRecord,
)
from limner.labels import Labels


@dataclass(frozen=True, slots=True)
class Entry:
    """One image and its mask."""

    id: str
    image: str
    """Its path or URL."""
    page: int
    mask: Path | UnitedMask | AnnotationMask
    priority: float
    """What entries are sorted by for review: the lowest first."""
    predicted_dice: float | None = None
    unusual: bool = False
    image_sha256: str | None = None
    """Of the image's file as it was predicted, where that was recorded."""
    mask_page: int | None = None
    """Which image of the mask's file it is, where that is another than `page`."""
    group: str | None = None
    """Shared by entries that belong together, such as the pages of a stack."""
    pixel_size: PixelSize | None = None
    """How large a pixel is, where that was recorded."""
    note: str = ""
    """What the reviewer is told of the mask, such as what an audit suspects."""

    def mask_files(self) -> tuple[Path, ...]:
        """List the files of the mask; none where it is drawn from annotations."""
        if isinstance(self.mask, AnnotationMask):
            return ()
        return self.mask.files if isinstance(self.mask, UnitedMask) else (self.mask,)

    @property
    def name(self) -> str:
        """The name to show: that of the image's file, and the page of a stack, from 2 on."""
        name = printable_name(PurePosixPath(self.image).name)
        return f"{name} ({self.page + 1})" if self.page else name


@dataclass(frozen=True, slots=True)
class Predictions:
    """The entries of a folder, in no particular order, and their classes."""

    folder: Path
    labels: Labels
    entries: tuple[Entry, ...]
    models: tuple[str, ...]
    identity: str
    """A hash that differs for other predictions, images or classes."""
    from_limner: bool
    """Whether `limner predict` wrote the folder."""

    def sample_id(self, entry: Entry) -> str:
        """The id of the sample that a reviewed mask becomes."""
        if self.from_limner:
            return without_suffix(entry.id)
        return entry.id

    def image(self, entry: Entry) -> UInt8[ndarray, "h w c"]:
        """Read an image, upright, in 0..255.

        Raises LimnerError as `image_file` does, and where the file cannot be read.
        """
        with self.image_file(entry) as path:
            return read_image(path, page=entry.page)

    @contextmanager
    def image_file(self, entry: Entry) -> Iterator[Path]:
        """A local path of the image's file.

        Raises LimnerError where the file is gone, or is not the one that was predicted.
        """
        with _storage_of(entry.image).local_file(PurePosixPath(entry.image).name) as path:
            if not all(file.exists() for file in channel_paths(path)):
                raise LimnerError(f"{entry.image} does not exist. Put it back, or predict again.")
            if entry.image_sha256 is not None and sha256_of_file(path) != entry.image_sha256:
                raise LimnerError(
                    f"{entry.image} is not the file that its mask was drawn in: it was "
                    "changed since. Restore it, or predict again."
                )
            yield path

    def pixel_size(self, entry: Entry) -> PixelSize | None:
        """How large a pixel is, as it was recorded or as the image's file states it.

        None where neither does, and where the image is gone or lies elsewhere.
        """
        if entry.pixel_size or "://" in entry.image:
            return entry.pixel_size
        try:
            large = open_large_image(Path(entry.image))
            return large.pixel_size if large else read_only_header(Path(entry.image)).pixel_size
        except LimnerError:
            return None

    def fingerprint(self, entry: Entry) -> str:
        """A text that changes whenever the file of the image or of the mask does."""
        return " ".join(
            _storage_of(path).fingerprint(PurePosixPath(path).name)
            for path in (entry.image, *map(str, entry.mask_files()))
        )

    def image_hash(self, entry: Entry) -> str:
        """The SHA-256 of the image's file as it is now. Raises LimnerError as `image_file` does."""
        with self.image_file(entry) as path:
            return sha256_of_file(path)

    def mask(self, entry: Entry) -> UInt8[ndarray, "h w"]:
        """Read the mask as it was predicted, in class indices.

        Raises LimnerError where the file is gone, or holds values that belong to no class.
        """
        if not self.from_limner:
            sample = Sample(
                entry.id,
                Path(entry.image),
                entry.mask,
                page=entry.page,
                mask_page=entry.mask_page,
            )
            return sample.class_index(self.labels)
        assert isinstance(entry.mask, Path)
        return read_predicted_mask(entry.mask, self.labels)


def read_predictions(folder: Path, progress: Progress | None = None) -> Predictions:
    """Read what is reviewed.

    Args:
        folder: What `limner predict` wrote; or what `limner audit` wrote, for the masks of its
            dataset that are likeliest to be wrong; or images and masks in any layout that `limner
            train` takes.
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


def _storage_of(file: str) -> Storage:
    """The folder or bucket that a file lies in."""
    return Storage(file.rpartition("/")[0]) if "://" in file else Storage(Path(file).parent)
