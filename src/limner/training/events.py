"""The events of a training run, which the log, the bar, the trackers and the tests consume."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from limner.inference.tune_settings import TuningResult


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """A step was taken. Reading the loss waits for the device, so that is left to the consumer."""

    epoch: int
    """Counted from 1."""
    step: int
    """Steps taken in this epoch."""
    steps: int
    """Steps of an epoch."""
    progress: float
    """Share of the schedule, 0..1."""
    learning_rate: float
    images: int
    loss: Float[Tensor, ""]


@dataclass(frozen=True, slots=True)
class ValidationProgress:
    """`done` of `count` validation images or tiles are scored."""

    done: int
    count: int


@dataclass(frozen=True, slots=True)
class Validation:
    """The averaged weights were scored at the working size."""

    epoch: int
    loss: float | None
    """Mean finite training loss since the last validation; None without any."""
    mean_dice: float
    best: bool
    seconds: float
    previews: dict[int, UInt8[ndarray, "h w"]]
    """Predicted masks of the images that are shown, by row of the dataset."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """The loss or gradient of a step was not finite, so the step was not taken."""

    epoch: int
    step: int
    ids: Sequence[str]
    """The samples of the batch."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a person should know; training goes on."""

    text: str


@dataclass(frozen=True, slots=True)
class TuningProgress:
    """Training is over, and `done` of `count` predictions of validation images are made."""

    done: int
    count: int


@dataclass(frozen=True, slots=True)
class Tuned(TuningResult):
    """What one inference setting gains on validation, and whether the model uses it."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """Training has ended."""

    reason: str
    finished: bool = True
    """Whether nothing is left to do."""


Event = (
    TrainingStep
    | ValidationProgress
    | Validation
    | Skipped
    | Note
    | TuningProgress
    | Tuned
    | Stopped
)
