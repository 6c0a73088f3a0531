"""Dice, cross-entropy and their sum, by name, from logits.

Void pixels (class index `VOID`) count in no loss. One logit is a binary set and takes the sigmoid; several take the softmax.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from limner.labels import VOID

SMOOTHING_PX = 1.0
"""Added above and below in Dice: an empty mask that is predicted empty costs nothing, and gradients stay finite."""

Loss = Callable[..., Float[Tensor, ""]]
"""Takes logits (b, k, h, w), target (b, h, w) and, if any, the classes' weights (k)."""


def class_weights(pixels: Sequence[int]) -> Float[Tensor, " k"]:
    """A weight for each class from how many pixels it has: its share to the power of -0.75, of mean 1 over the pixels.

    That lies between no weights, with which thin and rare classes are not learned (of CamVid's eleven, five), and the
    inverse share, with which they are drawn too large. A class without pixels has weight 0. Shape (k), 0 and above.
    """
    count = torch.tensor(pixels, dtype=torch.float64)
    share = count / count.sum().clamp(min=1)
    weights = torch.where(count > 0, share.clamp(min=1e-6) ** -0.75, 0.0)
    return (weights / (weights * share).sum().clamp(min=1e-12)).float()


def dice_loss(logits: Float[Tensor, "b k h w"], target: UInt8[Tensor, "b h w"], weights: Float[Tensor, " k"] | None = None) -> Float[Tensor, ""]:
    """1 - soft Dice (arXiv:1606.04797, without the squares).

    For a binary set of each image, averaged, as the score is. For several classes of the whole batch at once, averaged over
    the classes that are in it: a class that an image lacks would otherwise cost as much as one that it misses. Each class
    counts the same whatever its size, so `weights` are not used.
    """
    del weights
    logits, valid = logits.float(), (target != VOID).unsqueeze(1)
    probabilities = (logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)) * valid
    truth = _one_hot(target, logits.shape[1]) * valid  # (b, k, h, w)
    together = (2, 3) if logits.shape[1] == 1 else (0, 2, 3)
    overlap, marked = (probabilities * truth).sum(together), truth.sum(together)
    soft_dice = (2 * overlap + SMOOTHING_PX) / (probabilities.sum(together) + marked + SMOOTHING_PX)
    if logits.shape[1] == 1:
        return 1 - soft_dice.mean()
    present = marked > 0
    return 1 - (soft_dice * present).sum() / present.sum().clamp(min=1)


def cross_entropy_loss(logits: Float[Tensor, "b k h w"], target: UInt8[Tensor, "b h w"], weights: Float[Tensor, " k"] | None = None) -> Float[Tensor, ""]:
    """Mean cross-entropy of the pixels that are not void, in nats; with `weights` the mean is weighted by each pixel's class."""
    logits, counted = logits.float(), (target != VOID).float()
    if logits.shape[1] == 1:
        per_pixel = F.binary_cross_entropy_with_logits(logits[:, 0], (target == 1).float(), reduction="none")
    else:
        class_index = target.masked_fill(target == VOID, 0).long()
        per_pixel = F.cross_entropy(logits, class_index, reduction="none")
        if weights is not None:
            counted = counted * weights[class_index]
            return (per_pixel * counted).sum() / counted.sum().clamp(min=1e-6)
    return (per_pixel * counted).sum() / counted.sum().clamp(min=1)


def dice_cross_entropy_loss(logits: Float[Tensor, "b k h w"], target: UInt8[Tensor, "b h w"], weights: Float[Tensor, " k"] | None = None) -> Float[Tensor, ""]:
    """The sum of the two: Dice follows the score, cross-entropy gives a gradient everywhere (arXiv:1809.10486)."""
    return dice_loss(logits, target) + cross_entropy_loss(logits, target, weights)


LOSSES: dict[str, Loss] = {"dice": dice_loss, "cross-entropy": cross_entropy_loss, "dice+cross-entropy": dice_cross_entropy_loss}


def _one_hot(target: UInt8[Tensor, "b h w"], logits: int) -> Float[Tensor, "b k h w"]:
    if logits == 1:
        return (target == 1).float().unsqueeze(1)
    classes = torch.arange(logits, device=target.device, dtype=torch.uint8).view(1, -1, 1, 1)
    return (target.unsqueeze(1) == classes).float()
