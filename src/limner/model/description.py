"""What a model file says of itself beside its weights; serving reads it without torch."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from limner.data.postprocess import Postprocessing
from limner.data.preprocess import Preprocessing
from limner.errors import LimnerError
from limner.labels import Labels
from limner.recipe import Recipe, parse_recipe

FORMAT = 4
THRESHOLD = 0.5
"""Of the foreground's probability, where none was chosen on validation."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What validation chose of the way from probabilities to a mask; as it stands here, nothing was found to help."""

    threshold: float = THRESHOLD
    """Of the foreground's probability in a binary set."""
    tta: str = "none"
    """The augmentation at test time, a name of `inference.variants`."""
    postprocessing: Postprocessing = field(default_factory=Postprocessing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """All that is needed to use a network, and what it is known to reach."""

    recipe: Recipe
    labels: Labels
    preprocessing: Preprocessing
    scores: Mapping[str, float] = field(default_factory=dict)
    split: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The ids of the samples that it was trained, validated and may be tested on; see `splits.record_of`."""
    choices: Choices = field(default_factory=Choices)
    confidence: Mapping[str, Any] = field(default_factory=dict)
    """What `inference.confidence` fitted on validation, and read back; empty of a model whose training did not come to its end."""
    receipt: Mapping[str, Any] = field(default_factory=dict)
    """Hashes of data, split and recipe, versions and machine of its training."""

    def record(self) -> dict[str, Any]:
        """What JSON can hold, read back by `read`."""
        return {
            "format": FORMAT,
            "recipe": self.recipe.model_dump(),
            "labels": asdict(self.labels),
            "preprocessing": asdict(self.preprocessing),
            "scores": dict(self.scores),
            "split": {name: list(ids) for name, ids in self.split.items()},
            "choices": asdict(self.choices),
            "confidence": dict(self.confidence),
            "receipt": dict(self.receipt),
        }

    def described(self) -> dict[str, Any]:
        """The fields by name, for another kind of file about the same network."""
        return {one.name: getattr(self, one.name) for one in fields(Description)}


def read(record: Mapping[str, Any], path: Path) -> Description:
    """The description that a file holds. Raises LimnerError where another version of limner wrote it."""
    if record.get("format") != FORMAT:
        raise LimnerError(f"{path} has the format {record.get('format')}. This limner reads format {FORMAT}: use the version that wrote it.")
    prepared, chosen = record["preprocessing"], record["choices"]
    return Description(
        recipe=parse_recipe(record["recipe"]),
        labels=Labels.from_record(record["labels"]),
        preprocessing=Preprocessing(tuple(prepared["size_px"]), tuple(prepared["mean"]), tuple(prepared["std"]), prepared["geometry"]),
        scores=record["scores"],
        split=record["split"],
        choices=Choices(**{**chosen, "postprocessing": Postprocessing(**chosen["postprocessing"])}),
        confidence=record["confidence"],
        receipt=record["receipt"],
    )
