"""One mask of those that several people drew: by majority, or weighted by how reliable each is."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Integer, UInt8
from numpy import ndarray

FIRST_RELIABILITY = 0.99
MOST_ROUNDS = 200
ENOUGH = 1e-6
"""STAPLE ends when no probability changes by more."""


def majority(masks: Sequence[UInt8[ndarray, "h w"]]) -> UInt8[ndarray, "h w"]:
    """Give each pixel the class that most people gave it; of equals that of the first person.

    Args:
        masks: Class indices, which may be void (255).

    Example:
        >>> masks = [np.array([[1, 1, 0]], np.uint8), np.array([[1, 0, 0]], np.uint8)]
        >>> majority([*masks, np.array([[0, 1, 0]], np.uint8)]).tolist()
        [[1, 1, 0]]
    """
    patterns, places = _patterns(masks)
    winners = [_most_frequent(pattern) for pattern in patterns]
    return np.array(winners, np.uint8)[places]


def staple(masks: Sequence[UInt8[ndarray, "h w"]]) -> UInt8[ndarray, "h w"]:
    """Estimate the truth and each person's reliability together (STAPLE).

    Expectation and maximisation, where a person's reliability is a table of how often each true
    class is drawn as each class. The frequency of a class is that in all masks together. Warfield,
    Zou and Wells 2004, doi:10.1109/TMI.2004.828354.

    Args:
        masks: As of `majority`.

    Returns:
        The most probable class of each pixel.
    """
    patterns, places = _patterns(masks)
    counts = np.bincount(places.ravel(), minlength=len(patterns)).astype(float)
    values = np.unique(patterns)
    if len(values) == 1:
        return np.asarray(masks[0])
    drawn = np.searchsorted(values, patterns)
    prior = np.array([(counts[:, None] * (drawn == k)).sum() for k in range(len(values))])
    prior /= prior.sum()
    other = (1 - FIRST_RELIABILITY) / (len(values) - 1)
    # Of each person: the probability of a drawn class (row) where another is true (column)
    reliability = np.full((len(masks), len(values), len(values)), other)
    reliability[:, np.arange(len(values)), np.arange(len(values))] = FIRST_RELIABILITY
    truth = _posterior(drawn, reliability, prior)
    for _ in range(MOST_ROUNDS):
        weights = truth * counts[:, None]
        for person in range(len(masks)):
            for k in range(len(values)):
                reliability[person, k] = weights[drawn[:, person] == k].sum(axis=0)
        reliability /= np.maximum(weights.sum(axis=0), np.finfo(float).tiny)
        before, truth = truth, _posterior(drawn, reliability, prior)
        if np.abs(truth - before).max() < ENOUGH:
            break
    return values[truth.argmax(axis=1)].astype(np.uint8)[places]


CONSENSUS_METHODS = {"majority": majority, "staple": staple}


def _patterns(
    masks: Sequence[UInt8[ndarray, "h w"]],
) -> tuple[UInt8[ndarray, "n people"], Integer[ndarray, "h w"]]:
    """Each combination of classes that pixels have, and which of them each pixel has."""
    stacked = np.stack([mask.ravel() for mask in masks], axis=1)
    patterns, places = np.unique(stacked, axis=0, return_inverse=True)
    return patterns, places.reshape(masks[0].shape)


def _most_frequent(pattern: UInt8[ndarray, " people"]) -> int:
    drawn, first, counts = np.unique(pattern, return_index=True, return_counts=True)
    best = np.flatnonzero(counts == counts.max())
    return int(drawn[best[first[best].argmin()]])


def _posterior(
    drawn: Integer[ndarray, "n people"],
    reliability: Float[ndarray, "people c c"],
    prior: Float[ndarray, " c"],
) -> Float[ndarray, "n c"]:
    """The probability of each class for each combination of what people drew."""
    people = np.arange(drawn.shape[1])
    # A probability of 0 would stay so whatever the others say
    likelihood = np.log(np.maximum(reliability[people, drawn], 1e-12)).sum(axis=1)
    logits = likelihood + np.log(prior)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Float[ndarray, "n c"] = shares / shares.sum(axis=1, keepdims=True)
    return result
