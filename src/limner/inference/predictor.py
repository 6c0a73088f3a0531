"""Image in, mask and confidence out at the original size; the one inference path."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float32, Shaped, UInt8
from numpy import ndarray

from limner.data.images import as_image, read_image
from limner.data.postprocess import Postprocessing
from limner.data.preprocess import Preprocessing
from limner.data.regions import Picture, Whole
from limner.errors import LimnerError
from limner.inference.confidence import Canvas, Confidence, Impression, impression
from limner.inference.engines import Engine, Model, Sight, in_torch, open_model
from limner.inference.probabilities import Calibration, entropy, to_class_index
from limner.inference.tiling import Piece, in_rows, join, pieces
from limner.inference.variants import VARIANTS, Variant
from limner.labels import Labels
from limner.model.description import Choices

if TYPE_CHECKING:
    from limner.model.bundle import Bundle

BAND_ROWS = 512
"""In which the probabilities of several models are brought together."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was made of one image, at its size."""

    class_index: UInt8[ndarray, "h w"]
    probabilities: Float32[ndarray, "k h w"]
    """Of the foreground in a binary set, else of each class; as the network gives them, the mean over variants and models."""
    predicted_dice: float | None
    """What the mask is expected to reach; None of a model without a fitted confidence."""
    unusualness: float | None
    """How unlike the training images it is; above 1 it is flagged."""
    calibration: Calibration = field(default_factory=Calibration)
    """What makes the probabilities true."""

    @property
    def uncertainty(self) -> Float32[ndarray, "h w"]:
        """The entropy of the calibrated probabilities in 0..1; 0 is certain."""
        return entropy(self.calibration(self.probabilities))

    @property
    def unusual(self) -> bool:
        return self.unusualness is not None and self.unusualness > 1


class Band(NamedTuple):
    """Some rows of an image's mask, and of its uncertainty."""

    class_index: UInt8[ndarray, "h w"]
    uncertainty: Float32[ndarray, "h w"]


class Network(NamedTuple):
    """What runs one model's network, what its images must be like, and what is known of its confidence."""

    engine: Engine
    preprocessing: Preprocessing
    confidence: Confidence | None = None
    sight: Sight = Sight()

    @classmethod
    def of(cls, model: Model) -> "Network":
        return cls(model.engine, model.description.preprocessing, Confidence.of(model.description.confidence), model.sight)


class Predictor:
    """Segments images of any size with one network or the mean of several, and one rule from probabilities to classes."""

    def __init__(self, networks: Sequence[Network], labels: Labels, choices: Choices | None = None) -> None:
        self._networks, self.labels, self.choices = tuple(networks), labels, choices or Choices()

    @classmethod
    def load(cls, *paths: Path | str, device: str = "cpu", tta: str | None = None) -> "Predictor":
        """A predictor from model files, exported ones too; several are an ensemble.

        Raises LimnerError as `open_model` does, and where the models differ in their classes.
        """
        return cls.of(*(open_model(path, device) for path in paths), tta=tta)

    @classmethod
    def of(cls, *models: "Model | Bundle", device: str = "cpu", tta: str | None = None) -> "Predictor":
        """A predictor of opened models, or of bundles, whose networks run in torch; `tta` names another augmentation than validation chose.

        An ensemble takes the mean of the thresholds, and a post-processing that all its models chose.
        """
        if tta is not None and tta not in VARIANTS:
            raise LimnerError(f"--tta {tta} is not known. Choose one of {', '.join(VARIANTS)}.")
        opened = [model if isinstance(model, Model) else in_torch(model, device) for model in models]
        first, *others = (model.description.labels for model in opened)
        for other in others:
            if other.names != first.names:
                raise LimnerError(f"the models differ in their classes: {', '.join(first.names)} and {', '.join(other.names)}. An ensemble needs the same.")
        choices = _together([model.description.choices for model in opened])
        return cls([Network.of(model) for model in opened], first, replace(choices, tta=tta) if tta else choices)

    def predict(self, image: Shaped[ndarray, "*_"] | Path | str) -> Prediction:
        """Segment one image: a file, or an array of height, width and channels, as `read_image` and `as_image` take them.

        Raises LimnerError for what they refuse, and where the model was trained on other channels.
        """
        pixels = as_image(image) if isinstance(image, ndarray) else read_image(Path(image))
        impressions: list[list[Impression]] = [[] for _ in self._networks]
        bands = list(self._bands(Whole(pixels), impressions))
        probabilities = bands[0] if len(bands) == 1 else np.concatenate(bands, axis=1)
        class_index = self.choices.postprocessing(to_class_index(probabilities, self.choices.threshold), self.labels)
        return Prediction(class_index, probabilities, *self._judge(impressions), self.calibration)

    def stream(self, picture: Picture, rows: int) -> tuple[Iterator[Band], Callable[[], tuple[float | None, float | None]]]:
        """Segment a picture that need not fit into memory: bands of so many rows, and what gives predicted Dice and unusualness once they are done.

        Post-processing needs all of a mask, and is left out. Raises LimnerError as `predict` does.
        """
        impressions: list[list[Impression]] = [[] for _ in self._networks]
        bands = in_rows(self._bands(picture, impressions), rows)
        drawn = (Band(to_class_index(one, self.choices.threshold), entropy(self.calibration(one))) for one in bands)
        return drawn, lambda: self._judge(impressions)

    @property
    def blends(self) -> bool:
        """Whether it takes images in tiles that fade into each other, since a network of it looks at all of what it is given at once."""
        return any(network.preprocessing.geometry == "tile" and network.sight.margin_px is None for network in self._networks)

    @property
    def calibration(self) -> Calibration:
        """What makes the probabilities true: the mean over the models."""
        said = [network.confidence.calibration for network in self._networks if network.confidence] or [Calibration()]
        return Calibration(float(np.mean([one.temperature for one in said])), float(np.mean([one.shift for one in said])))

    def _bands(self, picture: Picture, impressions: Sequence[list[Impression]]) -> Iterator[Float32[ndarray, "k h w"]]:
        """Probabilities from the image's top to its bottom, the mean over the models; what each saw is added to its impressions."""
        streams = [join(self._watched(network, picture, kept), picture.size_px) for network, kept in zip(self._networks, impressions, strict=True)]
        if len(streams) == 1:
            yield from streams[0]
            return
        for bands in zip(*(in_rows(stream, BAND_ROWS) for stream in streams), strict=True):
            yield np.mean(bands, axis=0)

    def _watched(self, network: Network, picture: Picture, kept: list[Impression]) -> Iterator[Piece]:
        for piece in pieces(picture, network.engine, network.preprocessing, network.sight, VARIANTS[self.choices.tta]):
            if network.confidence:
                kept.append(impression(piece.canvas(), network.confidence.calibration, self.choices.threshold, self.labels))
            yield piece

    def _judge(self, impressions: Sequence[Sequence[Impression]]) -> tuple[float | None, float | None]:
        """The predicted Dice, the mean over the models that say one, and how unusual the image is."""
        known = [(network.confidence, seen) for network, seen in zip(self._networks, impressions, strict=True) if network.confidence]
        if not known:
            return None, None
        return float(np.mean([one.predicted_dice(seen) for one, seen in known])), max(one.unusualness(seen) for one, seen in known)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one network made of an image, in pieces and by variant."""

    image_px: tuple[int, int]
    pieces: Sequence[Piece]

    def canvases(self) -> list[Canvas]:
        return [piece.canvas() for piece in self.pieces]

    def probabilities(self, rows: Sequence[int] | None = None) -> Float32[ndarray, "k h w"]:
        """At the image's size, the mean over the variants, or over some of them."""
        return np.concatenate(list(join(self.pieces, self.image_px, rows)), axis=1)


def ask(network: Network, image: UInt8[ndarray, "h w c"], variants: Sequence[Variant]) -> Answer:
    """Show a network an image and keep what it drew of each variant."""
    return Answer((image.shape[0], image.shape[1]), list(pieces(Whole(image), network.engine, network.preprocessing, network.sight, variants)))


def _together(choices: Sequence[Choices]) -> Choices:
    """Of several models: the mean threshold, the augmentation of the first, and the post-processing that all chose."""
    done = [choice.postprocessing for choice in choices]
    postprocessing = Postprocessing(*(all(getattr(one, name) for one in done) for name in ("largest", "holes", "specks")))
    return Choices(float(np.mean([choice.threshold for choice in choices])), choices[0].tta, postprocessing)
