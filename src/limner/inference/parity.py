"""Comparison of two engines of one model: the same masks, or how much a lower precision changes."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray

from limner.data.preprocess import Preprocessing
from limner.data.sample import Sample
from limner.data.synthetic import draw_lesion
from limner.inference.calibration import to_class_index, to_probabilities
from limner.inference.engines import Engine, LoadedModel
from limner.inference.predictor import Predictor
from limner.metrics.intervals import paired_difference
from limner.metrics.overlap import image_dice
from limner.model.metadata import PostprocessSettings

MAX_CANVASES = 64
"""Training images from which int8 takes its ranges, and on which the speed is measured."""
MAX_CHANGED = 1e-5
"""Share of the mask pixels that may differ."""
MAX_DIFFERENCE = 1e-4
"""How much two probabilities may differ."""
SETTLED_AFTER_S = 0.06
"""How long no engine runs before another one is timed."""
CROP_PX = 512
"""The engines are compared directly on crops of this size."""
SIZES_PX = ((1, 1), (7, 3), (31, 64), (97, 131), (256, 256), (255, 257), (300, 170), (129, 513))
"""Height and width of the synthetic images: odd ones, since those go wrong."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How far an exported model differs from the original."""

    images: int
    """Images that were compared."""
    pixels: int
    """Their mask pixels."""
    changed: int
    """Mask pixels that differ."""
    difference: float
    """The largest difference of two probabilities; infinite where one is not a number."""

    @property
    def holds(self) -> bool:
        """Whether the differences are small enough to call the models the same."""
        return self.changed <= MAX_CHANGED * self.pixels and self.difference <= MAX_DIFFERENCE


@dataclass(frozen=True, slots=True)
class PrecisionChange:
    """What a lower precision costs in Dice, and gains in speed, on images of known masks."""

    images: int
    before: float
    """Mean Dice in float32."""
    difference: float
    """Mean Dice in the lower precision, less that in float32."""
    interval: tuple[float, float]
    """The 95 % interval of the difference, paired by image."""
    worst: float
    """The lowest difference of an image."""
    changed: float
    """Share of the mask pixels that differ."""
    speed: float
    """Canvases a second, as a multiple of the same file in float32."""


def compare_engines(
    original: LoadedModel, exported: LoadedModel, images: Iterable[UInt8[ndarray, "_ _ c"]]
) -> Parity:
    """Compare two models by the masks of images, and by the raw outputs of their engines.

    The engines see crops of the images at their own size, alone and in batches of two.
    """
    predictors = [Predictor.from_models(model) for model in (original, exported)]
    count, pixels, changed, difference = 0, 0, 0, 0.0
    for image in images:
        first, second = (predictor.predict(image) for predictor in predictors)
        count += 1
        pixels += first.mask.size
        changed += int((first.mask != second.mask).sum())
        difference = max(
            difference,
            _max_difference(first.probabilities, second.probabilities),
            *_engine_differences(original, exported, image[:CROP_PX, :CROP_PX]),
        )
    return Parity(count, pixels, changed, difference)


def compare_predictions(
    original: LoadedModel,
    run: Callable[[UInt8[ndarray, "..."]], Sequence[ndarray]],
    images: Iterable[UInt8[ndarray, "_ _ c"]],
    *,
    whole: bool,
) -> Parity:
    """Compare a model with a graph that has the preprocessing in it.

    Args:
        original: the model.
        run: the graph, which takes a batch of canvases and gives their probabilities.
        images: on which they are compared.
        whole: the graph takes an image instead, and gives its mask and probabilities.
    """
    predictor = Predictor.from_models(original)
    # Post-processing is not in a graph
    predictor.settings = replace(predictor.settings, postprocessing=PostprocessSettings())
    labels, preprocessing = predictor.labels, original.metadata.preprocessing
    count, pixels, changed, difference = 0, 0, 0, 0.0
    for image in images:
        if whole:
            expected = predictor.predict(image)
            probabilities = expected.probabilities
            mask, drawn = labels.to_pixels(expected.mask), run(image)
        else:
            view = preprocessing.views((image.shape[0], image.shape[1]))[0]
            canvas = preprocessing.to_canvas(image, view)
            probabilities = to_probabilities(
                original.engine(preprocessing.normalise(canvas)[None])[0]
            )
            (batch,) = run(canvas[None])
            mask = to_class_index(probabilities)
            drawn = to_class_index(batch[0]), batch[0]
        differs = mask != drawn[0]
        count += 1
        pixels += probabilities[0].size
        changed += int((differs.any(2) if differs.ndim == 3 else differs).sum())
        difference = max(difference, _max_difference(probabilities, drawn[1]))
    return Parity(count, pixels, changed, difference)


def _engine_differences(
    original: LoadedModel, exported: LoadedModel, crop: UInt8[ndarray, "h w c"]
) -> list[float]:
    """Compare both engines on a crop alone, and beside its mirror image."""
    canvas = original.metadata.preprocessing.normalise(crop)
    differences = []
    for batch in (canvas[None], np.stack([canvas, canvas[:, ::-1]])):
        contiguous = np.ascontiguousarray(batch)
        first, second = (
            np.stack([to_probabilities(logits) for logits in engine(contiguous)])
            for engine in (original.engine, exported.engine)
        )
        differences.append(_max_difference(first, second))
    return differences


def _max_difference(first: Float32[ndarray, "*n"], second: Float32[ndarray, "*n"]) -> float:
    return float(np.nan_to_num(np.abs(first - second).max(), nan=np.inf))


def measure_change(
    before: LoadedModel,
    after: LoadedModel,
    scored: Sequence[Sample],
    canvases: Sequence[Float32[ndarray, "c h w"]],
) -> PrecisionChange:
    """Measure how two engines of one model differ.

    Args:
        before: in float32.
        after: in a lower precision.
        scored: samples of known masks, at least one, for Dice and masks.
        canvases: the network's inputs on which speed is measured, at least one.
    """
    predictors = [Predictor.from_models(model) for model in (before, after)]
    labels = before.metadata.labels
    dice, changed, pixels = [], 0, 0
    for sample in scored:
        truth = sample.class_index(labels)
        image = sample.read_image(channels=predictors[0].channels)
        first, second = (predictor.predict(image).mask for predictor in predictors)
        dice.append([image_dice(mask, truth, labels) for mask in (first, second)])
        changed += int((first != second).sum())
        pixels += truth.size
    first_dice, second_dice = np.array(dice).T
    groups = [sample.group for sample in scored]
    difference = paired_difference(first_dice, second_dice, groups)
    seconds_before, seconds_after = _median_seconds([before.engine, after.engine], canvases)
    return PrecisionChange(
        len(scored),
        difference.first,
        difference.difference,
        difference.interval,
        float((second_dice - first_dice).min()),
        changed / pixels,
        seconds_before / seconds_after,
    )


def first_canvas(preprocessing: Preprocessing, sample: Sample) -> Float32[ndarray, "c h w"]:
    """Return the network's input for the first view of a sample."""
    image = sample.read_image(channels=preprocessing.channels)
    view = preprocessing.views((image.shape[0], image.shape[1]))[0]
    return preprocessing.normalise(preprocessing.to_canvas(image, view))


def _median_seconds(
    engines: Sequence[Engine], canvases: Sequence[Float32[ndarray, "c h w"]]
) -> list[float]:
    """Measure the median time of a canvas in each engine.

    The engines take turns, so that what disturbs one disturbs the other.
    """
    seconds: list[list[float]] = [[] for _ in engines]
    for _ in range(2):
        for engine, measured in zip(engines, seconds, strict=True):
            measured += time_calls([partial(engine, canvas[None]) for canvas in canvases])
    return [float(np.median(measured)) for measured in seconds]


def time_calls(calls: Sequence[Callable[[], object]]) -> list[float]:
    """How many seconds each call takes, one after the other.

    It waits first, and makes the first call once untimed. Threads of an engine that ran before look
    for work in a loop for a while (ONNX Runtime's for 40 ms), and would take the cores from it.
    """
    time.sleep(SETTLED_AFTER_S)
    calls[0]()
    ends = [time.perf_counter()]
    for call in calls:
        call()
        ends.append(time.perf_counter())
    return np.diff(ends).tolist()


@cache
def synthetic_images(channels: int) -> tuple[UInt8[ndarray, "_ _ c"], ...]:
    """Draw synthetic lesions of odd sizes; for one channel they are colour images too."""
    images = []
    for index, (height, width) in enumerate(SIZES_PX):
        image = draw_lesion(0, index, max(height, width, 32))[0][:height, :width]
        if channels not in {1, 3}:
            image = image[..., np.arange(channels) % 3]
        images.append(np.ascontiguousarray(image))
    return tuple(images)
