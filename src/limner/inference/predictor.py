"""From an image to its mask at the original size; the one inference path."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray

from limner.data.image_pixels import to_image
from limner.data.images import read_image
from limner.data.large_images import ArrayImage, ImageReader
from limner.data.split_record import SplitRecord
from limner.errors import LimnerError
from limner.inference.calibration import Calibration, entropy, to_class_index
from limner.inference.confidence import CanvasStatistics, canvas_statistics
from limner.inference.engines import LoadedModel, load_model, load_torch
from limner.inference.mask_bands import MaskBand, join_columns
from limner.inference.model_runner import ModelRunner
from limner.inference.postprocess import postprocess
from limner.inference.prediction import ImageSource, Prediction
from limner.inference.tile_grid import GridPart, Strip, TileGrid
from limner.inference.tiling import Tile, merge_tiles, split_rows
from limner.inference.tta import TTA_TRANSFORMS
from limner.labels import Labels
from limner.model.metadata import InferenceSettings, PostprocessSettings

if TYPE_CHECKING:
    from limner.model.bundle import Bundle

BAND_ROWS = 512
"""Rows in which the probabilities of several models are averaged."""
MAX_COLUMNS_PX = 24_000
"""Of an image and its transformed copies: about what is predicted at once, since rows that wait in
memory are as wide."""


class Predictor:
    """Segments images of any size with one network, or with the mean of several.

    Load one with `Predictor.load`, and call `predict` for an image or `predict_many` for many:

        predictor = limner.Predictor.load("runs/lesions/model.safetensors")
        prediction = predictor.predict("photo.jpg")
        prediction.mask            # (h, w), class indices
        prediction.predicted_dice  # 0.93, say
        predictor.labels.names     # ("background", "lesion")
    """

    def __init__(
        self,
        networks: Sequence[ModelRunner],
        labels: Labels,
        settings: InferenceSettings | None = None,
        split_records: Sequence[SplitRecord] = (),
    ) -> None:
        """Make a predictor from networks; most callers use `load`.

        Args:
            networks: at least one; several are an ensemble.
            labels: the classes, which all networks share.
            settings: threshold, test-time augmentation and post-processing; defaults apply
                neither augmentation nor post-processing.
            split_records: what each network was trained on.
        """
        self.split_records = tuple(split_records)
        self._networks = tuple(networks)
        self.labels = labels
        self.settings = settings or InferenceSettings()

    @classmethod
    def load(cls, *paths: Path | str, device: str = "cpu", tta: str | None = None) -> "Predictor":
        """Load a predictor from model files: .safetensors, .onnx or .xml.

        Args:
            paths: one model file, or several for an ensemble. An ensemble averages probabilities
                and thresholds. It takes the first model's augmentation, and the post-processing
                steps that all models have.
            device: cpu, cuda (or cuda:1) or mps; exported models run on cpu or cuda.
            tta: test-time augmentation: none, flips, turns or scales. By default the one that
                validation chose.

        Raises:
            LimnerError: a file is missing, damaged or not a model; its engine is not installed;
                the device is not available; `tta` is not known; or the models' classes differ.

        Example:
            predictor = limner.Predictor.load("a.safetensors", "b.safetensors", device="cuda")
        """
        return cls.from_models(*(load_model(path, device) for path in paths), tta=tta)

    @classmethod
    def from_models(
        cls, *models: "LoadedModel | Bundle", device: str = "cpu", tta: str | None = None
    ) -> "Predictor":
        """Make a predictor from loaded models or bundles, as `load` does from files.

        Args:
            models: bundles run in torch, on `device`.
            device: as for `load`; loaded models stay on theirs.
            tta: as for `load`.

        Raises LimnerError where there is no model, `tta` is not known, or the classes differ.
        """
        if not models:
            raise LimnerError("no model is given. Give a model file, or several for an ensemble.")
        if tta is not None and tta not in TTA_TRANSFORMS:
            raise LimnerError(
                f"--tta {tta} is not known. Choose one of {', '.join(TTA_TRANSFORMS)}."
            )
        loaded = [
            model if isinstance(model, LoadedModel) else load_torch(model, device)
            for model in models
        ]
        settings = _ensemble_settings([model.metadata.inference for model in loaded])
        return cls(
            [ModelRunner.from_model(model) for model in loaded],
            _shared_labels(loaded),
            replace(settings, tta=tta) if tta else settings,
            [model.metadata.split_record for model in loaded],
        )

    def with_threshold(self, threshold: float) -> "Predictor":
        """The same networks with another threshold.

        Args:
            threshold: Of the probability, above 0 and below 1. A pixel of at least so much is of
                the class.

        Raises LimnerError for another number, and for a model of several classes, which takes the
        likeliest.
        """
        if not self.labels.binary:
            raise LimnerError(
                f"a threshold is for two classes, and this model has {len(self.labels.names)}. "
                "Leave --threshold out."
            )
        if not 0 < threshold < 1:
            raise LimnerError(f"--threshold {threshold:g} is not between 0 and 1, such as 0.3.")
        settings = replace(self.settings, threshold=threshold)
        return Predictor(self._networks, self.labels, settings, self.split_records)

    def predict(self, image: ImageSource) -> Prediction:
        """Segment one image.

        Args:
            image: a file, which is turned upright as its EXIF says, or an array of shape (h, w) or
                (h, w, c). Arrays of 8 bits are in 0..255; other depths are scaled as files are.

        Returns the mask at the image's size, and what the model says about it.

        Raises:
            LimnerError: the file cannot be read, the array is not an image, or it has other
                channels than the images of the training.

        Example:
            mask = predictor.predict("photo.jpg").mask
            lesion_px = (mask == 1).sum()
        """
        return self._predict_pixels(read_source(image, self.channels))

    def predict_many(self, images: Iterable[ImageSource]) -> Iterator[Prediction]:
        """Segment many images; the next one is read while the network works on this one.

        The iterator is lazy: one prediction is in memory at a time, and it ends when the caller
        stops. Wrap it to see progress.

        Args:
            images: files or arrays as for `predict`; they may have different sizes.

        Yields a prediction for each image, in their order.

        Raises:
            LimnerError: as for `predict`, at the image that is at fault.

        Example:
            paths = sorted(Path("photos").glob("*.jpg"))
            for path, prediction in zip(paths, tqdm(predictor.predict_many(paths))):
                print(path.name, prediction.predicted_dice)
        """
        with ThreadPoolExecutor(1) as reader:
            waiting = None
            for image in images:
                following = reader.submit(read_source, image, self.channels)
                if waiting is not None:
                    yield self._predict_pixels(waiting.result())
                waiting = following
            if waiting is not None:
                yield self._predict_pixels(waiting.result())

    def stream(
        self, image: ImageReader, rows: int, strip: Strip | None = None
    ) -> tuple[Iterator[MaskBand], list[list[CanvasStatistics]]]:
        """Segment an image that need not fit into memory, in bands of so many rows.

        Post-processing needs the whole mask, and is left out.

        Args:
            image: the image.
            rows: of each band; the last may have fewer.
            strip: the rows that are segmented, one of at most `most_strips`; by default all.

        Returns the bands from top to bottom, and what `assess` takes once all bands were taken.
        Raises LimnerError as `predict` does.
        """
        statistics: list[list[CanvasStatistics]] = [[] for _ in self._networks]
        parts = self._parts(image.size_px, strip or Strip())
        bands = join_columns([self._mask_bands(image, statistics, part, rows) for part in parts])
        return bands, statistics

    def _mask_bands(
        self,
        image: ImageReader,
        statistics: Sequence[list[CanvasStatistics]],
        part: GridPart,
        rows: int,
    ) -> Iterator[MaskBand]:
        for probabilities in split_rows(self._probability_bands(image, statistics, part), rows):
            yield MaskBand.of(
                to_class_index(probabilities, self.settings.threshold),
                entropy(self.calibration(probabilities)),
            )

    def most_strips(self, image_px: tuple[int, int]) -> int:
        """In how many strips an image can be segmented, whose masks together are that of the whole.

        One where its tiles are not exact, or those of several models lie otherwise.
        """
        grid = self._shared_grid(image_px)
        return 1 if grid is None else len(grid.core_rows)

    def strip_rows(self, image_px: tuple[int, int], strip: Strip) -> tuple[int, int]:
        """The first row of a strip in the image, and the end."""
        grid = self._shared_grid(image_px)
        if grid is None:
            return 0, image_px[0]
        box = grid.part(GridPart(strip)).box
        return box.top, box.top + box.height

    def _parts(self, image_px: tuple[int, int], strip: Strip) -> list[GridPart]:
        """A strip's parts from left to right, few enough columns each for its rows in memory."""
        grid = self._shared_grid(image_px)
        if grid is None:
            return [GridPart(strip)]
        passes = len(TTA_TRANSFORMS[self.settings.tta])
        count = grid.count_columns(MAX_COLUMNS_PX // passes)
        return [GridPart(strip, Strip(index, count)) for index in range(count)]

    def _shared_grid(self, image_px: tuple[int, int]) -> TileGrid | None:
        """The grid of exact tiles that all networks have; None where there is none."""
        first, *others = (network.exact_grid(image_px) for network in self._networks)
        return first if all(grid == first for grid in others) else None

    @property
    def channels(self) -> int | None:
        """How many channels its images have; None where that does not matter."""
        return self._networks[0].preprocessing.channels

    @property
    def channel_files(self) -> tuple[str, ...]:
        """The endings of the files that hold an image's channels; none where one file does."""
        return self._networks[0].preprocessing.channel_files

    @property
    def blends_tiles(self) -> bool:
        """Whether tiles are blended, since a network sees the whole of its input at once."""
        return any(
            network.preprocessing.resize_mode == "tile" and network.receptive_field.halo_px is None
            for network in self._networks
        )

    @property
    def calibration(self) -> Calibration:
        """The calibration of the probabilities: the mean over the models."""
        calibrations = [
            network.confidence.calibration for network in self._networks if network.confidence
        ] or [Calibration()]
        return Calibration.mean_of(calibrations)

    def _predict_pixels(self, pixels: UInt8[ndarray, "h w c"]) -> Prediction:
        statistics: list[list[CanvasStatistics]] = [[] for _ in self._networks]
        image = ArrayImage(pixels)
        parts = [
            _joined(list(self._probability_bands(image, statistics, part)), axis=1)
            for part in self._parts(image.size_px, Strip())
        ]
        probabilities = _joined(parts, axis=2)
        mask = to_class_index(probabilities, self.settings.threshold)
        return Prediction(
            postprocess(mask, self.settings.postprocessing, self.labels),
            probabilities,
            *self.assess(statistics),
            self.labels,
            self.calibration,
            statistics,
        )

    def _probability_bands(
        self,
        image: ImageReader,
        statistics: Sequence[list[CanvasStatistics]],
        part: GridPart,
    ) -> Iterator[Float32[ndarray, "k h w"]]:
        """Yield probabilities from top to bottom, the mean over the models.

        The statistics of each model's canvases are added to its list.
        """
        grid = self._shared_grid(image.size_px)
        size_px = image.size_px if grid is None else grid.part(part).box[2:]
        streams = [
            merge_tiles(self._observed_tiles(network, image, kept, part), size_px)
            for network, kept in zip(self._networks, statistics, strict=True)
        ]
        if len(streams) == 1:
            yield from streams[0]
            return
        for bands in zip(*(split_rows(stream, BAND_ROWS) for stream in streams), strict=True):
            yield np.mean(bands, axis=0)

    def _observed_tiles(
        self,
        network: ModelRunner,
        image: ImageReader,
        statistics: list[CanvasStatistics],
        part: GridPart,
    ) -> Iterator[Tile]:
        """Yield the tiles of a network, and add their statistics to the list."""
        for tile in network.predict_tiles(image, TTA_TRANSFORMS[self.settings.tta], part):
            if network.confidence:
                statistics.append(
                    canvas_statistics(
                        tile.canvas(),
                        network.confidence.calibration,
                        self.settings.threshold,
                        self.labels,
                    )
                )
            yield tile

    def assess(
        self, statistics: Sequence[Sequence[CanvasStatistics]]
    ) -> tuple[float | None, float | None]:
        """Return the predicted Dice, the mean over models, and the highest unusualness.

        Both are None where no model has a confidence model.

        Args:
            statistics: of each model's canvases, as `stream` gives them.
        """
        fitted = [
            (network.confidence, canvases)
            for network, canvases in zip(self._networks, statistics, strict=True)
            if network.confidence
        ]
        if not fitted:
            return None, None
        return (
            float(np.mean([model.predicted_dice(canvases) for model, canvases in fitted])),
            max(model.unusualness(canvases) for model, canvases in fitted),
        )


def _joined(planes: Sequence[Float32[ndarray, "k _ _"]], axis: int) -> Float32[ndarray, "k h w"]:
    """Join planes along an axis; one alone is not copied."""
    return planes[0] if len(planes) == 1 else np.concatenate(planes, axis)


def read_source(image: ImageSource, channels: int | None) -> UInt8[ndarray, "h w c"]:
    if isinstance(image, ndarray):
        return to_image(image)
    return read_image(Path(image), channels=channels)


def _shared_labels(models: Sequence[LoadedModel]) -> Labels:
    """Return the classes of an ensemble. Raises LimnerError where they differ."""
    first, *others = (model.metadata.labels for model in models)
    for other in others:
        if other.names != first.names:
            raise LimnerError(
                f"the models differ in their classes: {', '.join(first.names)} and "
                f"{', '.join(other.names)}. An ensemble needs the same."
            )
    return first


def _ensemble_settings(settings: Sequence[InferenceSettings]) -> InferenceSettings:
    """Combine settings: mean threshold, the first augmentation, the steps that all share."""
    shared = set.intersection(*(set(each.postprocessing.enabled) for each in settings))
    return InferenceSettings(
        float(np.mean([each.threshold for each in settings])),
        settings[0].tta,
        PostprocessSettings(**dict.fromkeys(shared, True)),
    )
