"""One training step: forward, loss, backward, update. Only finite gradients reach the weights."""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from limner.data.loader import BatchLoader
from limner.data.preprocess import Preprocessing
from limner.errors import LimnerError
from limner.labels import Labels
from limner.losses import LOSSES, class_weights
from limner.model.unet import UNet
from limner.recipe import TrainSettings
from limner.training.distillation import TEACHER_WEIGHT, Teacher, distillation_loss
from limner.training.distributed import DistributedContext, wrap_ddp
from limner.training.optim import INTERPOLATION
from limner.training.state import TrainState

LossFunction = Callable[[Float[Tensor, "b k h w"], UInt8[Tensor, "b h w"]], Float[Tensor, ""]]
Normalise = Callable[[Float[Tensor, "b c h w"]], Float[Tensor, "b c2 h w"]]


class TrainStep:
    """Take training steps of a state.

    Args:
        state: What is trained.
        loss_function: Takes logits (b, k, h, w) and class indices (b, h, w).
        settings: Device, precision, clipping and decay of the moving average.
        distributed: The processes that share each batch.
        teacher: Its predictions are learned beside the masks, if there is one.
        compiled: Whether the network runs through torch.compile.
    """

    def __init__(
        self,
        state: TrainState,
        loss_function: LossFunction,
        settings: TrainSettings,
        distributed: DistributedContext,
        *,
        teacher: Teacher | None = None,
        compiled: bool = False,
    ) -> None:
        self._state, self._settings, self._teacher = state, settings, teacher
        self._loss_function, self._distributed = loss_function, distributed
        self._compiled, self._encoder_frozen = compiled, False
        self.prepare()

    def step(
        self, images: Float[Tensor, "b c h w"], masks: UInt8[Tensor, "b h w"], learning_rate: float
    ) -> tuple[Float[Tensor, ""], Bool[Tensor, ""]]:
        """Take a step, unless the loss or its gradient is not finite.

        Returns the loss and whether the step was taken; both stay on the device. Raises
        torch.OutOfMemoryError where the batch does not fit; then nothing has changed.
        """
        state, settings = self._state, self._settings
        state.network.train()
        self._freeze_encoder()
        for group in state.optimiser.param_groups:
            group["lr"] = learning_rate * group["lr_scale"]
        buffers = [buffer.clone() for buffer in state.network.buffers()]
        state.network.zero_grad(set_to_none=True)
        try:
            loss = self._backward(images, masks)
            _hand_over_gradients(state)
            norm = nn.utils.clip_grad_norm_(state.network.parameters(), settings.max_grad_norm)
            finite = torch.isfinite(norm) & torch.isfinite(loss)
            # Fused Adam reads it on the device, and takes no step where it is 1. torch declares it
            # for no optimiser
            state.optimiser.found_inf = (~finite).float()  # type: ignore[attr-defined]
            state.optimiser.step()
        except torch.OutOfMemoryError:
            state.network.zero_grad(set_to_none=True)
            _restore_buffers(state.network, buffers)
            raise
        _restore_buffers_unless(finite, state.network, buffers)
        state.updates += 1
        loss_finite = loss.isfinite()
        state.loss_sum += torch.stack([torch.where(loss_finite, loss, 0.0), loss_finite])
        if state.base:
            _average_free(state, learning_rate)
        else:
            _update_ema(state, settings.ema_decay)
        return loss, finite

    def prepare(self) -> None:
        """Wrap the network for its calls; again after its micro-batches or frozen parts changed."""
        network = wrap_ddp(
            _Supervised(self._state.network), self._distributed, self._settings.device
        )
        self._forward: Callable[[Tensor], list[Tensor]] = (
            self._compile(network) if self._compiled else network
        )

    def _backward(
        self, images: Float[Tensor, "b c h w"], masks: UInt8[Tensor, "b h w"]
    ) -> Float[Tensor, ""]:
        """Accumulate the gradients of the mean loss over the micro-batches."""
        total = torch.zeros((), device=images.device)
        micro_batches = self._state.micro_batches
        for micro_images, micro_masks in zip(
            images.chunk(micro_batches), masks.chunk(micro_batches), strict=True
        ):
            with autocast(self._settings):
                levels = self._forward(micro_images)
            loss = self._supervised_loss(levels, micro_masks)
            if self._teacher is not None:
                taught = self._taught_loss(levels[0], micro_images, micro_masks)
                loss = (1 - TEACHER_WEIGHT) * loss + TEACHER_WEIGHT * taught
            loss = loss * (len(micro_images) / len(images))
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def _supervised_loss(
        self, levels: list[Float[Tensor, "b k h w"]], masks: UInt8[Tensor, "b h w"]
    ) -> Float[Tensor, ""]:
        """The mean over the supervised levels; each counts half of the next finer one."""
        weights = [2.0**-level for level in range(len(levels))]
        distributed = self._distributed
        all_masks = distributed.gather(masks) if distributed.world_size > 1 else masks
        losses = [
            weight * self._loss_function(distributed.gather(logits.float()), all_masks)
            for weight, logits in zip(weights, levels, strict=True)
        ]
        return torch.stack(losses).sum() / sum(weights)

    def _taught_loss(
        self,
        logits: Float[Tensor, "b k h w"],
        images: Float[Tensor, "b c h w"],
        masks: UInt8[Tensor, "b h w"],
    ) -> Float[Tensor, ""]:
        assert self._teacher is not None
        with torch.no_grad(), autocast(self._settings):
            teacher_logits = self._teacher(images)
        gather = self._distributed.gather
        return distillation_loss(gather(logits.float()), gather(teacher_logits), gather(masks))

    def _freeze_encoder(self) -> None:
        """Freeze a pretrained encoder for the first share of the schedule that the settings set."""
        encoder = self._state.network.encoder
        if not encoder.pretrained:
            return
        frozen = self._state.progress < self._settings.freeze_encoder
        encoder.requires_grad_(not frozen).train(not frozen)
        if frozen != self._encoder_frozen:
            self._encoder_frozen = frozen
            self.prepare()

    def _compile(self, network: nn.Module) -> Callable[[Tensor], list[Tensor]]:
        # It warns that there is no GPU
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
        torch.compiler.reset()
        # Gradients cannot be accumulated in the memory of a CUDA graph
        cuda_graphs = self._settings.device == "cuda" and self._state.micro_batches == 1
        return torch.compile(network, mode="reduce-overhead" if cuda_graphs else None)


class _Supervised(nn.Module):
    """A network whose call gives the logits of all supervised levels."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b k h w"]]:
        return self.network.forward_supervised(images)


class FiniteFlags:
    """Tell whether each step was finite without waiting for the device.

    On a GPU the answer comes a few steps later.
    """

    def __init__(self) -> None:
        self._pending: deque[tuple[Bool[Tensor, ""], torch.cuda.Event | None, tuple[int, int]]] = (
            deque()
        )

    def add(self, finite: Bool[Tensor, ""], position: tuple[int, int]) -> None:
        """Remember the step at a position (epoch, step)."""
        event = None
        if finite.is_cuda:
            host = torch.empty((), dtype=torch.bool, pin_memory=True)
            finite = host.copy_(finite, non_blocking=True)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
        self._pending.append((finite, event, position))

    def resolved(self, *, wait: bool = False) -> Iterator[tuple[bool, tuple[int, int]]]:
        """Give the steps whose flag has arrived, in their order; with `wait`, all of them."""
        while self._pending:
            finite, event, position = self._pending[0]
            if event is not None and wait:
                event.synchronize()
            elif event is not None and not event.query():  # type: ignore[no-untyped-call]
                return
            self._pending.popleft()
            yield bool(finite), position


def build_loss(settings: TrainSettings, loader: BatchLoader, labels: Labels) -> LossFunction:
    """Make the recipe's loss, with the weights of the classes where it asks for them.

    Raises LimnerError where there are more or fewer weights than classes.
    """
    weights = None
    if settings.class_weights == "balanced":
        weights = class_weights(loader.class_pixels(len(labels.names)).tolist())
    elif settings.class_weights != "none":
        weights = torch.tensor(settings.class_weights)
        if len(weights) != len(labels.names):
            raise LimnerError(
                f"train.class_weights has {len(weights)} numbers for {len(labels.names)} "
                f"classes: {', '.join(labels.names)}. Give one for each."
            )
    return partial(
        LOSSES[settings.loss],
        weights=None if weights is None else weights.to(settings.device),
        smoothing=settings.label_smoothing,
    )


def build_normalise(preprocessing: Preprocessing, device: str) -> Normalise:
    """Make the function from images in 0..1 to what the network sees.

    They are standardised, and grey where the preprocessing has one channel.
    """
    mean = torch.tensor(preprocessing.mean, device=device).view(1, -1, 1, 1)
    std = torch.tensor(preprocessing.std, device=device).view(1, -1, 1, 1)
    grey = len(preprocessing.mean) == 1
    return lambda images: (
        ((images.mean(1, keepdim=True) if grey else images) - mean) / std
    ).contiguous(memory_format=torch.channels_last)


def seed_dropout(seed: int, epoch: int, step: int) -> None:
    """Seed the device's random generator, which dropout draws from, by a step's number.

    So a resumed run draws the same.
    """
    sequence = np.random.SeedSequence([seed, epoch, step, 1])
    torch.manual_seed(int(sequence.generate_state(1, np.uint32)[0]))


def autocast(settings: TrainSettings) -> AbstractContextManager[object]:
    """Compute in bfloat16 where the recipe says so."""
    if settings.precision == "bfloat16":
        return torch.autocast(settings.device, torch.bfloat16)
    return nullcontext()


@torch.no_grad()
def _restore_buffers(network: nn.Module, buffers: list[Tensor]) -> None:
    for buffer, saved in zip(network.buffers(), buffers, strict=True):
        buffer.copy_(saved)


@torch.no_grad()
def _restore_buffers_unless(
    finite: Bool[Tensor, ""], network: nn.Module, buffers: list[Tensor]
) -> None:
    """Decided on the device, so that nothing waits for it."""
    for buffer, saved in zip(network.buffers(), buffers, strict=True):
        buffer.copy_(torch.where(finite, buffer, saved))


def _hand_over_gradients(state: TrainState) -> None:
    """Give the gradients at the network's weights to those that the optimiser moves."""
    for base, value in zip(state.base, state.network.parameters(), strict=bool(state.base)):
        base.grad = value.grad


@torch.no_grad()
def _average_free(state: TrainState, learning_rate: float) -> None:
    """Move the average towards the weights that the optimiser has moved, and the network between.

    Each step weighs as its squared learning rate does (arXiv:2405.15682, appendix A).
    """
    average, network, base = (
        [value.detach() for value in values]
        for values in (state.ema.parameters(), state.network.parameters(), state.base)
    )
    state.lr_squares += learning_rate**2
    torch._foreach_lerp_(average, base, learning_rate**2 / state.lr_squares)
    torch._foreach_copy_(network, base)
    torch._foreach_lerp_(network, average, INTERPOLATION)
    for kept, value in zip(state.ema.buffers(), state.network.buffers(), strict=True):
        kept.copy_(value)


@torch.no_grad()
def _update_ema(state: TrainState, decay: float) -> None:
    """Move the averaged weights towards the network's; the first updates weigh more."""
    weight = 1 - min(decay, (1 + state.updates) / (10 + state.updates)) if decay else 1.0
    torch._foreach_lerp_(list(state.ema.parameters()), list(state.network.parameters()), weight)
    for average, value in zip(state.ema.buffers(), state.network.buffers(), strict=True):
        average.lerp_(value, weight) if average.is_floating_point() else average.copy_(value)
