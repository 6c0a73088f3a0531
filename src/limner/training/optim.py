"""Optimiser and learning-rate schedule."""

import math

import torch

from limner.model.unet import UNet
from limner.recipe import TrainSettings


def build_optimiser(network: UNet, settings: TrainSettings) -> torch.optim.Optimizer:
    """Adam (arXiv:1412.6980) or AdamW (arXiv:1711.05101), fused; norms and biases do not decay.

    Each group has a `share` of the learning rate, which a pretrained encoder's is lower than 1.
    """
    decay = settings.weight_decay if settings.optimiser == "adamw" else 0.0
    pretrained = set(network.encoder.parameters()) if network.encoder.pretrained else set()
    groups = []
    for share, members in (
        (settings.encoder_lr_factor, pretrained),
        (1.0, set(network.parameters()) - pretrained),
    ):
        ordered = [parameter for parameter in network.parameters() if parameter in members]
        groups.append(
            {"params": [p for p in ordered if p.ndim > 1], "weight_decay": decay, "share": share}
        )
        groups.append(
            {"params": [p for p in ordered if p.ndim <= 1], "weight_decay": 0.0, "share": share}
        )
    kind = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
    return kind(
        [group for group in groups if group["params"]], lr=settings.learning_rate, fused=True
    )


def learning_rate(progress: float, settings: TrainSettings) -> float:
    """The rate at a share of the schedule, 0..1: a straight rise over the warm-up, then the
    decay.
    """
    if progress < settings.warmup:
        return settings.learning_rate * max(progress / settings.warmup, 0.01)
    fallen = min((progress - settings.warmup) / max(1 - settings.warmup, 1e-9), 1.0)
    factors = {
        "cosine": 0.5 * (1 + math.cos(math.pi * fallen)),
        "polynomial": (1 - fallen) ** 0.9,
        "step": 0.1 ** int(fallen * 3),
        "none": 1.0,
    }
    return settings.learning_rate * max(factors[settings.lr_schedule], 1e-3)
