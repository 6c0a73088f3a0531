"""What a model file records beside its weights, and how older records are read.

This module imports no torch, so that serving needs none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from limner.data.preprocess import Preprocessing
from limner.data.split_record import SplitRecord
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
"""Names in metadata of `OLD_FORMAT`, and today's names. `recipe.py` translates the recipe."""
UNTRANSLATED = ("recipe", "labels", "scores", "split", "contents", "fingerprints", "receipt")
"""Parts of old metadata whose keys belong to the user, or have not changed."""
THRESHOLD = 0.5
"""Default threshold on the foreground probability, where validation chose none."""


@dataclass(frozen=True, slots=True)
class PostprocessSettings:
    """Which steps `inference.postprocess` applies to each scored class. All are off by default."""

    keep_largest: bool = False
    """Keep the largest connected component alone."""
    fill_holes: bool = False
    """Fill holes of class 0."""
    remove_small: bool = False
    """Remove components below 0.1 % of the image's area."""

    @property
    def enabled(self) -> tuple[str, ...]:
        """The names of the steps that are on."""
        return tuple(step.name for step in fields(self) if getattr(self, step.name))


@dataclass(frozen=True, slots=True)
class InferenceSettings:
    """How probabilities become a mask, as tuned on validation. The defaults change nothing."""

    threshold: float = THRESHOLD
    """Threshold on the foreground probability of a binary set, in 0..1."""
    tta: str = "none"
    """Test-time augmentation: a name in `inference.tta.TTA_TRANSFORMS`."""
    postprocessing: PostprocessSettings = field(default_factory=PostprocessSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetadata:
    """All that is needed to use a network, and the scores that it reached."""

    recipe: Recipe
    labels: Labels
    preprocessing: Preprocessing
    scores: Mapping[str, float] = field(default_factory=dict)
    split: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The ids of the training, validation and test samples; see `data.splits`."""
    contents: Mapping[str, str] = field(default_factory=dict)
    """The content of each of these samples' images by id; see `data.split_record`.

    Empty in the models of earlier versions.
    """
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """The fingerprints of the images of each split; see `data.split_record`.

    Empty in the models of earlier versions.
    """
    inference: InferenceSettings = field(default_factory=InferenceSettings)
    confidence: Mapping[str, Any] = field(default_factory=dict)
    """The record of an `inference.confidence.ConfidenceModel`, which was fitted on validation.

    Empty where training did not finish.
    """
    receipt: Mapping[str, Any] = field(default_factory=dict)
    """Hashes of data, split and recipe, versions and hardware of the training."""

    @property
    def split_record(self) -> SplitRecord:
        """The split, by id, by content and by fingerprint."""
        skipped, earlier = self.receipt.get("skipped", ()), self.receipt.get("earlier", ())
        return SplitRecord(self.split, self.contents, self.fingerprints, skipped, earlier)

    def to_dict(self) -> dict[str, Any]:
        """Return a record that JSON can hold; `parse_metadata` reads it back."""
        return {
            "format": FORMAT,
            "recipe": self.recipe.model_dump(),
            "labels": asdict(self.labels),
            "preprocessing": asdict(self.preprocessing),
            "scores": dict(self.scores),
            "split": {name: list(ids) for name, ids in self.split.items()},
            "contents": dict(self.contents),
            "fingerprints": dict(self.fingerprints),
            "inference": asdict(self.inference),
            "confidence": dict(self.confidence),
            "receipt": dict(self.receipt),
        }

    def as_fields(self) -> dict[str, Any]:
        """Return the fields by name, to build a subclass from them."""
        return {field.name: getattr(self, field.name) for field in fields(ModelMetadata)}


def parse_metadata(record: Mapping[str, Any], path: Path) -> ModelMetadata:
    """Read the metadata of a model file, in today's format or in `OLD_FORMAT`.

    Args:
        record: what `ModelMetadata.to_dict` returned, after a round trip through JSON.
        path: the model file, for the error message.

    Raises LimnerError for any other format.
    """
    if record.get("format") == OLD_FORMAT:
        record = _with_new_names(record)
    if record.get("format") != FORMAT:
        raise LimnerError(
            f"{path} has the format {record.get('format')}. This limner reads the formats "
            f"{OLD_FORMAT} and {FORMAT}: use the version that wrote it."
        )
    preprocessing, inference = record["preprocessing"], record["inference"]
    return ModelMetadata(
        recipe=parse_recipe(record["recipe"]),
        labels=Labels.from_dict(record["labels"]),
        preprocessing=Preprocessing(
            tuple(preprocessing["size_px"]),
            tuple(preprocessing["mean"]),
            tuple(preprocessing["std"]),
            preprocessing["resize_mode"],
            tuple(preprocessing.get("channel_files", ())),
        ),
        scores=record["scores"],
        split=record["split"],
        contents=record.get("contents", {}),
        fingerprints=record.get("fingerprints", {}),
        inference=InferenceSettings(
            inference["threshold"],
            inference["tta"],
            PostprocessSettings(**inference["postprocessing"]),
        ),
        confidence=record["confidence"],
        receipt=record["receipt"],
    )


def _with_new_names(record: Mapping[str, Any]) -> dict[str, Any]:
    """Translate metadata of `OLD_FORMAT` to today's names."""

    def renamed(content: Any) -> Any:
        if not isinstance(content, Mapping):
            return content
        return {
            OLD_NAMES.get(key, key): value if key in UNTRANSLATED else renamed(value)
            for key, value in content.items()
        }

    return {**renamed(record), "format": FORMAT}
