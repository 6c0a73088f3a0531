"""Image in, mask and confidence out at the original size; the one inference path."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray

from limner.data.preprocess import Preprocessing, join
from limner.inference.engines import Engine, TorchEngine
from limner.labels import Labels
from limner.model.bundle import Bundle

THRESHOLD = 0.5
"""Of the foreground's probability, where none was chosen on validation."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The class index of each pixel at the image's size, and the mean entropy of its probabilities in 0..1 (0 is certain)."""

    class_index: UInt8[ndarray, "h w"]
    mean_entropy: float


class Predictor:
    """Segments images of any size with one engine, one preprocessing and one rule from probabilities to classes."""

    def __init__(self, engine: Engine, preprocessing: Preprocessing, labels: Labels, threshold: float = THRESHOLD) -> None:
        self._engine, self._preprocessing, self._threshold, self.labels = engine, preprocessing, threshold, labels

    @classmethod
    def load(cls, path: Path | str, device: str = "cpu") -> "Predictor":
        """A predictor from a model file. Raises LimnerError as `Bundle.load` does."""
        bundle = Bundle.load(path)
        return cls.of(bundle, device)

    @classmethod
    def of(cls, bundle: Bundle, device: str = "cpu") -> "Predictor":
        """A predictor that runs a bundle's network in torch."""
        return cls(TorchEngine(bundle, device), bundle.preprocessing, bundle.labels, bundle.threshold)

    def predict(self, image: UInt8[ndarray, "h w c"]) -> Prediction:
        """Segment one image, 0..255: RGB, or of the channels that the model was trained on. Raises LimnerError where they differ."""
        seen = self._preprocessing.views(image)
        canvases = (to_probabilities(self._engine(self._preprocessing.array(image, view)[None])[0]) for view in seen)
        probabilities = join(canvases, seen, (image.shape[0], image.shape[1]))
        return Prediction(to_class_index(probabilities, self._threshold), _mean_entropy(probabilities))


def to_probabilities(logits: Float32[ndarray, "k h w"]) -> Float32[ndarray, "k h w"]:
    """The sigmoid of one logit, the softmax of several."""
    if len(logits) == 1:
        return (1 / (1 + np.exp(-np.clip(logits, -60, 60)))).astype(np.float32)
    exponentials = np.exp(logits - logits.max(0))
    return exponentials / exponentials.sum(0)


def to_class_index(probabilities: Float32[ndarray, "k h w"], threshold: float = THRESHOLD) -> UInt8[ndarray, "h w"]:
    """Foreground from the threshold on for one channel, the most probable class for several."""
    if len(probabilities) == 1:
        return (probabilities[0] >= threshold).astype(np.uint8)
    return probabilities.argmax(0).astype(np.uint8)


def _mean_entropy(probabilities: Float32[ndarray, "k h w"]) -> float:
    both = np.concatenate([probabilities, 1 - probabilities]) if len(probabilities) == 1 else probabilities
    entropy = -(both * np.log(np.maximum(both, 1e-12))).sum(0) / np.log(len(both))
    return float(entropy.mean())
