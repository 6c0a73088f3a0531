"""`audit.json`: the masks of a dataset, the likeliest to be wrong first, and what may be wrong."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from limner.errors import LimnerError
from limner.files import dump_json
from limner.inference.label_evidence import Box

AUDIT_FILE = "audit.json"


@dataclass(frozen=True, slots=True)
class AuditedMask:
    """One mask of the dataset, as a model judges it that never saw the image."""

    id: str
    """Of the sample."""
    probability: float
    """That the mask is wrong, in 0..1."""
    kind: str
    """Of the error that is likeliest, such as "missing object"."""
    class_name: str
    box: Box | None
    """Where it is: top, left, bottom and right in pixels of the image."""
    detail: str
    """What would mend it, where that is known."""
    dice: float | None
    """Of the mask with the predicted one; None where neither has a class."""
    predicted_dice: float | None
    """The Dice that the prediction was expected to reach."""
    model: str
    """The run that predicted it."""

    @property
    def summary(self) -> str:
        """What a person is told, such as "shifted: move it by 12 px to the right"."""
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


@dataclass(frozen=True, slots=True)
class AuditFile:
    """All that `audit.json` holds."""

    data: str
    """The folder of the dataset."""
    models: Sequence[str]
    masks: Sequence[AuditedMask]
    """The likeliest to be wrong first."""
    worst: int
    """How many of them a review opens."""

    def to_text(self) -> str:
        """The content of the file."""
        return dump_json(asdict(self), indent=1)

    @classmethod
    def read(cls, path: Path) -> "AuditFile":
        """Read the file. Raises LimnerError where it is not as `limner audit` writes it."""
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            masks = [_read_mask(record) for record in values["masks"]]
            return cls(str(values["data"]), tuple(values["models"]), masks, int(values["worst"]))
        except (ValueError, KeyError, TypeError) as error:
            raise LimnerError(
                f"{path} is not as limner audit writes it ({type(error).__name__}: {error}). "
                "Audit again into a new folder."
            ) from error


def _read_mask(record: dict[str, Any]) -> AuditedMask:
    box = record["box"]
    return AuditedMask(**record | {"box": tuple(box) if box else None})
