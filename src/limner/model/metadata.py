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

FORMAT, OLD_FORMAT = 5, 4
OLD_NAMES = {
    "choices": "inference",
    "geometry": "resize_mode",
    "largest": "keep_largest",
    "holes": "fill_holes",
    "specks": "remove_small",
    "familiarity": "out_of_distribution",
}
"""Names in metadata of `OLD_FORMAT`, and what they are called now; the recipe in it has a table of
its own.
"""
THRESHOLD = 0.5
"""Of the foreground's probability, where none was chosen on validation."""


@dataclass(frozen=True, slots=True)
class InferenceSettings:
    """What validation chose of the way from probabilities to a mask; as it stands here, nothing was
    found to help.
    """

    threshold: float = THRESHOLD
    """Of the foreground's probability in a binary set."""
    tta: str = "none"
    """The augmentation at test time, a name of `inference.variants`."""
    postprocessing: Postprocessing = field(default_factory=Postprocessing)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetadata:
    """All that is needed to use a network, and what it is known to reach."""

    recipe: Recipe
    labels: Labels
    preprocessing: Preprocessing
    scores: Mapping[str, float] = field(default_factory=dict)
    split: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The ids of the samples that it was trained, validated and may be tested on; see
    `splits.record_of`.
    """
    inference: InferenceSettings = field(default_factory=InferenceSettings)
    confidence: Mapping[str, Any] = field(default_factory=dict)
    """What `inference.confidence` fitted on validation, and read back; empty of a model whose
    training did not come to its end.
    """
    receipt: Mapping[str, Any] = field(default_factory=dict)
    """Hashes of data, split and recipe, versions and machine of its training."""

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold, read back by `read`."""
        return {
            "format": FORMAT,
            "recipe": self.recipe.model_dump(),
            "labels": asdict(self.labels),
            "preprocessing": asdict(self.preprocessing),
            "scores": dict(self.scores),
            "split": {name: list(ids) for name, ids in self.split.items()},
            "inference": asdict(self.inference),
            "confidence": dict(self.confidence),
            "receipt": dict(self.receipt),
        }

    def as_fields(self) -> dict[str, Any]:
        """The fields by name, for another kind of file about the same network."""
        return {one.name: getattr(self, one.name) for one in fields(ModelMetadata)}


def parse_metadata(record: Mapping[str, Any], path: Path) -> ModelMetadata:
    """The description that a file holds, in today's format or in `OLD_FORMAT`. Raises LimnerError
    for any other.
    """
    if record.get("format") == OLD_FORMAT:
        record = _in_new_names(record)
    if record.get("format") != FORMAT:
        raise LimnerError(
            f"{path} has the format {record.get('format')}. This limner reads the formats "
            f"{OLD_FORMAT} and {FORMAT}: use the version that wrote it."
        )
    prepared, chosen = record["preprocessing"], record["inference"]
    return ModelMetadata(
        recipe=parse_recipe(record["recipe"]),
        labels=Labels.from_dict(record["labels"]),
        preprocessing=Preprocessing(
            tuple(prepared["size_px"]),
            tuple(prepared["mean"]),
            tuple(prepared["std"]),
            prepared["resize_mode"],
        ),
        scores=record["scores"],
        split=record["split"],
        inference=InferenceSettings(
            **{**chosen, "postprocessing": Postprocessing(**chosen["postprocessing"])}
        ),
        confidence=record["confidence"],
        receipt=record["receipt"],
    )


def _in_new_names(record: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of `OLD_FORMAT` in today's names."""
    free = (
        "recipe",
        "labels",
        "scores",
        "split",
        "receipt",
        # Whose keys are the user's, or have not changed
    )

    def renamed(content: Any) -> Any:
        if not isinstance(content, Mapping):
            return content
        return {
            OLD_NAMES.get(key, key): value if key in free else renamed(value)
            for key, value in content.items()
        }

    return {**renamed(record), "format": FORMAT}
