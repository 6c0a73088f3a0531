"""Optimiser and learning-rate schedule."""

import math

import torch

from limner.model.unet import UNet
from limner.recipe import TrainSettings

WARMUP_FLOOR, LR_FLOOR = 0.01, 1e-3
"""Lowest learning rate during and after the warm-up, as a share of the highest."""


def build_optimiser(network: UNet, settings: TrainSettings) -> torch.optim.Optimizer:
    """Make Adam (arXiv:1412.6980) or AdamW (arXiv:1711.05101), fused.

    Normalisation parameters and biases have no weight decay. Each parameter group has an
    `lr_scale`, its share of the learning rate: that of a pretrained encoder is below 1.
    """
    weight_decay = settings.weight_decay if settings.optimiser == "adamw" else 0.0
    encoder = set(network.encoder.parameters()) if network.encoder.pretrained else set()
    others = set(network.parameters()) - encoder
    groups = []
    for lr_scale, members in ((settings.encoder_lr_factor, encoder), (1.0, others)):
        parameters = [parameter for parameter in network.parameters() if parameter in members]
        weights = [parameter for parameter in parameters if parameter.ndim > 1]
        norms_and_biases = [parameter for parameter in parameters if parameter.ndim <= 1]
        for params, decay in ((weights, weight_decay), (norms_and_biases, 0.0)):
            if params:
                groups.append({"params": params, "weight_decay": decay, "lr_scale": lr_scale})
    optimiser = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
    return optimiser(groups, lr=settings.learning_rate, fused=True)


def learning_rate(progress: float, settings: TrainSettings) -> float:
    """Give the learning rate at a share of the schedule, 0..1.

    It rises in a straight line over the warm-up, then decays as `lr_schedule` says.
    """
    if progress < settings.warmup:
        return settings.learning_rate * max(progress / settings.warmup, WARMUP_FLOOR)
    decay = min((progress - settings.warmup) / max(1 - settings.warmup, 1e-9), 1.0)
    factors = {
        "cosine": 0.5 * (1 + math.cos(math.pi * decay)),
        "polynomial": (1 - decay) ** 0.9,
        "step": 0.1 ** int(decay * 3),
        "none": 1.0,
    }
    return settings.learning_rate * max(factors[settings.lr_schedule], LR_FLOOR)
