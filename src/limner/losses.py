"""Loss functions by name, from logits.

Void pixels (class index `VOID`) count in none of them. One logit means a binary set and takes the
sigmoid; several take the softmax. All arithmetic is in float32, whatever the logits are.

To add a loss: write a function that fits `Loss`, add a line to `LOSSES` and its name to
`recipe.LossName`, and write a NumPy reference in tests/test_losses.py.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from limner.labels import VOID

SMOOTHING_PX = 1.0
"""Added to numerator and denominator in Dice and Tversky.

An empty mask that is predicted empty costs nothing, and gradients stay finite.
"""
FOCAL_GAMMA = 2.0
TVERSKY_ALPHA, TVERSKY_BETA = 0.3, 0.7
"""What false positives and false negatives cost in the Tversky losses."""
FOCAL_TVERSKY_POWER = 0.75
CLASS_WEIGHT_POWER = -0.75
EPSILON = 1e-6
"""Keeps a division by 0, and a power of 0, finite."""

Logits = Float[Tensor, "b k h w"]
Target = UInt8[Tensor, "b h w"]
Weights = Float[Tensor, " k2"] | None


@runtime_checkable
class Loss(Protocol):
    """A loss function of logits and true classes."""

    def __call__(
        self, logits: Logits, target: Target, weights: Weights = None, smoothing: float = 0.0
    ) -> Float[Tensor, ""]:
        """Compute the loss of a batch, one float32 number.

        Args:
            logits: of any float type; k is 1 for a binary set, else the number of classes.
            target: class indices, or `VOID`.
            weights: of the classes (2 for a binary set), of mean 1 over the pixels. Losses that
                count every class the same whatever its size ignore them.
            smoothing: label smoothing in 0..1: this share of a pixel's label is spread over all
                classes. Losses without cross-entropy ignore it.
        """
        ...


def class_weights(pixels: Sequence[int]) -> Float[Tensor, " k"]:
    """Compute a weight for each class: its share of the pixels to the power of -0.75.

    That lies between no weights, with which thin and rare classes are not learned (of CamVid's
    eleven, five), and the inverse share, with which they are drawn too large.

    Args:
        pixels: how many pixels each class has.

    Returns weights of mean 1 over the pixels; 0 for a class without pixels.
    """
    count = torch.tensor(pixels, dtype=torch.float64)
    share = count / count.sum().clamp(min=1)
    weights = torch.where(count > 0, share.clamp(min=EPSILON) ** CLASS_WEIGHT_POWER, 0.0)
    return (weights / (weights * share).sum().clamp(min=1e-12)).float()


def dice_loss(
    logits: Logits, target: Target, weights: Weights = None, smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Compute 1 - soft Dice (arXiv:1606.04797, without the squares).

    For a binary set it is averaged over the images, as the score is. For several classes it is
    taken over the whole batch, and averaged over the classes in it. A class that an image lacks
    would otherwise cost as much as one that it misses.
    """
    del weights, smoothing
    return _tversky(logits, target, alpha=0.5, beta=0.5)


def tversky_loss(
    logits: Logits, target: Target, weights: Weights = None, smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Compute the Tversky loss (arXiv:1706.05721).

    It is Dice with false negatives that cost more than false positives, 0.7 to 0.3.
    """
    del weights, smoothing
    return _tversky(logits, target, alpha=TVERSKY_ALPHA, beta=TVERSKY_BETA)


def focal_tversky_loss(
    logits: Logits, target: Target, weights: Weights = None, smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Compute the Tversky loss to the power of 3/4 (arXiv:1810.07842).

    Gradients stay larger where the prediction is nearly right.
    """
    del weights, smoothing
    return _tversky(
        logits, target, alpha=TVERSKY_ALPHA, beta=TVERSKY_BETA, power=FOCAL_TVERSKY_POWER
    )


def cross_entropy_loss(
    logits: Logits, target: Target, weights: Weights = None, smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Compute the mean cross-entropy of the pixels, in nats, weighted by each pixel's class.

    Label smoothing is that of arXiv:1512.00567.
    """
    return _weighted_mean(_pixel_cross_entropy(logits, target, smoothing), target, weights)


def focal_loss(
    logits: Logits, target: Target, weights: Weights = None, smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Compute the focal loss (arXiv:1708.02002): cross-entropy times (1 - p)².

    p is the probability of the true class, so easy pixels count little.
    """
    del smoothing
    cross_entropy = _pixel_cross_entropy(logits, target, 0.0)
    focal = (1 - torch.exp(-cross_entropy)) ** FOCAL_GAMMA * cross_entropy
    return _weighted_mean(focal, target, weights)


def lovasz_loss(
    logits: Logits, target: Target, weights: Weights = None, smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Compute the Lovász extension of the Jaccard loss (arXiv:1705.08790).

    Binary: the Lovász hinge of each image, averaged. Several classes: the Lovász-Softmax of the
    whole batch, averaged over the classes in it.
    """
    del weights, smoothing
    logits, valid = logits.float(), target != VOID
    if logits.shape[1] == 1:
        truth = (target == 1) & valid
        hinge = F.relu((1 - logits[:, 0] * (2 * truth.float() - 1)).masked_fill(~valid, 0.0))
        return _lovasz_extension(hinge.flatten(1), truth.flatten(1)).mean()
    one_hot = _one_hot(target, logits.shape[1])
    errors = (one_hot - logits.softmax(1)).abs() * valid.unsqueeze(1)
    truth = (one_hot * valid.unsqueeze(1)).transpose(0, 1).flatten(1) > 0  # (k, pixels)
    per_class = _lovasz_extension(errors.transpose(0, 1).flatten(1), truth)
    return _mean_of_present(per_class, truth.any(1))


def boundary_loss(
    logits: Logits, target: Target, weights: Weights = None, smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Compute Dice plus the boundary loss (arXiv:1812.07032).

    The boundary loss is the mean of the probability times the signed distance to the true boundary,
    in units of the image's diagonal.
    """
    probabilities, truth, valid = _probabilities_and_truth(logits, target)
    signed_distance = torch.where(
        truth > 0, -distance_transform(truth == 0), distance_transform(truth > 0)
    )
    boundary = probabilities * (signed_distance / _diagonal_px(target))
    dice = dice_loss(logits, target, weights, smoothing)
    return dice + _mean_over_present_classes(boundary, truth, valid)


def hausdorff_loss(
    logits: Logits, target: Target, weights: Weights = None, smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Compute Dice plus the Hausdorff loss with distance transforms (arXiv:1904.10030).

    The latter is the mean of the squared error times the squared distances to both boundaries, in
    units of the image's diagonal.
    """
    probabilities, truth, valid = _probabilities_and_truth(logits, target)
    predicted = probabilities.detach() >= 0.5
    squared_distances = _boundary_distance(truth > 0) ** 2 + _boundary_distance(predicted) ** 2
    errors = (probabilities - truth) ** 2 * squared_distances / _diagonal_px(target) ** 2
    dice = dice_loss(logits, target, weights, smoothing)
    return dice + _mean_over_present_classes(errors, truth, valid)


def _sum_losses(*losses: Loss) -> Loss:
    def total_loss(
        logits: Logits, target: Target, weights: Weights = None, smoothing: float = 0.0
    ) -> Float[Tensor, ""]:
        return torch.stack([loss(logits, target, weights, smoothing) for loss in losses]).sum()

    return total_loss


LOSSES: dict[str, Loss] = {
    "dice": dice_loss,
    "cross-entropy": cross_entropy_loss,
    # Dice follows the score, cross-entropy gives a gradient everywhere (arXiv:1809.10486)
    "dice+cross-entropy": _sum_losses(dice_loss, cross_entropy_loss),
    "focal": focal_loss,
    "dice+focal": _sum_losses(dice_loss, focal_loss),
    "tversky": tversky_loss,
    "focal-tversky": focal_tversky_loss,
    "lovasz": lovasz_loss,
    "boundary": boundary_loss,
    "hausdorff": hausdorff_loss,
}
"""By the names that recipes use."""


def distance_transform(mask: Bool[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
    """Compute the exact Euclidean distance of each pixel to the nearest pixel of a mask, in pixels.

    It is 0 everywhere where a mask is empty. Columns take two running minima. Rows take the lower
    envelope of parabolas by trying them all (Felzenszwalb and Huttenlocher, 2012, without their
    stack), so that it runs on any device.
    """
    height, width = mask.shape[-2:]
    far = float(height + width)
    rows = torch.arange(height, device=mask.device, dtype=torch.float32).view(-1, 1)
    above = rows - torch.where(mask, rows, -far).cummax(2).values
    below = torch.where(mask, rows, 2 * far).flip(2).cummin(2).values.flip(2) - rows
    squared_in_column = torch.minimum(above, below).clamp(max=far) ** 2  # (b, k, h, w)
    columns = torch.arange(width, device=mask.device, dtype=torch.float32)
    squared_across = (columns.view(-1, 1) - columns) ** 2  # (w, w)
    squared = torch.stack(
        [(squared_in_column + squared_across[x]).amin(3) for x in range(width)], dim=3
    )
    return squared.sqrt() * mask.flatten(2).any(2)[..., None, None]


def _tversky(
    logits: Logits, target: Target, *, alpha: float, beta: float, power: float = 1.0
) -> Float[Tensor, ""]:
    """1 - Tversky index, to a power; with alpha and beta of 0.5 the index is Dice.

    Args:
        logits: as in `Loss`.
        target: as in `Loss`.
        alpha: what false positives cost.
        beta: what false negatives cost.
        power: applied to each image's or class's loss.
    """
    probabilities, truth, valid = _probabilities_and_truth(logits, target)
    binary = logits.shape[1] == 1
    axes = (2, 3) if binary else (0, 2, 3)
    true_positives, positives = (probabilities * truth).sum(axes), truth.sum(axes)
    false_positives = (probabilities * valid).sum(axes) - true_positives
    false_negatives = positives - true_positives
    cost = alpha * false_positives + beta * false_negatives
    index = (true_positives + SMOOTHING_PX / 2) / (true_positives + cost + SMOOTHING_PX / 2)
    loss = 1 - index
    if power != 1:
        loss = loss.clamp(min=EPSILON) ** power
    return loss.mean() if binary else _mean_of_present(loss, positives > 0)


def _lovasz_extension(
    errors: Float[Tensor, "n p"], truth: Bool[Tensor, "n p"]
) -> Float[Tensor, " n"]:
    """The sum of the errors, each times how much the Jaccard loss grows with it.

    Errors are taken in descending order, since the Jaccard loss grows with each further pixel that
    is wrong.
    """
    descending = errors.sort(1, descending=True)
    sorted_truth = truth.gather(1, descending.indices).float()
    positives = sorted_truth.sum(1, keepdim=True)
    intersection = positives - sorted_truth.cumsum(1)
    union = positives + (1 - sorted_truth).cumsum(1)
    jaccard_loss = 1 - intersection / union
    growth = torch.diff(jaccard_loss, dim=1, prepend=torch.zeros_like(positives))
    return (descending.values * growth).sum(1)


def _probabilities_and_truth(
    logits: Logits, target: Target
) -> tuple[Logits, Logits, Float[Tensor, "b 1 h w"]]:
    """Probabilities and truth of each logit's class, 0 in void pixels, and 1 where not void."""
    logits, valid = logits.float(), (target != VOID).unsqueeze(1).float()
    probabilities = logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)
    return probabilities * valid, _one_hot(target, logits.shape[1]) * valid, valid


def _pixel_cross_entropy(
    logits: Logits, target: Target, smoothing: float
) -> Float[Tensor, "b h w"]:
    """The cross-entropy of each pixel; of void pixels it is some finite number."""
    logits = logits.float()
    if logits.shape[1] == 1:
        truth = (target == 1).float() * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(logits[:, 0], truth, reduction="none")
    return F.cross_entropy(
        logits,
        target.masked_fill(target == VOID, 0).long(),
        reduction="none",
        label_smoothing=smoothing,
    )


def _weighted_mean(
    values: Float[Tensor, "b h w"], target: Target, weights: Weights
) -> Float[Tensor, ""]:
    """The mean over pixels that are not void, weighted by each pixel's class."""
    pixel_weights = (target != VOID).float()
    if weights is not None:
        pixel_weights = pixel_weights * weights[target.masked_fill(target == VOID, 0).long()]
    return (values * pixel_weights).sum() / pixel_weights.sum().clamp(min=EPSILON)


def _mean_over_present_classes(
    values: Logits, truth: Logits, valid: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, ""]:
    """The mean over the pixels that are not void, and over the classes that their image has."""
    present = truth.flatten(2).any(2).float()[..., None, None] * valid
    return (values * present).sum() / present.sum().clamp(min=1)


def _mean_of_present(values: Float[Tensor, " k"], present: Bool[Tensor, " k"]) -> Float[Tensor, ""]:
    """The mean of the present classes' values; 0 where there is none."""
    return (values * present).sum() / present.sum().clamp(min=1)


def _boundary_distance(mask: Bool[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
    """The distance to the nearest pixel on the other side of the mask's boundary."""
    return torch.where(mask, distance_transform(~mask), distance_transform(mask))


def _diagonal_px(target: Target) -> float:
    return float((target.shape[1] ** 2 + target.shape[2] ** 2) ** 0.5)


def _one_hot(target: Target, logits: int) -> Logits:
    """1 where a pixel is of the logit's class; a single logit is that of class 1."""
    if logits == 1:
        return (target == 1).float().unsqueeze(1)
    classes = torch.arange(logits, device=target.device, dtype=torch.uint8).view(1, -1, 1, 1)
    return (target.unsqueeze(1) == classes).float()
