"""What is reviewed: images and the masks that were drawn in them, by `limner predict` or by any
other tool.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from jaxtyping import UInt8
from numpy import ndarray

from limner.data.check import check
from limner.data.images import read_image, read_predicted_mask
from limner.data.parallel import Progress
from limner.data.sample import AnnotationMask, Sample
from limner.data.scan import scan
from limner.data.storage import Storage, open_storage
from limner.errors import LimnerError
from limner.files import printable_name, sha256_of_file
from limner.labels import Labels

RECORD = "predictions.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """One image and its mask. `doubt` is what entries are ordered by: the lower, the sooner a
    person should look.
    """

    id: str
    image: str
    """Its path or URL."""
    page: int
    mask: Path | AnnotationMask
    priority: float
    predicted_dice: float | None = None
    unusual: bool = False
    image_sha256: str | None = None
    """Of the file that the mask was drawn in, where that was recorded."""
    group: str | None = None
    """Of those that belong together, such as the images of a stack."""

    @property
    def name(self) -> str:
        """What a person calls it."""
        return printable_name(PurePosixPath(self.image).name) + (
            f" ({self.page + 1})" if self.page else ""
        )


@dataclass(frozen=True, slots=True)
class Predictions:
    """A folder's entries, in no order, and their classes. `identity` is another one for other
    predictions.
    """

    folder: Path
    labels: Labels
    entries: tuple[Entry, ...]
    models: tuple[str, ...]
    identity: str
    from_limner: bool
    """Whether `limner predict` wrote it."""

    def image(self, entry: Entry) -> UInt8[ndarray, "h w c"]:
        """Upright, 0..255. Raises LimnerError as `file` does, and where it cannot be read."""
        with self.image_file(entry) as path:
            return read_image(path, page=entry.page)

    @contextmanager
    def image_file(self, entry: Entry) -> Iterator[Path]:
        """A path that holds the image. Raises LimnerError where it is gone, or another than the
        mask was drawn in.
        """
        with _place_of(entry.image).local_file(PurePosixPath(entry.image).name) as path:
            if not path.is_file():
                raise LimnerError(f"{entry.image} does not exist. Put it back, or predict again.")
            if entry.image_sha256 is not None and sha256_of_file(path) != entry.image_sha256:
                raise LimnerError(
                    f"{entry.image} is not the file that its mask was drawn in: it was "
                    "changed since. Restore it, or predict again."
                )
            yield path

    def fingerprint(self, entry: Entry) -> str:
        """Another one where the file of the image or of the mask was changed."""
        return " ".join(
            _place_of(str(path)).fingerprint(PurePosixPath(path).name)
            for path in (entry.image, entry.mask)
            if not isinstance(path, AnnotationMask)
        )

    def image_hash(self, entry: Entry) -> str:
        """Of the image's file as it is now. Raises LimnerError as `file` does."""
        with self.image_file(entry) as path:
            return sha256_of_file(path)

    def mask(self, entry: Entry) -> UInt8[ndarray, "h w"]:
        """As it was drawn, in class indices. Raises LimnerError where the file is gone or has
        values that mean no class.
        """
        if not self.from_limner:
            return Sample(entry.id, Path(entry.image), entry.mask, page=entry.page).class_index(
                self.labels
            )
        assert isinstance(entry.mask, Path)
        return read_predicted_mask(entry.mask, self.labels)


def _place_of(file: str) -> Storage:
    """Where a file lies."""
    return (
        open_storage(file.rpartition("/")[0]) if "://" in file else open_storage(Path(file).parent)
    )


def read_predictions(folder: Path, progress: Progress | None = None) -> Predictions:
    """What a folder holds: predictions of ours, or images and masks in any layout that `limner
    train` takes.

    Raises LimnerError where it is neither, or where its masks have errors.
    """
    record = folder / RECORD
    if record.is_file():
        return _ours(folder, record.read_bytes())
    if not folder.is_dir():
        raise LimnerError(
            f"{folder} is no folder. Give one that limner predict wrote, or one with images/ "
            "and masks/ of another tool."
        )
    try:
        dataset = scan(folder)
    except LimnerError as error:
        raise LimnerError(
            f"{folder} has no {RECORD}. As images and masks of another tool: {error}"
        ) from error
    health = check(dataset, progress)
    if health.errors or health.labels is None:
        first = (
            f"{health.errors[0].file}: {health.errors[0].message}"
            if health.errors
            else "no mask could be read."
        )
        raise LimnerError(
            f"{folder} has no {RECORD}, and as images and masks it has errors, of which one "
            f"is: {first} See all with: limner check {folder}"
        )
    entries = tuple(
        Entry(
            sample.id,
            str(sample.image.resolve()),
            sample.page,
            sample.mask,
            0.0,
            group=sample.group,
        )
        for sample in dataset.samples
    )
    labels = health.labels
    coding = json.dumps(
        [labels.values, labels.void_values, labels.coloured]
        # Masks are kept as class indices, which mean nothing without it
    )
    identity = hashlib.sha256(
        "\n".join([coding, *sorted(entry.id for entry in entries)]).encode(
            "utf-8", "surrogateescape"
        )
    ).hexdigest()
    return Predictions(folder, labels, entries, (), identity, from_limner=False)


def _ours(folder: Path, content: bytes) -> Predictions:
    try:
        told = json.loads(content)
        labels = Labels.from_dict(told["labels"])
        stacks = {one["image"] for one in told["predictions"] if one["page"]}
        entries = tuple(
            Entry(
                id=one["mask"],
                image=one["image"],
                page=one["page"],
                mask=folder / one["mask"],
                priority=-one["mean_entropy"]
                if one["predicted_dice"] is None
                else one["predicted_dice"],
                predicted_dice=one["predicted_dice"],
                unusual=one["unusual"],
                image_sha256=one["image_sha256"],
                group=PurePosixPath(one["image"]).name if one["image"] in stacks else None,
            )
            for one in told["predictions"]
        )
        models = tuple(told["models"])
    except (ValueError, KeyError, TypeError) as error:
        raise LimnerError(
            f"{folder / RECORD} is not as limner predict writes it ({type(error).__name__}: "
            f"{error}). Predict again into a new folder."
        ) from error
    if not entries:
        raise LimnerError(f"{folder} holds no prediction. Give a folder that limner predict wrote.")
    outside = [
        entry.id
        for entry in entries
        if PurePosixPath(entry.id).is_absolute() or ".." in PurePosixPath(entry.id).parts
    ]
    if outside:
        raise LimnerError(
            f"{folder / RECORD} names the mask {outside[0]}, which is not in its folder. "
            "Predict again into a new folder."
        )
    return Predictions(
        folder, labels, entries, models, hashlib.sha256(content).hexdigest(), from_limner=True
    )
