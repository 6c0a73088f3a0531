"""Which masks are probably wrong, and in what way: a classifier that each dataset fits for itself.

It learns the difference between the masks as they are, most of which are right, and the same masks
with errors that were drawn into them. So a set on which the model draws well is judged strictly,
and one on which it errs itself is not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray

from limner.inference.label_evidence import FEATURES

PRIOR = 0.1
"""The share of wrong masks that the fit assumes."""
ROUNDS, MIN_RIGHT = 3, 1e-3
"""How often the fit is repeated, with each mask counted as right as far as the last fit has it so,
and the least that it counts.
"""
RIDGE = 3e-3
"""Strength of the penalty on the squared weights."""
MAX_ITERATIONS = 150
FOLDS = 5
"""A mask is judged by a fit that did not count it as right."""
MAX_DEVIATIONS = 6.0
"""Standardised features are clipped here."""
MAX_SQUARED = 3.0
"""Features are clipped here before they are squared."""


@dataclass(frozen=True, slots=True)
class MaskRows:
    """Features of masks: a row for each class of each image.

    Of one image, and of one simulated error in it, there may be several rows.
    """

    features: Float64[ndarray, "n f"]
    images: Int64[ndarray, " n"]
    """The number of the image of each row."""
    quality: Float64[ndarray, " n"]
    """The predicted Dice of the image of each row, in 0..1."""


def label_error_probabilities(
    masks: MaskRows, simulated: MaskRows, kinds: Sequence[str]
) -> tuple[Float64[ndarray, "n k"], tuple[str, ...]]:
    """Compute how probable each kind of error is in each mask.

    Args:
        masks: As they are.
        simulated: Errors drawn into some of them.
        kinds: The kind of each simulated error.

    Returns the probabilities, whose rest to 1 is that the mask is right, and the names of the
    columns.
    """
    names = tuple(dict.fromkeys(kinds))
    number_of = {name: number for number, name in enumerate(names, 1)}
    raw, raw_simulated = _expand(masks), _expand(simulated)
    centre, scale = np.median(raw, axis=0), raw.std(0) + 1e-6
    rows, errors = (
        np.clip((values - centre) / scale, -MAX_DEVIATIONS, MAX_DEVIATIONS)
        for values in (raw, raw_simulated)
    )
    targets = np.array([number_of[kind] for kind in kinds])
    probabilities = np.zeros((len(rows), len(names)))
    right = np.ones(len(rows))
    for _ in range(ROUNDS):
        for judged in _folds(masks.images):
            kept, drawn = ~judged, ~np.isin(simulated.images, masks.images[judged])
            weights = [
                right[kept] * (1 - PRIOR) / right[kept].sum(),
                np.full(drawn.sum(), PRIOR / max(drawn.sum(), 1)),
            ]
            fitted = _fit_softmax(
                np.concatenate([rows[kept], errors[drawn]]),
                np.concatenate([np.zeros(kept.sum(), int), targets[drawn]]),
                np.concatenate(weights),
                len(names) + 1,
            )
            probabilities[judged] = _softmax(rows[judged], fitted)[:, 1:]
        right = np.maximum(1 - probabilities.sum(1), MIN_RIGHT)
    return probabilities, names


def _folds(images: Int64[ndarray, " n"]) -> Iterator[ndarray]:
    """Masks that say which rows are judged together; all rows of an image are."""
    places = {image: place for place, image in enumerate(dict.fromkeys(images.tolist()))}
    fold = np.array([places[image] % FOLDS for image in images.tolist()])
    for number in range(FOLDS):
        if (fold == number).any():
            yield fold == number


def _expand(rows: MaskRows) -> Float64[ndarray, "n f2"]:
    """Add logarithms, products and squares, in which a linear model tells errors apart.

    The products let the same disagreement weigh less where the prediction is expected to be poor.
    """
    named = dict(zip(FEATURES, rows.features.T, strict=True))
    agreement, expected = named["agreement"], named["expected_agreement"]
    offset, area = named["offset"], np.clip(named["area_ratio"], -3, 3)
    differences = [
        agreement,
        named["softmin"],
        named["missing"],
        named["invented"],
        _log(named["uncovered"]),
        _log(named["beyond"]),
        _log(named["shift_gain"]),
        _log(named["mirror_gain"]),
        np.abs(offset),
        named["offset_spread"],
        np.abs(area),
    ]
    columns = [
        *differences,
        expected,
        named["other_class"],
        named["shift_gain"],
        named["shift"],
        named["mirror_gain"],
        offset,
        area,
        rows.quality,
        rows.quality - agreement,
        expected - agreement,
        _log(1 - agreement) - _log(1 - expected),
    ]
    linear = np.stack(columns, axis=1)
    products = [each * poor for each in differences for poor in (expected, rows.quality)]
    squares = np.clip(linear, -MAX_SQUARED, MAX_SQUARED) ** 2
    return np.column_stack([linear, *products, squares])


def _log(values: Float64[ndarray, " n"]) -> Float64[ndarray, " n"]:
    return np.log(np.clip(values, 0, None) + 0.02)


def _fit_softmax(
    rows: Float64[ndarray, "n f"],
    targets: Int64[ndarray, " n"],
    weights: Float64[ndarray, " n"],
    classes: int,
) -> Float64[ndarray, "f2 k"]:
    """Fit a multinomial logistic regression; the last row of the result is the intercept."""
    from scipy import optimize

    count, features = rows.shape
    hot = np.eye(classes)[targets]

    def loss(flat: Float64[ndarray, " p"]) -> tuple[float, Float64[ndarray, " p"]]:
        parameters = flat.reshape(features + 1, classes)
        probabilities = _softmax(rows, parameters)
        likelihood = np.log(np.maximum(probabilities[np.arange(count), targets], 1e-12))
        gradient = (probabilities - hot) * weights[:, None]
        slopes = rows.T @ gradient + 2 * RIDGE * parameters[:-1]
        value = -float(weights @ likelihood) + RIDGE * float((parameters[:-1] ** 2).sum())
        return value, np.concatenate([slopes, gradient.sum(0)[None]]).ravel()

    start = np.zeros((features + 1) * classes)
    result = optimize.minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": MAX_ITERATIONS}
    )
    fitted: Float64[ndarray, "f2 k"] = result.x.reshape(features + 1, classes)
    return fitted


def _softmax(
    rows: Float64[ndarray, "n f"], parameters: Float64[ndarray, "f2 k"]
) -> Float64[ndarray, "n k"]:
    scores = rows @ parameters[:-1] + parameters[-1]
    powers = np.exp(scores - scores.max(1, keepdims=True))
    normalised: Float64[ndarray, "n k"] = powers / powers.sum(1, keepdims=True)
    return normalised
