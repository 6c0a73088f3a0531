"""Each loss against a reference written from its formula, pixel by pixel, in NumPy's float64."""

import math
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limner.labels import VOID
from limner.losses import LOSSES, class_weights, distance_transform
from limner.recipe import LossName

Reference = Callable[[np.ndarray, np.ndarray, np.ndarray | None], float]


def probabilities(logits: np.ndarray) -> np.ndarray:
    """(b, k, h, w) with k 2 or more, whatever the number of logits."""
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def tversky(
    logits: np.ndarray, target: np.ndarray, alpha: float, beta: float, power: float
) -> float:
    p, binary = probabilities(logits), logits.shape[1] == 1
    groups = [[i] for i in range(len(p))] if binary else [list(range(len(p)))]
    losses = []
    for k in [1] if binary else range(p.shape[1]):
        for group in groups:
            tp = fp = fn = 0.0
            for b in group:
                for probability, truth in zip(p[b, k].ravel(), target[b].ravel(), strict=True):
                    if truth == VOID:
                        continue
                    tp += probability * (truth == k)
                    fp += probability * (truth != k)
                    fn += (1 - probability) * (truth == k)
            if binary or tp + fn > 0:
                losses.append((1 - (tp + 0.5) / (tp + alpha * fp + beta * fn + 0.5)) ** power)
    return float(np.mean(losses))


def mean_over_pixels(
    logits: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray | None,
    cost: Callable[[float], float],
) -> float:
    p, total, total_weight = probabilities(logits), 0.0, 0.0
    for b, y, x in np.argwhere(target != VOID):
        weight = 1.0 if weights is None else weights[target[b, y, x]]
        total += weight * cost(p[b, target[b, y, x], y, x])
        total_weight += weight
    return total / total_weight


def lovasz(logits: np.ndarray, target: np.ndarray, _weights: np.ndarray | None) -> float:
    def extension(errors: list[float], truth: list[bool]) -> float:
        order = sorted(range(len(errors)), key=lambda i: -errors[i])
        loss, previous, positives = 0.0, 0.0, sum(truth)
        for n in range(1, len(order) + 1):
            wrong = set(order[:n])
            missed, added = sum(truth[i] for i in wrong), sum(not truth[i] for i in wrong)
            jaccard_loss = 1 - (positives - missed) / (positives + added)
            loss += errors[order[n - 1]] * (jaccard_loss - previous)
            previous = jaccard_loss
        return loss

    if logits.shape[1] == 1:
        images = []
        for logit, truth in zip(logits[:, 0], target, strict=True):
            valid = truth != VOID
            hinges = [
                max(0.0, 1 - z * (1 if t == 1 else -1))
                for z, t in zip(logit[valid], truth[valid], strict=True)
            ]
            images.append(extension(hinges, list(truth[valid] == 1)))
        return float(np.mean(images))
    p, valid = probabilities(logits), target != VOID
    classes = []
    for k in range(p.shape[1]):
        truth = target[valid] == k
        if truth.any():
            classes.append(extension(list(np.abs(truth - p[:, k][valid])), list(truth)))
    return float(np.mean(classes))


def distances(mask: np.ndarray) -> np.ndarray:
    """Distances to the nearest pixel of a mask by trying every pair; 0 where it is empty."""
    pixels = np.argwhere(mask)
    if not len(pixels):
        return np.zeros(mask.shape)
    return np.array(
        [
            [min(math.hypot(y - a, x - b) for a, b in pixels) for x in range(mask.shape[1])]
            for y in range(mask.shape[0])
        ]
    )


def mean_over_present_classes(
    logits: np.ndarray, target: np.ndarray, cost: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> float:
    """The mean of a cost over the classes that each image has and the pixels that are not void."""
    p = probabilities(logits)
    values = []
    for b in range(len(p)):
        for k in [1] if logits.shape[1] == 1 else range(p.shape[1]):
            truth, valid = target[b] == k, target[b] != VOID
            if truth.any():
                values += list(cost(np.where(valid, p[b, k], 0), truth)[valid])
    return float(np.mean(values)) if values else 0.0


def boundary(logits: np.ndarray, target: np.ndarray, _weights: np.ndarray | None) -> float:
    diagonal = math.hypot(*target.shape[1:])
    return tversky(logits, target, 0.5, 0.5, 1) + mean_over_present_classes(
        logits,
        target,
        lambda p, truth: p * np.where(truth, -distances(~truth), distances(truth)) / diagonal,
    )


def hausdorff(logits: np.ndarray, target: np.ndarray, _weights: np.ndarray | None) -> float:
    def cost(p: np.ndarray, truth: np.ndarray) -> np.ndarray:
        squared_distances = [
            np.where(mask, distances(~mask), distances(mask)) ** 2 for mask in (truth, p >= 0.5)
        ]
        squared_diagonal = truth.shape[0] ** 2 + truth.shape[1] ** 2
        return (p - truth) ** 2 * sum(squared_distances) / squared_diagonal

    return tversky(logits, target, 0.5, 0.5, 1) + mean_over_present_classes(logits, target, cost)


def dice(logits: np.ndarray, target: np.ndarray, _weights: np.ndarray | None) -> float:
    return tversky(logits, target, 0.5, 0.5, 1)


def cross_entropy(logits: np.ndarray, target: np.ndarray, weights: np.ndarray | None) -> float:
    return mean_over_pixels(logits, target, weights, lambda p: -math.log(p))


def focal(logits: np.ndarray, target: np.ndarray, weights: np.ndarray | None) -> float:
    return mean_over_pixels(logits, target, weights, lambda p: -((1 - p) ** 2) * math.log(p))


REFERENCES: dict[str, Reference] = {
    "dice": dice,
    "cross-entropy": cross_entropy,
    "dice+cross-entropy": lambda *batch: dice(*batch) + cross_entropy(*batch),
    "focal": focal,
    "dice+focal": lambda *batch: dice(*batch) + focal(*batch),
    "tversky": lambda logits, target, _: tversky(logits, target, 0.3, 0.7, 1),
    "focal-tversky": lambda logits, target, _: tversky(logits, target, 0.3, 0.7, 0.75),
    "lovasz": lovasz,
    "boundary": boundary,
    "hausdorff": hausdorff,
}


def some_target(seed: int, classes: int, height: int = 5, width: int = 6) -> torch.Tensor:
    return torch.randint(
        0,
        max(classes, 2),
        (2, height, width),
        dtype=torch.uint8,
        generator=torch.Generator().manual_seed(seed),
    )


def test_every_loss_has_a_reference() -> None:
    assert REFERENCES.keys() == LOSSES.keys()


def test_a_recipe_takes_every_loss_by_its_name() -> None:
    assert get_args(LossName) == tuple(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [1, 2, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_equals_its_reference_with_void_pixels_and_weights(
    name: str, classes: int, weighted: bool
) -> None:
    for seed in range(4):
        logits = 3 * torch.randn(2, classes, 5, 6, generator=torch.Generator().manual_seed(seed))
        target = some_target(seed + 10, classes)
        target[0, 1:3] = VOID
        if seed == 1:
            # An empty mask
            target[1] = 0
        if seed == 2:
            # A full one
            target[1] = 1
        weights = (
            torch.rand(max(classes, 2), generator=torch.Generator().manual_seed(seed)) + 0.1
            if weighted
            else None
        )
        expected = REFERENCES[name](
            logits.double().numpy(),
            target.numpy(),
            None if weights is None else weights.double().numpy(),
        )
        assert float(LOSSES[name](logits, target, weights)) == pytest.approx(
            expected, rel=2e-5, abs=2e-6
        )


@pytest.mark.parametrize("name", ["cross-entropy", "dice+cross-entropy"])
@pytest.mark.parametrize("classes", [1, 3])
def test_smoothed_labels_spread_a_share_over_all_classes(name: str, classes: int) -> None:
    logits, target = (
        torch.randn(2, classes, 5, 6, generator=torch.Generator().manual_seed(0)),
        some_target(1, classes),
    )
    p = probabilities(logits.double().numpy())
    spread = -np.log(p).mean(1).mean()
    plain = float(LOSSES["cross-entropy"](logits, target))
    rest = float(LOSSES[name](logits, target)) - plain
    assert float(LOSSES[name](logits, target, smoothing=0.2)) == pytest.approx(
        0.8 * plain + 0.2 * spread + rest, rel=1e-5
    )


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [1, 3])
def test_a_right_and_sure_prediction_costs_almost_nothing(name: str, classes: int) -> None:
    target = some_target(0, classes, 8, 8)
    logits = (
        40
        * (
            target.unsqueeze(1)
            == (torch.arange(classes).view(1, -1, 1, 1) if classes > 1 else torch.tensor(1))
        ).float()
        - 20
    )
    assert LOSSES[name](logits, target) < 1e-3
    assert LOSSES[name](-logits, target) > 0.5


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [1, 3])
def test_void_pixels_have_no_gradient(name: str, classes: int) -> None:
    target = some_target(0, classes, 6, 6)
    target[:, :3] = VOID
    logits = torch.randn(2, classes, 6, 6, requires_grad=True)
    LOSSES[name](logits, target).backward()
    assert logits.grad is not None
    assert (logits.grad[:, :, :3] == 0).all()
    assert (logits.grad[:, :, 3:] != 0).any()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("value", [0, 1, VOID])
@pytest.mark.parametrize("scale", [100.0, -100.0])
def test_extreme_logits_and_empty_full_and_void_masks_stay_finite(
    name: str, classes: int, value: int, scale: float
) -> None:
    logits = torch.full((1, classes, 4, 4), scale)
    logits[:, 0] *= -1
    logits.requires_grad_()
    loss = LOSSES[name](
        logits, torch.full((1, 4, 4), value, dtype=torch.uint8), torch.ones(max(classes, 2))
    )
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [1, 3])
def test_bfloat16_logits_cost_what_they_do_as_float32(name: str, classes: int) -> None:
    logits = (
        (10 * torch.randn(2, classes, 8, 8, generator=torch.Generator().manual_seed(0)))
        .bfloat16()
        .requires_grad_()
    )
    target = some_target(3, classes, 8, 8)
    loss = LOSSES[name](logits, target)
    loss.backward()
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == float(LOSSES[name](logits.detach().float(), target))
    assert logits.grad is not None and torch.isfinite(logits.grad.float()).all()


@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**16), st.sampled_from([0.05, 0.3, 0.9])
)
def test_distances_are_exact(height: int, width: int, seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    np.testing.assert_allclose(
        distance_transform(torch.from_numpy(mask)[None, None])[0, 0].numpy(),
        distances(mask),
        rtol=1e-6,
    )


def test_a_class_that_the_batch_lacks_costs_no_dice() -> None:
    target = some_target(0, 2, 8, 8)
    logits = 40 * (target.unsqueeze(1) == torch.arange(3).view(1, -1, 1, 1)).float() - 20
    # One more class, in no mask
    logits[:, 2] = 0
    assert LOSSES["dice"](logits, target) < 1e-3


def test_class_weights_grow_with_how_rare_a_class_is_and_have_mean_one_over_the_pixels() -> None:
    weights = class_weights([900, 100, 0])
    assert weights[1] / weights[0] == pytest.approx(9**0.75)
    assert 0.9 * weights[0] + 0.1 * weights[1] == pytest.approx(1)
    assert weights[2] == 0
