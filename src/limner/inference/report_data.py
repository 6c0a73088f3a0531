"""What a report is about: a model or several together, on which images, and how it was tested."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from limner.inference.predictor import Predictor
from limner.inference.quality import QualityAgreement, quality_agreement
from limner.inference.scored_data import ScoredData
from limner.inference.scores import Scores
from limner.labels import Labels
from limner.model.metadata import ModelMetadata


@dataclass(frozen=True, slots=True)
class ReportData:
    """All that a report shows."""

    name: str
    """Of the model, as the report's title says it."""
    scored: ScoredData
    """The images, and which split or other data they are."""
    truth_labels: Labels
    """How their masks hold the model's classes."""
    scores: Scores
    predictor: Predictor
    models: Sequence[ModelMetadata]
    command: str
    """The command line that gives this report again."""
    tolerance_px: float
    """Of the surface Dice."""
    model_files: Sequence[str] = ()
    """The paths of the models."""
    times_scored: int | None = None
    """How often these images were scored with this model, this time included.

    None where nobody counts.
    """
    failures: Sequence[str] = ()
    """A message for each image that could not be scored."""
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Metadata of each sample, by the column's name."""
    curve_svg: str = ""
    """The learning curve; empty where there is none."""
    warnings: Sequence[str] = ()
    """What is doubtful about the masks that the model is scored by."""
    left_out: Sequence[str] = ()
    """What is wrong with files that are in no pair, and so were not scored."""

    @property
    def title(self) -> str:
        """What the scored images are called."""
        return self.scored.title

    @property
    def quality_agreement(self) -> QualityAgreement | None:
        """How far the predicted Dice can be trusted on these images."""
        per_image = self.scores.per_image()
        predicted = [image.predicted_dice for image in self.scores.images]
        return quality_agreement(per_image["dice"], per_image["jaccard"], predicted)
