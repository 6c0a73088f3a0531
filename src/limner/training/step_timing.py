"""How long a training step takes on this machine, measured."""

import math
import time
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from limner.data.parallel import StageProgress, no_progress
from limner.losses import LOSSES
from limner.model.unet import UNet
from limner.recipe import Recipe
from limner.training.distillation import load_teacher
from limner.training.distributed import SINGLE_PROCESS
from limner.training.state import TrainState, initial_state
from limner.training.step import TrainStep

LATER_STEPS, LEARNING_RATE = 3, 1e-3
MEASURING = "measuring how fast this machine trains"
"""The stage as it is shown."""


@dataclass(frozen=True, slots=True)
class StepTiming:
    """Seconds of the first training step, and of a later one."""

    first_s: float
    """With torch.compile, the first step compiles."""
    later_s: float
    """The fastest of three, or of fewer where they take long."""


def time_step(
    recipe: Recipe,
    *,
    compiled: bool = False,
    limit_s: float = math.inf,
    progress: StageProgress = no_progress,
) -> StepTiming:
    """Take a few training steps on empty images, in the recipe's size, batch size and network.

    Args:
        recipe: Whose steps they are.
        compiled: Whether the network is compiled first.
        limit_s: Seconds after which no further step is begun, once there are two.
        progress: Shows how many steps were taken.

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
    for _ in progress(MEASURING)(range(1 + LATER_STEPS), 1 + LATER_STEPS):
        if len(seconds) < 2 or sum(seconds) < limit_s:
            seconds.append(_seconds_of_step(stepper, state, images, masks))
    return StepTiming(seconds[0], min(seconds[1:]))


def _seconds_of_step(
    stepper: TrainStep,
    state: TrainState,
    images: Float[Tensor, "b c h w"],
    masks: UInt8[Tensor, "b h w"],
) -> float:
    """Seconds of one step, in as many micro-batches as the memory asks for."""
    while True:
        start = time.perf_counter()
        try:
            # Reading the loss waits for the device
            float(stepper.step(images, masks, LEARNING_RATE)[0])
        except torch.OutOfMemoryError:
            # Training will use micro-batches too, and say so
            if state.micro_batches >= len(images):
                raise
            state.micro_batches *= 2
            stepper.prepare()
            continue
        return time.perf_counter() - start
