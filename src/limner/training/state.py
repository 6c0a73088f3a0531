"""The state of a training run: all that changes, and that a checkpoint holds."""

import copy
from dataclasses import dataclass, field
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor, nn

from limner.model.unet import UNet
from limner.recipe import TrainSettings
from limner.training.optim import base_weights, build_optimiser


@dataclass(slots=True)
class TrainState:
    """What changes in training. A checkpoint holds all of it but `best_weights`, a copy of the
    model file.
    """

    network: UNet
    ema: UNet
    """The network with the moving average of the weights, which is the model."""
    base: list[nn.Parameter]
    """The weights that a schedule-free optimiser moves, in the order of the network's parameters.
    The network's lie between these and their average. Empty for other schedules.
    """
    optimiser: torch.optim.Optimizer
    loss_sum: Float[Tensor, "2"]
    """Sum and count of the finite losses since the last validation."""
    epoch: int = 0
    """Complete epochs."""
    step: int = 0
    """Steps taken in this epoch."""
    progress: float = 0.0
    """Share of the schedule, 0..1."""
    lr_squares: float = 0.0
    """Sum of the squared learning rates of all steps: what the next one is weighed against."""
    updates: int = 0
    """Steps in all."""
    skipped: int = 0
    skipped_in_a_row: int = 0
    micro_batches: int = 1
    """Parts of a batch whose gradients are accumulated, where the memory does not hold it whole."""
    best_dice: float = -1.0
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)


SCALAR_FIELDS = (
    "epoch",
    "step",
    "progress",
    "lr_squares",
    "updates",
    "skipped",
    "skipped_in_a_row",
    "micro_batches",
    "best_dice",
    "best_epoch",
)
"""The fields of a state that are numbers."""


def initial_state(network: UNet, settings: TrainSettings) -> TrainState:
    """Move a network to the recipe's device, channels last, and give the state before step 0."""
    network.to(settings.device).to(memory_format=torch.channels_last)
    if settings.device == "cpu" and settings.precision == "bfloat16":
        _keep_depthwise_in_float32(network)
    base = base_weights(network, settings)
    return TrainState(
        network,
        copy.deepcopy(network).requires_grad_(False),
        base,
        build_optimiser(network, settings, base),
        torch.zeros(2, device=settings.device),
    )


def _keep_depthwise_in_float32(network: nn.Module) -> None:
    """In bfloat16 a processor's kernels for their gradients are up to ten times slower.

    Measured with torch 2.14.1 on a Xeon with amx_bf16: 144 channels of 32x32 px, 5x5, stride 2,
    batch 16: 34.7 ms, and 3.0 ms in float32.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            # mypy takes a class for a value that has no hash
            module.__class__ = _in_float32(type(module))  # type: ignore[arg-type]


@cache
def _in_float32(convolution: type[nn.Conv2d]) -> type[nn.Conv2d]:
    # mypy allows no base class that is a variable
    class Float32Conv2d(convolution):  # type: ignore[valid-type, misc]
        def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
            with torch.autocast("cpu", enabled=False):
                features: Tensor = super().forward(x.float())
            return features.to(x.dtype)

    return Float32Conv2d
