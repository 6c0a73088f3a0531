"""Image in, mask and confidence out at the original size; the one inference path."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray

from limner.data.postprocess import Postprocessing
from limner.data.preprocess import Preprocessing, View, join
from limner.errors import LimnerError
from limner.inference.confidence import Canvas, Confidence
from limner.inference.engines import Engine, TorchEngine
from limner.inference.probabilities import Calibration, entropy, to_class_index, to_probabilities
from limner.inference.variants import VARIANTS, Variant
from limner.labels import Labels
from limner.model.bundle import Bundle, Choices


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was made of one image, at its size."""

    class_index: UInt8[ndarray, "h w"]
    probabilities: Float32[ndarray, "k h w"]
    """Of the foreground in a binary set, else of each class; as the network gives them, the mean over variants and models."""
    uncertainty: Float32[ndarray, "h w"]
    """The entropy of the calibrated probabilities in 0..1; 0 is certain."""
    predicted_dice: float | None
    """What the mask is expected to reach; None of a model without a fitted confidence."""
    unusualness: float | None
    """How unlike the training images it is; above 1 it is flagged."""
    calibration: Calibration = field(default_factory=Calibration)
    """What makes the probabilities true."""

    @property
    def unusual(self) -> bool:
        return self.unusualness is not None and self.unusualness > 1


class Network(NamedTuple):
    """What runs one model's network, what its images must be like, and what is known of its confidence."""

    engine: Engine
    preprocessing: Preprocessing
    confidence: Confidence | None = None


class Predictor:
    """Segments images of any size with one network or the mean of several, and one rule from probabilities to classes."""

    def __init__(self, networks: Sequence[Network], labels: Labels, choices: Choices | None = None) -> None:
        self._networks, self.labels, self.choices = tuple(networks), labels, choices or Choices()

    @classmethod
    def load(cls, *paths: Path | str, device: str = "cpu", tta: str | None = None) -> "Predictor":
        """A predictor from model files; several are an ensemble. Raises LimnerError as `Bundle.load` does, and where the models differ in their classes."""
        return cls.of(*(Bundle.load(path) for path in paths), device=device, tta=tta)

    @classmethod
    def of(cls, *bundles: Bundle, device: str = "cpu", tta: str | None = None) -> "Predictor":
        """A predictor that runs bundles' networks in torch; `tta` names another augmentation at test time than validation chose.

        An ensemble takes the mean of the thresholds, and a post-processing that all its models chose.
        """
        if tta is not None and tta not in VARIANTS:
            raise LimnerError(f"--tta {tta} is not known. Choose one of {', '.join(VARIANTS)}.")
        first = bundles[0]
        for other in bundles[1:]:
            if other.labels.names != first.labels.names:
                raise LimnerError(
                    f"the models differ in their classes: {', '.join(first.labels.names)} and {', '.join(other.labels.names)}. An ensemble needs the same."
                )
        choices = _together([bundle.choices for bundle in bundles])
        networks = [Network(TorchEngine(bundle, device), bundle.preprocessing, Confidence.of(bundle.confidence)) for bundle in bundles]
        return cls(networks, first.labels, replace(choices, tta=tta) if tta else choices)

    def predict(self, image: UInt8[ndarray, "h w c"]) -> Prediction:
        """Segment one image, 0..255: RGB, or of the channels that the model was trained on. Raises LimnerError where they differ."""
        choices = self.choices
        answers = [ask(network, image, VARIANTS[choices.tta]) for network in self._networks]
        probabilities = np.mean([answer.probabilities() for answer in answers], axis=0) if len(answers) > 1 else answers[0].probabilities()
        class_index = choices.postprocessing(to_class_index(probabilities, choices.threshold), self.labels)
        known = [(network.confidence, answer) for network, answer in zip(self._networks, answers, strict=True) if network.confidence]
        said = [confidence.calibration for confidence, _ in known] or [Calibration()]
        calibration = Calibration(float(np.mean([one.temperature for one in said])), float(np.mean([one.shift for one in said])))
        expected = [confidence.predicted_dice(answer.canvases(), choices.threshold, self.labels) for confidence, answer in known]
        return Prediction(
            class_index,
            probabilities,
            entropy(calibration(probabilities)),
            float(np.mean(expected)) if known else None,
            max(confidence.unusualness(answer.canvases()) for confidence, answer in known) if known else None,
            calibration,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What one network was shown of an image, and its probabilities on each canvas by variant."""

    image_px: tuple[int, int]
    seen: Sequence[View]
    shown: Sequence[UInt8[ndarray, "h2 w2 c"]]
    drawn: Sequence[Float32[ndarray, "v k h2 w2"]]

    def canvases(self) -> list[Canvas]:
        """What it was shown, beside the mean over the variants."""
        return [Canvas(pixels, drawn.mean(0)) for pixels, drawn in zip(self.shown, self.drawn, strict=True)]

    def probabilities(self, rows: Sequence[int] | None = None) -> Float32[ndarray, "k h w"]:
        """At the image's size, the mean over the variants, or over some of them."""
        return join([canvas.mean(0) if rows is None else canvas[list(rows)].mean(0) for canvas in self.drawn], self.seen, self.image_px)


def ask(network: Network, image: UInt8[ndarray, "h w c"], variants: Sequence[Variant]) -> Answer:
    """Show a network an image through all its views and their variants."""
    preprocessing = network.preprocessing
    seen = preprocessing.views(image)
    shown = [preprocessing.canvas(image, view) for view in seen]
    drawn = [_draw(network.engine, preprocessing.standardised(canvas), variants) for canvas in shown]
    return Answer((image.shape[0], image.shape[1]), seen, shown, drawn)


def _draw(engine: Engine, array: Float32[ndarray, "c h w"], variants: Sequence[Variant]) -> Float32[ndarray, "v k h w"]:
    """The probabilities of each variant of a canvas, back where they belong; variants of one shape go through the network together."""
    shown = [variant.of(array) for variant in variants]
    drawn = dict[int, Float32[ndarray, "k h w"]]()
    for shape in {one.shape for one in shown}:
        rows = [row for row, one in enumerate(shown) if one.shape == shape]
        for row, logits in zip(rows, engine(np.stack([shown[row] for row in rows])), strict=True):
            drawn[row] = variants[row].back(to_probabilities(logits), (array.shape[1], array.shape[2]))
    return np.stack([drawn[row] for row in range(len(shown))])


def _together(choices: Sequence[Choices]) -> Choices:
    """Of several models: the mean threshold, the augmentation of the first, and the post-processing that all chose."""
    done = [choice.postprocessing for choice in choices]
    postprocessing = Postprocessing(*(all(getattr(one, name) for one in done) for name in ("largest", "holes", "specks")))
    return Choices(float(np.mean([choice.threshold for choice in choices])), choices[0].tta, postprocessing)
