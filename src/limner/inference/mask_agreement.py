"""Whether the masks that a model is scored by seem to be inverted, or to have other classes.

It is judged by the model: where its masks agree far better with the true ones once two classes
change places, it is likelier that these were coded otherwise than that the model learnt so. It is
only said, since the score is of the masks as they are.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray

from limner.data.check_masks import MOSTLY_SHARE
from limner.inference.scores import Scores
from limner.labels import Labels, labels_lines
from limner.metrics.overlap import dice, one_vs_rest

MIN_KAPPA, MIN_GAIN = 0.2, 0.3
"""Cohen's kappa that the exchanged classes reach at least, and by how much it is higher.

It is 0 for a model that predicts one class everywhere, whose Dice may be high.
"""
STAY = 0.05
"""What a class gains where it stays: it moves for more than chance alone."""


def mask_warnings(
    scores: Scores, truth: Labels, data: Path, training_shares: Sequence[float] = ()
) -> list[str]:
    """Say where the masks seem to be inverted, or to have classes that changed places.

    Args:
        scores: Of a model.
        truth: How the masks were read.
        data: The folder of the masks.
        training_shares: Of the training masks, the share of each class; empty where it is unknown.
    """
    table = scores.confusion()
    if not table.sum():
        return []
    order = _best_order(table)
    moved = table[order]
    gain = cohen_kappa(moved) - cohen_kappa(table)
    if cohen_kappa(moved) >= MIN_KAPPA and gain >= MIN_GAIN:
        return [_exchanged(table, order, truth, data)]
    if truth.binary and cohen_kappa(table) < MIN_KAPPA and len(training_shares) == 2:
        return _unlike_training(table, truth, data, training_shares[1])
    return []


def cohen_kappa(table: Int64[ndarray, "k k"]) -> float:
    """Compute the agreement of a confusion matrix: 1 for equal masks, 0 for what is chance."""
    total = table.sum()
    observed = np.trace(table) / total
    expected = float((table.sum(0) / total) @ (table.sum(1) / total))
    return float((observed - expected) / (1 - expected)) if expected < 1 else 0.0


def _best_order(table: Int64[ndarray, "k k"]) -> Int64[ndarray, " k"]:
    """For each predicted class the true class that it agrees with best, each taken once."""
    # The import takes 0.1 s, and serving does not need it
    from scipy.optimize import linear_sum_assignment

    rows, columns = table.sum(1), table.sum(0)
    agreement = 2 * table / np.maximum(rows[:, None] + columns, 1) + STAY * np.eye(len(table))
    predicted, true = linear_sum_assignment(agreement.T, maximize=True)
    order: Int64[ndarray, " k"] = true[np.argsort(predicted)]
    return order


def _exchanged(
    table: Int64[ndarray, "k k"], order: Int64[ndarray, " k"], truth: Labels, data: Path
) -> str:
    """The warning of classes that agree better in another order, with the cure."""
    before, after = _mean_dice(table, truth), _mean_dice(table[order], truth)
    lines = replace(truth, values=tuple(truth.values[index] for index in order))
    if truth.binary:
        what = "the masks look inverted"
        exchanged = "inverted"
    else:
        pairs = [
            f"{truth.names[true]} ({truth.format_class(true) or 'no value'}) looks like "
            f"{truth.names[predicted]}"
            for predicted, true in enumerate(order.tolist())
            if predicted != true and table[true].sum()
        ]
        what = f"classes of the masks seem to have changed places: {', '.join(pairs)}"
        exchanged = "exchanged"
    return (
        f"{what}. The pooled Dice is {before:.2f} as they are read, and {after:.2f} if "
        f"{exchanged}. If they are, {_cure(lines, data)}"
    )


def _unlike_training(
    table: Int64[ndarray, "2 2"], truth: Labels, data: Path, training_share: float
) -> list[str]:
    """The warning of masks whose foreground is as frequent as the training's background."""
    share = float(table[1].sum() / table.sum())
    few, many = sorted((share, training_share))
    if many <= MOSTLY_SHARE or few >= 1 - MOSTLY_SHARE:
        return []
    inverted = replace(truth, values=truth.values[::-1])
    return [
        f"the foreground covers {share:.0%} of the pixels of the masks, and {training_share:.0%} "
        f"of those that the model was trained on. Are they inverted? Then {_cure(inverted, data)}"
    ]


def _mean_dice(table: Int64[ndarray, "k k"], labels: Labels) -> float:
    """The mean over the scored classes that are in either mask."""
    counts = one_vs_rest(table)[list(labels.scored)]
    scores: Float64[ndarray, " k"] = dice(counts, float("nan"))
    return float(np.nanmean(scores)) if not np.isnan(scores).all() else float("nan")


def _cure(labels: Labels, data: Path) -> str:
    path = data / "labels.toml"
    verb = "change" if path.is_file() else "write"
    return f"{verb} {path} to:\n{labels_lines(labels.without_absent())}"
