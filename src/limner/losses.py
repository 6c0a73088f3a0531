"""The losses, by name, from logits.

Void pixels (class index `VOID`) count in none. One logit is a binary set and takes the sigmoid;
several take the softmax. `weights` are those of the classes (2 for a binary set), of mean 1 over
the pixels; losses that count every class the same whatever its size do not use them. All arithmetic
is in float32, whatever the logits are.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from limner.labels import VOID

SMOOTHING_PX = 1.0
"""Added above and below in Dice and Tversky: an empty mask that is predicted empty costs nothing,
and gradients stay finite.
"""
FOCUS = 2.0
FALSE_POSITIVES, FALSE_NEGATIVES = 0.3, 0.7
TVERSKY_FOCUS = 0.75

Logits = Float[Tensor, "b k h w"]
Target = UInt8[Tensor, "b h w"]
Weights = Float[Tensor, " k2"] | None


@runtime_checkable
class Loss(Protocol):
    """Takes logits (b, k, h, w) of any float type and class indices (b, h, w); gives one number,
    float32.
    """

    def __call__(
        self, logits: Logits, target: Target, weights: Weights = None, smoothing: float = 0.0
    ) -> Float[Tensor, ""]: ...


def class_weights(pixels: Sequence[int]) -> Float[Tensor, " k"]:
    """A weight for each class from how many pixels it has: its share to the power of -0.75, of mean
    1 over the pixels.

    That lies between no weights, with which thin and rare classes are not learned (of CamVid's
    eleven, five), and the inverse share, with which they are drawn too large. A class without
    pixels has weight 0. Shape (k), 0 and above.
    """
    count = torch.tensor(pixels, dtype=torch.float64)
    share = count / count.sum().clamp(min=1)
    weights = torch.where(count > 0, share.clamp(min=1e-6) ** -0.75, 0.0)
    return (weights / (weights * share).sum().clamp(min=1e-12)).float()


def dice_loss(
    logits: Logits, target: Target, weights: Weights = None, smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """1 - soft Dice (arXiv:1606.04797, without the squares).

    For a binary set of each image, averaged, as the score is. For several classes of the whole
    batch at once, averaged over the classes that are in it: a class that an image lacks would
    otherwise cost as much as one that it misses.
    """
    del weights, smoothing
    return _overlap_loss(logits, target, 0.5, 0.5, 1.0)


def tversky_loss(
    logits: Logits, target: Target, weights: Weights = None, smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """As Dice, but what is missed costs more than what is drawn too much, 0.7 to 0.3
    (arXiv:1706.05721).
    """
    del weights, smoothing
    return _overlap_loss(logits, target, FALSE_POSITIVES, FALSE_NEGATIVES, 1.0)


def focal_tversky_loss(
    logits: Logits, target: Target, weights: Weights = None, smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Tversky to the power of 3/4, which looks longer at what is nearly right
    (arXiv:1810.07842).
    """
    del weights, smoothing
    return _overlap_loss(logits, target, FALSE_POSITIVES, FALSE_NEGATIVES, TVERSKY_FOCUS)


def cross_entropy_loss(
    logits: Logits, target: Target, weights: Weights = None, smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Mean cross-entropy of the pixels that are not void, in nats, weighted by each pixel's class.

    With `smoothing`, that share of each pixel's truth is spread over all classes alike
    (arXiv:1512.00567).
    """
    return _mean_over_pixels(_per_pixel(logits, target, smoothing), target, weights)


def focal_loss(
    logits: Logits, target: Target, weights: Weights = None, smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Cross-entropy times (1 - p)², p being the probability of the true class: what is easy counts
    little (arXiv:1708.02002).
    """
    del smoothing
    per_pixel = _per_pixel(logits, target, 0.0)
    return _mean_over_pixels((1 - torch.exp(-per_pixel)) ** FOCUS * per_pixel, target, weights)


def lovasz_loss(
    logits: Logits, target: Target, weights: Weights = None, smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """The Lovász extension of the Jaccard loss: the hinge of each image for a binary set, else the
    softmax of the batch (arXiv:1705.08790).
    """
    del weights, smoothing
    logits, valid = logits.float(), target != VOID
    if logits.shape[1] == 1:
        truth = (target == 1) & valid
        errors = 1 - logits[:, 0] * (2 * truth.float() - 1)
        errors = F.relu(errors.masked_fill(~valid, 0.0)).flatten(1)
        return (
            (
                errors.sort(1, descending=True).values
                * _jaccard_steps(_sorted_by(errors, truth.flatten(1)))
            )
            .sum(1)
            .mean()
        )
    errors = (_one_hot(target, logits.shape[1]) - logits.softmax(1)).abs() * valid.unsqueeze(1)
    by_class = errors.transpose(0, 1).flatten(1)  # (k, pixels)
    truth = (_one_hot(target, logits.shape[1]) * valid.unsqueeze(1)).transpose(0, 1).flatten(1) > 0
    per_class = (
        by_class.sort(1, descending=True).values * _jaccard_steps(_sorted_by(by_class, truth))
    ).sum(1)
    present = truth.any(1)
    return (per_class * present).sum() / present.sum().clamp(min=1)


def boundary_loss(
    logits: Logits, target: Target, weights: Weights = None, smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Dice plus the mean of probability times signed distance to the true boundary, in units of the
    image's diagonal (arXiv:1812.07032).
    """
    probabilities, truth, valid = _drawn(logits, target)
    distance = torch.where(
        truth > 0, -distance_transform(truth == 0), distance_transform(truth > 0)
    ) / _diagonal(target)
    return dice_loss(logits, target, weights, smoothing) + _mean_over_drawn(
        probabilities * distance, truth, valid
    )


def hausdorff_loss(
    logits: Logits, target: Target, weights: Weights = None, smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Dice plus the mean of squared error times the squared distances to both boundaries, in units
    of the diagonal (arXiv:1904.10030).
    """
    probabilities, truth, valid = _drawn(logits, target)
    near = _to_boundary(truth > 0) ** 2 + _to_boundary(probabilities.detach() >= 0.5) ** 2
    far = (probabilities - truth) ** 2 * near / _diagonal(target) ** 2
    return dice_loss(logits, target, weights, smoothing) + _mean_over_drawn(far, truth, valid)


def _sum_losses(*parts: Loss) -> Loss:
    def loss(
        logits: Logits, target: Target, weights: Weights = None, smoothing: float = 0.0
    ) -> Float[Tensor, ""]:
        return torch.stack([part(logits, target, weights, smoothing) for part in parts]).sum()

    return loss


LOSSES: dict[str, Loss] = {
    "dice": dice_loss,
    "cross-entropy": cross_entropy_loss,
    "dice+cross-entropy": _sum_losses(
        dice_loss,
        cross_entropy_loss,
        # Dice follows the score, cross-entropy gives a gradient everywhere (arXiv:1809.10486)
    ),
    "focal": focal_loss,
    "dice+focal": _sum_losses(dice_loss, focal_loss),
    "tversky": tversky_loss,
    "focal-tversky": focal_tversky_loss,
    "lovasz": lovasz_loss,
    "boundary": boundary_loss,
    "hausdorff": hausdorff_loss,
}


def distance_transform(marked: Bool[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
    """The exact Euclidean distance of each pixel to the nearest marked one, in px; 0 everywhere
    where an image has none.

    Along the columns by two running sums, then along the rows the lower envelope of parabolas by
    trying them all (Felzenszwalb and Huttenlocher 2012, without their stack, so that it runs on any
    device).
    """
    height, width = marked.shape[-2:]
    far = float(height + width)
    rows = torch.arange(height, device=marked.device, dtype=torch.float32).view(-1, 1)
    above = rows - torch.where(marked, rows, -far).cummax(2).values
    below = torch.where(marked, rows, 2 * far).flip(2).cummin(2).values.flip(2) - rows
    column = torch.minimum(above, below).clamp(max=far) ** 2  # (b, k, h, w)
    position = torch.arange(width, device=marked.device, dtype=torch.float32)
    apart = (position.view(-1, 1) - position) ** 2  # (w, w)
    squared = torch.stack([(column + apart[x]).amin(3) for x in range(width)], dim=3)
    return squared.sqrt() * marked.flatten(2).any(2)[..., None, None]


def _overlap_loss(
    logits: Logits, target: Target, false_positives: float, false_negatives: float, power: float
) -> Float[Tensor, ""]:
    probabilities, truth, valid = _drawn(logits, target)
    together = (2, 3) if logits.shape[1] == 1 else (0, 2, 3)
    overlap, marked = (probabilities * truth).sum(together), truth.sum(together)
    drawn = (probabilities * valid).sum(together)
    wrong = false_positives * (drawn - overlap) + false_negatives * (marked - overlap)
    lost = 1 - (overlap + SMOOTHING_PX / 2) / (overlap + wrong + SMOOTHING_PX / 2)
    lost = lost.clamp(min=1e-6) ** power if power != 1 else lost
    if logits.shape[1] == 1:
        return lost.mean()
    present = marked > 0
    return (lost * present).sum() / present.sum().clamp(min=1)


def _drawn(logits: Logits, target: Target) -> tuple[Logits, Logits, Float[Tensor, "b 1 h w"]]:
    """Probabilities and truth of each drawn class, 0 where the truth is void, and 1 where it is
    not.
    """
    logits, valid = logits.float(), (target != VOID).unsqueeze(1).float()
    probabilities = logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)
    return probabilities * valid, _one_hot(target, logits.shape[1]) * valid, valid


def _per_pixel(logits: Logits, target: Target, smoothing: float) -> Float[Tensor, "b h w"]:
    """Cross-entropy of each pixel; of void pixels it is some finite number."""
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


def _mean_over_pixels(
    per_pixel: Float[Tensor, "b h w"], target: Target, weights: Weights
) -> Float[Tensor, ""]:
    counted = (target != VOID).float()
    if weights is not None:
        counted = counted * weights[target.masked_fill(target == VOID, 0).long()]
    return (per_pixel * counted).sum() / counted.sum().clamp(min=1e-6)


def _mean_over_drawn(
    values: Logits, truth: Logits, valid: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, ""]:
    """Mean over pixels that are not void, and over the classes that their image has or that are the
    only one.
    """
    present = truth.flatten(2).any(2).float()[..., None, None] * valid
    return (values * present).sum() / present.sum().clamp(min=1)


def _to_boundary(marked: Bool[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
    """Distance to the other side, from either."""
    return torch.where(marked, distance_transform(~marked), distance_transform(marked))


def _diagonal(target: Target) -> float:
    return float((target.shape[1] ** 2 + target.shape[2] ** 2) ** 0.5)


def _sorted_by(errors: Float[Tensor, "n p"], truth: Bool[Tensor, "n p"]) -> Float[Tensor, "n p"]:
    return truth.gather(1, errors.sort(1, descending=True).indices).float()


def _jaccard_steps(truth: Float[Tensor, "n p"]) -> Float[Tensor, "n p"]:
    """How much the Jaccard loss grows with each further wrong pixel, the pixels being in the order
    of their errors.
    """
    marked = truth.sum(1, keepdim=True)
    jaccard = 1 - (marked - truth.cumsum(1)) / (marked + (1 - truth).cumsum(1))
    return torch.diff(jaccard, dim=1, prepend=torch.zeros_like(marked))


def _one_hot(target: Target, logits: int) -> Logits:
    if logits == 1:
        return (target == 1).float().unsqueeze(1)
    classes = torch.arange(logits, device=target.device, dtype=torch.uint8).view(1, -1, 1, 1)
    return (target.unsqueeze(1) == classes).float()
