"""Score a predictor: compare its masks with the true ones, at the masks' own size."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.parallel import Progress, with_progress
from limner.data.sample import Sample
from limner.data.scan import scan
from limner.errors import LimnerError
from limner.inference.calibration import reliability_bins
from limner.inference.prediction import Prediction
from limner.inference.predictor import Predictor
from limner.inference.scored_samples import find_scored_samples
from limner.inference.scores import ImageScore, Scores
from limner.labels import Labels
from limner.metrics.overlap import JACCARD_THRESHOLD, confusion_table, one_vs_rest
from limner.metrics.surface import TOLERANCE_PX, surface_metrics_per_class
from limner.plurals import count_noun

OnFailure = Callable[[Sample, LimnerError], None]
"""Called with a sample that cannot be scored, and why."""


def evaluate(
    predictor: Predictor,
    data: Sequence[Sample] | Path | str,
    split: str | None = None,
    *,
    tolerance_px: float = TOLERANCE_PX,
    jaccard_threshold: float = JACCARD_THRESHOLD,
    progress: Progress | None = None,
) -> Scores:
    """Score a predictor on images and their masks.

    Args:
        predictor: one model or several together.
        data: a folder in any layout; or samples, at least one, such as those of a `Dataset`.
        split: of a folder: "train", "val", "test", "new" (not there when the model was trained) or
            "all". By default the test images, and all of a folder that the model knows nothing of.
        tolerance_px: outlines that lie no further apart count as equal in the surface Dice.
        jaccard_threshold: in 0..1; below it a Jaccard counts as 0 in the thresholded Jaccard.
        progress: called with an iterable and its length; yields the same items, and may draw a
            progress bar.

    Returns the scores of every image, and from them their means with 95 % intervals.

    Raises LimnerError where there is no sample, an image or a mask cannot be read, a mask has
    another size than its image, or holds a value that belongs to no class of the model. And where a
    folder has no image of the split, or a split is named for samples.

    Example:
        predictor = limner.Predictor.load("runs/lesions/model.safetensors")
        scores = limner.evaluate(predictor, "lesions")
        dice = scores.summary()["dice"]
        print(f"{dice.mean:.3f}, 95 % interval {dice.interval[0]:.3f} to {dice.interval[1]:.3f}")
    """
    truth_labels = None
    if isinstance(data, (str, Path)):
        records, labels = predictor.split_records, predictor.labels
        found = find_scored_samples(records, labels, scan(data), split)
        samples, truth_labels = found.scored.samples, found.labels
    elif split is not None:
        raise LimnerError(f"samples have no split {split!r}. Give their folder, or leave it out.")
    else:
        samples = data
    images = score_samples(
        predictor,
        samples,
        tolerance_px=tolerance_px,
        truth_labels=truth_labels,
        progress=progress,
    )
    return Scores.from_images(images, predictor.labels, jaccard_threshold)


def score_samples(
    predictor: Predictor,
    samples: Sequence[Sample],
    *,
    tolerance_px: float = TOLERANCE_PX,
    truth_labels: Labels | None = None,
    on_failure: OnFailure | None = None,
    progress: Progress | None = None,
) -> list[ImageScore]:
    """Score a predictor on samples, and go on past those that cannot be scored where told to.

    Args:
        predictor: as for `evaluate`, as are `samples`, `tolerance_px` and `progress`.
        truth_labels: how the masks hold the model's classes, in its order, where they are coded
            otherwise than those that it was trained on; see `label_alignment`.
        on_failure: called with the error of an image that cannot be scored, which is then left
            out. By default the error is raised.

    Raises LimnerError as `evaluate` does, and where no sample can be scored.
    """

    def score(sample: Sample) -> ImageScore | None:
        try:
            return _score_sample(predictor, sample, truth_labels or predictor.labels, tolerance_px)
        except LimnerError as error:
            if on_failure is None:
                raise
            on_failure(sample, error)
            return None

    images = with_progress(map(score, samples), len(samples), progress)
    scored = [image for image in images if image is not None]
    if samples and not scored:
        raise LimnerError(
            f"none of the {count_noun(len(samples), 'image')} can be scored. What is wrong with "
            "each was said above: mend them, or choose others."
        )
    return scored


def _score_sample(
    predictor: Predictor, sample: Sample, truth_labels: Labels, tolerance_px: float
) -> ImageScore:
    truth = sample.class_index(truth_labels)
    image = sample.read_image(channels=predictor.channels)
    prediction = predictor.predict(image)
    return score_image(sample, image, truth, prediction, predictor.labels, tolerance_px)


def score_image(
    sample: Sample,
    image: UInt8[ndarray, "h w c"],
    truth: UInt8[ndarray, "h2 w2"],
    prediction: Prediction,
    labels: Labels,
    tolerance_px: float = TOLERANCE_PX,
) -> ImageScore:
    """Compare one prediction with its mask.

    Args:
        sample: names the image.
        image: its pixels.
        truth: class indices; `VOID` pixels are left out.
        prediction: of the same size.
        labels: the classes of both.
        tolerance_px: of the surface Dice.

    Raises LimnerError where the sizes differ.
    """
    if truth.shape != prediction.mask.shape:
        raise LimnerError(
            f"{sample.mask} has another size than its image. Masks must have their image's size: "
            "export this mask again."
        )
    table = confusion_table(prediction.mask, truth, len(labels.names))
    probabilities = prediction.probabilities
    calibrated = prediction.calibration(probabilities)
    return ImageScore(
        id=sample.id,
        counts=one_vs_rest(table),
        surface=surface_metrics_per_class(prediction.mask, truth, labels.scored, tolerance_px),
        predicted_dice=prediction.predicted_dice,
        unusualness=prediction.unusualness,
        mask_share=float(np.isin(truth, labels.scored).mean()),
        brightness=float(image.mean() / 255),
        reliability=np.stack(
            [reliability_bins(values, truth) for values in (probabilities, calibrated)]
        ),
        group=sample.group,
        confusion=np.column_stack([*np.nonzero(table), table[table > 0]]),
        canvases=prediction.statistics[0] if len(prediction.statistics) == 1 else (),
    )
