"""Image in, mask and confidence out at the original size; the one inference path."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float32, Shaped, UInt8
from numpy import ndarray

from limner.data.images import read_image, to_image
from limner.data.large_images import ArrayImage, ImageReader
from limner.data.postprocess import Postprocessing
from limner.data.preprocess import Preprocessing
from limner.errors import LimnerError
from limner.inference.calibration import Calibration, entropy, to_class_index
from limner.inference.engines import Engine, LoadedModel, ReceptiveField, load_model, load_torch
from limner.inference.quality import (
    CanvasPrediction,
    ConfidenceModel,
    MaskStatistics,
    mask_statistics,
)
from limner.inference.tiling import Tile, merge_tiles, predict_tiles, split_rows
from limner.inference.tta import TTA_TRANSFORMS, TtaTransform
from limner.labels import Labels
from limner.model.metadata import InferenceSettings

if TYPE_CHECKING:
    from limner.model.bundle import Bundle

BAND_ROWS = 512
"""In which the probabilities of several models are brought together."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was made of one image, at its size."""

    mask: UInt8[ndarray, "h w"]
    probabilities: Float32[ndarray, "k h w"]
    """Of the foreground in a binary set, else of each class; as the network gives them, the mean
    over variants and models.
    """
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


class MaskBand(NamedTuple):
    """Some rows of an image's mask, and of its uncertainty."""

    mask: UInt8[ndarray, "h w"]
    uncertainty: Float32[ndarray, "h w"]


class ModelRunner(NamedTuple):
    """What runs one model's network, what its images must be like, and what is known of its
    confidence.
    """

    engine: Engine
    preprocessing: Preprocessing
    confidence: ConfidenceModel | None = None
    receptive_field: ReceptiveField = ReceptiveField()

    @classmethod
    def from_model(cls, model: LoadedModel) -> "ModelRunner":
        return cls(
            model.engine,
            model.metadata.preprocessing,
            ConfidenceModel.from_dict(model.metadata.confidence),
            model.receptive_field,
        )


class Predictor:
    """Segments images of any size with one network or the mean of several, and one rule from
    probabilities to classes.
    """

    def __init__(
        self,
        networks: Sequence[ModelRunner],
        labels: Labels,
        choices: InferenceSettings | None = None,
    ) -> None:
        self._networks, self.labels, self.settings = (
            tuple(networks),
            labels,
            choices or InferenceSettings(),
        )

    @classmethod
    def load(cls, *paths: Path | str, device: str = "cpu", tta: str | None = None) -> "Predictor":
        """A predictor from model files, exported ones too; several are an ensemble.

        Raises LimnerError as `open_model` does, and where the models differ in their classes.
        """
        return cls.from_models(*(load_model(path, device) for path in paths), tta=tta)

    @classmethod
    def from_models(
        cls, *models: "LoadedModel | Bundle", device: str = "cpu", tta: str | None = None
    ) -> "Predictor":
        """A predictor of opened models, or of bundles, whose networks run in torch; `tta` names
        another augmentation than validation chose.

        An ensemble takes the mean of the thresholds, and a post-processing that all its models
        chose.
        """
        if tta is not None and tta not in TTA_TRANSFORMS:
            raise LimnerError(
                f"--tta {tta} is not known. Choose one of {', '.join(TTA_TRANSFORMS)}."
            )
        opened = [
            model if isinstance(model, LoadedModel) else load_torch(model, device)
            for model in models
        ]
        first, *others = (model.metadata.labels for model in opened)
        for other in others:
            if other.names != first.names:
                raise LimnerError(
                    f"the models differ in their classes: {', '.join(first.names)} and "
                    f"{', '.join(other.names)}. An ensemble needs the same."
                )
        choices = _ensemble_settings([model.metadata.inference for model in opened])
        return cls(
            [ModelRunner.from_model(model) for model in opened],
            first,
            replace(choices, tta=tta) if tta else choices,
        )

    def predict(self, image: Shaped[ndarray, "*_"] | Path | str) -> Prediction:
        """Segment one image: a file, or an array of height, width and channels, as `read_image` and
        `as_image` take them.

        Raises LimnerError for what they refuse, and where the model was trained on other channels.
        """
        pixels = to_image(image) if isinstance(image, ndarray) else read_image(Path(image))
        impressions: list[list[MaskStatistics]] = [[] for _ in self._networks]
        bands = list(self._bands(ArrayImage(pixels), impressions))
        probabilities = bands[0] if len(bands) == 1 else np.concatenate(bands, axis=1)
        class_index = self.settings.postprocessing(
            to_class_index(probabilities, self.settings.threshold), self.labels
        )
        return Prediction(class_index, probabilities, *self._judge(impressions), self.calibration)

    def stream(
        self, picture: ImageReader, rows: int
    ) -> tuple[Iterator[MaskBand], Callable[[], tuple[float | None, float | None]]]:
        """Segment a picture that need not fit into memory: bands of so many rows, and what gives
        predicted Dice and unusualness once they are done.

        Post-processing needs all of a mask, and is left out. Raises LimnerError as `predict` does.
        """
        impressions: list[list[MaskStatistics]] = [[] for _ in self._networks]
        bands = split_rows(self._bands(picture, impressions), rows)
        drawn = (
            MaskBand(to_class_index(one, self.settings.threshold), entropy(self.calibration(one)))
            for one in bands
        )
        return drawn, lambda: self._judge(impressions)

    @property
    def blends_tiles(self) -> bool:
        """Whether it takes images in tiles that fade into each other, since a network of it looks
        at all of what it is given at once.
        """
        return any(
            network.preprocessing.resize_mode == "tile" and network.receptive_field.halo_px is None
            for network in self._networks
        )

    @property
    def calibration(self) -> Calibration:
        """What makes the probabilities true: the mean over the models."""
        said = [
            network.confidence.calibration for network in self._networks if network.confidence
        ] or [Calibration()]
        return Calibration(
            float(np.mean([one.temperature for one in said])),
            float(np.mean([one.shift for one in said])),
        )

    def _bands(
        self, picture: ImageReader, impressions: Sequence[list[MaskStatistics]]
    ) -> Iterator[Float32[ndarray, "k h w"]]:
        """Probabilities from the image's top to its bottom, the mean over the models; what each saw
        is added to its impressions.
        """
        streams = [
            merge_tiles(self._watched(network, picture, kept), picture.size_px)
            for network, kept in zip(self._networks, impressions, strict=True)
        ]
        if len(streams) == 1:
            yield from streams[0]
            return
        for bands in zip(*(split_rows(stream, BAND_ROWS) for stream in streams), strict=True):
            yield np.mean(bands, axis=0)

    def _watched(
        self, network: ModelRunner, picture: ImageReader, kept: list[MaskStatistics]
    ) -> Iterator[Tile]:
        for piece in predict_tiles(
            picture,
            network.engine,
            network.preprocessing,
            network.receptive_field,
            TTA_TRANSFORMS[self.settings.tta],
        ):
            if network.confidence:
                kept.append(
                    mask_statistics(
                        piece.canvas(),
                        network.confidence.calibration,
                        self.settings.threshold,
                        self.labels,
                    )
                )
            yield piece

    def _judge(
        self, impressions: Sequence[Sequence[MaskStatistics]]
    ) -> tuple[float | None, float | None]:
        """The predicted Dice, the mean over the models that say one, and how unusual the image
        is.
        """
        known = [
            (network.confidence, seen)
            for network, seen in zip(self._networks, impressions, strict=True)
            if network.confidence
        ]
        if not known:
            return None, None
        return float(np.mean([one.predicted_dice(seen) for one, seen in known])), max(
            one.unusualness(seen) for one, seen in known
        )


@dataclass(frozen=True, slots=True)
class NetworkOutput:
    """What one network made of an image, in pieces and by variant."""

    image_px: tuple[int, int]
    tiles: Sequence[Tile]

    def canvases(self) -> list[CanvasPrediction]:
        return [piece.canvas() for piece in self.tiles]

    def probabilities(self, rows: Sequence[int] | None = None) -> Float32[ndarray, "k h w"]:
        """At the image's size, the mean over the variants, or over some of them."""
        return np.concatenate(list(merge_tiles(self.tiles, self.image_px, rows)), axis=1)


def run_network(
    network: ModelRunner, image: UInt8[ndarray, "h w c"], variants: Sequence[TtaTransform]
) -> NetworkOutput:
    """Show a network an image and keep what it drew of each variant."""
    return NetworkOutput(
        (image.shape[0], image.shape[1]),
        list(
            predict_tiles(
                ArrayImage(image),
                network.engine,
                network.preprocessing,
                network.receptive_field,
                variants,
            )
        ),
    )


def _ensemble_settings(choices: Sequence[InferenceSettings]) -> InferenceSettings:
    """Of several models: the mean threshold, the augmentation of the first, and the post-processing
    that all chose.
    """
    done = [choice.postprocessing for choice in choices]
    postprocessing = Postprocessing(
        *(
            all(getattr(one, name) for one in done)
            for name in ("keep_largest", "fill_holes", "remove_small")
        )
    )
    return InferenceSettings(
        float(np.mean([choice.threshold for choice in choices])), choices[0].tta, postprocessing
    )
