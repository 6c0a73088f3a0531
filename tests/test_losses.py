import pytest
import torch

from limner.labels import VOID
from limner.losses import LOSSES, class_weights, cross_entropy_loss


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [1, 3])
def test_a_right_and_sure_prediction_costs_almost_nothing(name: str, classes: int) -> None:
    target = torch.randint(0, max(classes, 2), (2, 8, 8), dtype=torch.uint8)
    logits = 40 * (target.unsqueeze(1) == (torch.arange(classes).view(1, -1, 1, 1) if classes > 1 else torch.tensor(1))).float() - 20
    assert LOSSES[name](logits, target) < 1e-3
    assert LOSSES[name](-logits, target) > 0.5


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [1, 3])
def test_void_pixels_have_no_gradient(name: str, classes: int) -> None:
    target = torch.randint(0, max(classes, 2), (1, 6, 6), dtype=torch.uint8)
    target[0, :3] = VOID
    logits = torch.randn(1, classes, 6, 6, requires_grad=True)
    LOSSES[name](logits, target).backward()
    assert logits.grad is not None
    assert (logits.grad[:, :, :3] == 0).all()
    assert (logits.grad[:, :, 3:] != 0).any()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("scale", [100.0, -100.0])
def test_extreme_logits_and_empty_masks_stay_finite(name: str, scale: float) -> None:
    logits = torch.full((1, 1, 4, 4), scale, requires_grad=True)
    loss = LOSSES[name](logits, torch.zeros(1, 4, 4, dtype=torch.uint8))
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None and torch.isfinite(logits.grad).all()


def test_dice_loss_equals_a_reference_in_float64() -> None:
    logits, target = torch.randn(3, 1, 5, 5, dtype=torch.float64), torch.randint(0, 2, (3, 5, 5), dtype=torch.uint8)
    p, y = 1 / (1 + torch.exp(-logits[:, 0])), target.double()
    expected = sum(1 - (2 * (p[i] * y[i]).sum() + 1) / (p[i].sum() + y[i].sum() + 1) for i in range(3)) / 3
    torch.testing.assert_close(LOSSES["dice"](logits.float(), target).double(), torch.as_tensor(expected), atol=1e-6, rtol=1e-6)


def test_a_class_that_the_batch_lacks_costs_no_dice() -> None:
    target = torch.randint(0, 2, (2, 8, 8), dtype=torch.uint8)
    logits = 40 * (target.unsqueeze(1) == torch.arange(3).view(1, -1, 1, 1)).float() - 20
    logits[:, 2] = 0  # one more class, in no mask
    assert LOSSES["dice"](logits, target) < 1e-3


def test_class_weights_grow_with_how_rare_a_class_is_and_have_mean_one_over_the_pixels() -> None:
    weights = class_weights([900, 100, 0])
    assert weights[1] / weights[0] == pytest.approx(9**0.75)
    assert 0.9 * weights[0] + 0.1 * weights[1] == pytest.approx(1)
    assert weights[2] == 0


def test_weighted_cross_entropy_is_the_weighted_mean_and_ignores_void_pixels() -> None:
    logits = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([[[0, 1], [2, 255]]], dtype=torch.uint8)
    weights = torch.tensor([1.0, 2.0, 4.0])
    expected = torch.nn.functional.cross_entropy(logits.double(), target.long(), weights.double(), ignore_index=255)
    torch.testing.assert_close(cross_entropy_loss(logits, target, weights).double(), expected, atol=1e-6, rtol=1e-6)
