"""What a report is about: a model or several together, on which images, and how it was tested."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from limner.data.sample import Sample
from limner.inference.predictor import Predictor
from limner.inference.quality import QualityAgreement, quality_agreement
from limner.inference.scores import Scores
from limner.model.metadata import ModelMetadata


@dataclass(frozen=True, slots=True)
class ReportData:
    """All that a report shows."""

    name: str
    """Of the model, as the report's title says it."""
    split: str
    scores: Scores
    samples: Sequence[Sample]
    predictor: Predictor
    models: Sequence[ModelMetadata]
    command: str
    """The command line that gives this report again."""
    tolerance_px: float
    """Of the surface Dice."""
    times_scored: int | None = None
    """How often this split was scored with this model, this time included.

    None where nobody counts.
    """
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Metadata of each sample, by the column's name."""
    curve_svg: str = ""
    """The learning curve; empty where there is none."""
    left_out: Sequence[str] = ()
    """What is wrong with the files that were left out."""

    @property
    def quality_agreement(self) -> QualityAgreement | None:
        """How far the predicted Dice can be trusted on these images."""
        per_image = self.scores.per_image()
        predicted = [image.predicted_dice for image in self.scores.images]
        return quality_agreement(per_image["dice"], per_image["jaccard"], predicted)
