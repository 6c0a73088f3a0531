"""`predictions.json`: a record of each predicted mask, and the order in which they are reviewed."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from limner.data.readers.pixel_size import PixelSize
from limner.errors import LimnerError
from limner.labels import Labels

PREDICTIONS_FILE = "predictions.json"
REVIEW_ORDERS = ("predicted", "random")
"""By review priority, or shuffled."""


@dataclass(frozen=True, slots=True)
class PredictionRecord:
    """One predicted mask: which image it belongs to, and how far it can be trusted."""

    image: str
    """The image's absolute path or URL."""
    page: int
    """Counted from 0; 0 for a file of one image."""
    mask: str
    """Relative to the folder of predictions, with slashes."""
    uncertainty: str
    """The uncertainty map, likewise."""
    predicted_dice: float | None
    """In 0..1; None where the model has no quality estimate."""
    unusual: bool
    """Whether the image is out of distribution: an unusualness above 1, before it is rounded."""
    unusualness: float | None
    mean_entropy: float
    """Mean uncertainty of the pixels, in 0..1; 0 is certain."""
    left_out: tuple[str, ...] = ()
    """Post-processing steps that were skipped because the image is too large."""
    image_sha256: str | None = None
    """Of the image's file as it was predicted."""
    pixel_size: PixelSize | None = None
    """How large a pixel is, where the image's file states it."""

    @property
    def priority(self) -> float:
        """What records are sorted by for review: the lowest first."""
        return review_priority(self.predicted_dice, self.mean_entropy)

    def to_json(self) -> dict[str, Any]:
        """The record as `predictions.json` holds it."""
        content = asdict(self)
        content["left_out"] = list(self.left_out)
        if not self.left_out:
            del content["left_out"]
        if self.pixel_size is None:
            del content["pixel_size"]
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "PredictionRecord":
        """Read one record. Raises KeyError where a value that a review needs is missing."""
        return cls(
            image=content["image"],
            page=content["page"],
            mask=content["mask"],
            uncertainty=content.get("uncertainty", ""),
            predicted_dice=content["predicted_dice"],
            unusual=content["unusual"],
            unusualness=content.get("unusualness"),
            mean_entropy=content["mean_entropy"],
            left_out=tuple(content.get("left_out", ())),
            image_sha256=content["image_sha256"],
            pixel_size=PixelSize(**size) if (size := content.get("pixel_size")) else None,
        )


@dataclass(frozen=True, slots=True)
class PredictionFile:
    """All that `predictions.json` holds."""

    models: tuple[str, ...]
    """Paths of the model files."""
    labels: Labels
    records: tuple[PredictionRecord, ...]
    """Sorted by `priority`."""
    failures: tuple[str, ...] = ()
    """A message for each file that was not predicted."""
    images_gone: tuple[str, ...] = ()
    """Images that were predicted once and are there no more; their masks are."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What was predicted and how, by which a repeated call knows its own work.

    Empty in files of earlier versions.
    """

    def to_bytes(self) -> bytes:
        """The content of the file."""
        content = {
            "models": list(self.models),
            "classes": list(self.labels.names),
            "labels": asdict(self.labels),
            "predictions": [record.to_json() for record in self.records],
            "failed": list(self.failures),
            "images_gone": list(self.images_gone),
            "settings": dict(self.settings),
        }
        return (json.dumps(content, indent=2) + "\n").encode()

    @classmethod
    def from_bytes(cls, content: bytes, path: Path) -> "PredictionFile":
        """Read the content of the file at `path`, which error messages name.

        Raises LimnerError where it is not in the form that `limner predict` writes, and where a
        mask lies outside the folder.
        """
        try:
            values = json.loads(content)
            file = cls(
                tuple(values["models"]),
                Labels.from_dict(values["labels"]),
                tuple(PredictionRecord.from_json(record) for record in values["predictions"]),
                tuple(values.get("failed", ())),
                tuple(values.get("images_gone", ())),
                values.get("settings", {}),
            )
            outside = [record.mask for record in file.records if _is_outside(record.mask)]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LimnerError(
                f"{path} is not as limner predict writes it ({type(error).__name__}: {error}). "
                "Predict again into a new folder."
            ) from error
        if outside:
            raise LimnerError(
                f"{path} names the mask {outside[0]}, which is not in its folder. Predict again "
                "into a new folder."
            )
        return file


def review_priority(predicted_dice: float | None, mean_entropy: float) -> float:
    """Compute what predictions are sorted by for review: the lowest first.

    It is the predicted Dice, or the negative mean entropy where no quality estimate was fitted.

    Args:
        predicted_dice: in 0..1.
        mean_entropy: mean uncertainty of the pixels, in 0..1.
    """
    return -mean_entropy if predicted_dice is None else predicted_dice


def require_review_order(order: str) -> None:
    """Raise LimnerError for an order that is not one of `REVIEW_ORDERS`."""
    if order not in REVIEW_ORDERS:
        raise LimnerError(f"--order {order} is not known. Choose {' or '.join(REVIEW_ORDERS)}.")


def _is_outside(mask: str) -> bool:
    path = PurePosixPath(mask)
    return path.is_absolute() or ".." in path.parts
