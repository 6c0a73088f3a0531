"""A job of `predict_folder`: which files are predicted, where masks go, and one file's result."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from limner.data.file_kinds import FileKind
from limner.data.image_file import without_suffix
from limner.data.storage import Storage, relative_prefix
from limner.errors import LimnerError
from limner.inference.image_selection import GIVE, ImageSelection
from limner.inference.prediction_record import PredictionRecord
from limner.plurals import count_noun

UNCERTAINTY, UNFINISHED = "uncertainty", "unfinished"
"""Folders beside the masks: uncertainty maps, and the results of a job that is not finished."""


@dataclass(frozen=True, slots=True)
class PredictionJob:
    """Which files are predicted, by which models, and where the masks go."""

    images: Storage
    out: Storage
    models: Mapping[str, str]
    """The SHA-256 of each model file, by its path."""
    masks: Mapping[str, str]
    """The name in `out` of each image's mask, by the image's name in `images`."""
    foreign: Mapping[str, FileKind] = field(default_factory=dict)
    """Files in `images` that may be images, in formats that are not read."""
    precision: str = "float32"
    """What was asked for: "fast" allows lower ones, which change masks."""

    @classmethod
    def plan(
        cls,
        images: ImageSelection,
        out: Storage,
        models: Mapping[str, str],
    ) -> "PredictionJob":
        """Plan a job for images.

        Files in `out` are never predicted, also where it lies within the folder of the images.

        Raises LimnerError where there is no image, and as `mask_names` does.
        """
        own = relative_prefix(out, images.storage)
        names = [name for name in images.names if not (own and name.startswith(own))]
        foreign = {
            name: kind
            for name, kind in images.foreign.items()
            if not (own and name.startswith(own))
        }
        if not names:
            where = images.storage.path_of("")
            if foreign:
                name, kind = next(iter(foreign.items()))
                raise LimnerError(
                    f"{where} holds no image that is read, and "
                    f"{count_noun(len(foreign), 'file')} of other "
                    f"formats, such as {name}, {kind.name}. {kind.cure}"
                )
            raise LimnerError(f"{where} holds no image. {GIVE}")
        return cls(images.storage, out, models, mask_names(names), foreign)

    def beside(self, results: "Iterable[FileResult]") -> "PredictionJob":
        """Give masks another name where images of earlier calls have masks of theirs.

        Such an image may be a.png, whose mask is a.png, beside a.jpg of this call.
        """
        taken = {record.mask: result.name for result in results for record in result.records}
        masks = {
            name: mask if taken.get(mask, name) == name else f"{name}.png"
            for name, mask in self.masks.items()
        }
        return replace(self, masks=masks)

    def large_mask(self, name: str) -> str:
        """The name in `out` of the mask of an image that is too large for memory."""
        return PurePosixPath(self.masks[name]).with_suffix(".tif").as_posix()

    def foreign_results(self) -> "list[FileResult]":
        """A failure for each file of a format that is not read."""
        return [
            FileResult(
                name,
                failure=f"{self.images.path_of(name)} is {kind.name}, which is not read. "
                f"{kind.cure}",
            )
            for name, kind in self.foreign.items()
        ]


@dataclass(frozen=True, slots=True)
class FileResult:
    """The records of one file, or why there are none."""

    name: str
    fingerprint: str = ""
    """Of the file as it was predicted."""
    records: tuple[PredictionRecord, ...] = ()
    """One for each page."""
    failure: str | None = None

    def to_json(self) -> str:
        """The result as text, for another process or a later call."""
        return json.dumps(
            {
                "name": self.name,
                "fingerprint": self.fingerprint,
                "records": [record.to_json() for record in self.records],
                "failure": self.failure,
            }
        )

    @classmethod
    def from_json(cls, content: str | bytes) -> "FileResult":
        """Read the text back. Raises ValueError where it was cut off."""
        values: dict[str, Any] = json.loads(content)
        records = tuple(PredictionRecord.from_json(record) for record in values["records"])
        return cls(values["name"], values["fingerprint"], records, values["failure"])


def mask_names(names: Sequence[str]) -> dict[str, str]:
    """Name each image's mask, relative to the folder of predictions.

    Images that differ only in their suffix, such as a.png and a.jpg, keep it: their masks are
    a.png.png and a.jpg.png.

    Raises LimnerError where two masks would have the same name even so, or where masks would lie in
    a folder that limner itself uses.
    """
    counts = Counter(map(without_suffix, names))
    masks = {
        name: f"{name if counts[stem := without_suffix(name)] > 1 else stem}.png" for name in names
    }
    image_of: dict[str, str] = {}
    for name, mask in masks.items():
        if (other := image_of.setdefault(mask, name)) != name:
            raise LimnerError(
                f"the masks of {other} and {name} would bear the same name. Rename one of them."
            )
        folder, slash, _ = name.partition("/")
        if slash and folder in {UNCERTAINTY, UNFINISHED}:
            raise LimnerError(
                f"there is a folder {folder}, whose masks would lie among what limner keeps under "
                "that name. Rename it."
            )
    return masks


def result_name(name: str) -> str:
    """Name the file that keeps the result of one image while the job is not finished."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{UNFINISHED}/{digest}.json"
