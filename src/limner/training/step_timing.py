"""How long a training step takes on this machine, measured."""

import time
from dataclasses import dataclass

import torch

from limner.losses import LOSSES
from limner.model.unet import UNet
from limner.recipe import Recipe
from limner.training.distillation import load_teacher
from limner.training.distributed import SINGLE_PROCESS
from limner.training.state import initial_state
from limner.training.step import TrainStep

LATER_STEPS = 3


@dataclass(frozen=True, slots=True)
class StepTiming:
    """Seconds of the first training step, and of a later one."""

    first_s: float
    """With torch.compile, the first step compiles."""
    later_s: float
    """The fastest of three."""


def time_step(recipe: Recipe, *, compiled: bool = False) -> StepTiming:
    """Take a few training steps on empty images, in the recipe's size, batch size and network.

    Raises torch.OutOfMemoryError where even a single image does not fit.
    """
    settings = recipe.train
    state = initial_state(UNet.from_settings(recipe.model, recipe.data.channels, 1), settings)
    shape = settings.batch_size, recipe.data.channels, *recipe.data.size_px
    images = torch.zeros(shape, device=settings.device).contiguous(
        memory_format=torch.channels_last
    )
    masks = torch.zeros((shape[0], *recipe.data.size_px), dtype=torch.uint8, device=settings.device)
    stepper = TrainStep(
        state,
        LOSSES[settings.loss],
        settings,
        SINGLE_PROCESS,
        teacher=load_teacher(recipe),
        compiled=compiled,
    )
    seconds: list[float] = []
    while len(seconds) < 1 + LATER_STEPS:
        start = time.perf_counter()
        try:
            # Reading the loss waits for the device
            float(stepper.step(images, masks, settings.learning_rate)[0])
        except torch.OutOfMemoryError:
            # Training will use micro-batches too, and say so
            if state.micro_batches >= len(images):
                raise
            state.micro_batches *= 2
            stepper.prepare()
            continue
        seconds.append(time.perf_counter() - start)
    return StepTiming(seconds[0], min(seconds[1:]))
