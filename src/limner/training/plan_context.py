"""What the rules of the plan know, and what they choose."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from limner.data.parallel import StageProgress, no_progress
from limner.data.sample_info import SampleInfo
from limner.labels import Labels
from limner.recipe import Recipe, ResizeMode

CeilingFunction = Callable[[tuple[int, int], ResizeMode], dict[str, float]]
"""The best mean Dice of each class that a working size allows; see `data.resize_ceiling`."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A value for one key of the recipe, and the reason for it in words."""

    key: str
    value: object
    reason: str


@dataclass(frozen=True, slots=True)
class PixelBudget:
    """How many pixels of images and tiles training can go through in all."""

    pixels: float
    measurement: str = ""
    """The measured speed and the time given, in words. Empty where the recipe gives no time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFacts:
    """What is known of the data and of the time before anything is chosen."""

    samples: Sequence[SampleInfo]
    """Those of the training samples."""
    labels: Labels
    ceiling: CeilingFunction
    validation_ratio: float = 0.0
    """Validation samples for each training sample."""
    processes: int = 1
    """Processes that share each batch."""
    started: float | None = None
    """The moment of the monotonic clock from which a time budget counts; now by default."""
    progress: StageProgress = no_progress
    """Shows how far the measuring of steps is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanContext(PlanFacts):
    """The facts that a rule decides by."""

    explicit_keys: frozenset[str]
    """The keys that the user set, such as "train.epochs"."""
    recipe: Recipe
    """What the user set and what earlier rules chose; defaults elsewhere."""

    @property
    def image_channels(self) -> int:
        """Channels of the images, the same for all."""
        (channels,) = {sample.channels for sample in self.samples}
        return channels

    @property
    def on_cpu(self) -> bool:
        """Whether training runs on a processor."""
        return self.recipe.train.device == "cpu"

    @property
    def network_is_explicit(self) -> bool:
        """Whether the user set any key of the network."""
        return any(key.startswith("model.") for key in self.explicit_keys)

    @property
    def widths_are_free(self) -> bool:
        """Whether the widths may follow machine and time: neither they nor a preset are set."""
        explicit = self.explicit_keys & {"model.preset", "model.widths"}
        return not self.recipe.model.encoder and not explicit

    def with_budget(self, budget: PixelBudget) -> "TimedContext":
        """The same facts and a budget."""
        return TimedContext(**field_values(self, PlanContext), budget=budget)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedContext(PlanContext):
    """The facts that a rule of size and schedule decides by."""

    budget: PixelBudget


def field_values(facts: PlanFacts, of: type[PlanFacts]) -> dict[str, Any]:
    """The values of the fields that a class has, by name."""
    return {field.name: getattr(facts, field.name) for field in fields(of)}


def spell_size(size_px: tuple[int, int]) -> str:
    """A height and a width as text, width first."""
    return f"{size_px[1]}x{size_px[0]}"
