"""One training step: forward, loss, backward, update. What is not finite never reaches the
weights.
"""

import copy
import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cache, partial

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
from limner.training.distributed import DistributedContext, wrap_ddp
from limner.training.optim import build_optimiser

LossFunction = Callable[[Float[Tensor, "b k h w"], UInt8[Tensor, "b h w"]], Float[Tensor, ""]]


@dataclass(slots=True)
class TrainState:
    """All that changes while training; what a checkpoint holds."""

    network: UNet
    ema: UNet
    optimiser: torch.optim.Optimizer
    loss_sum: Float[Tensor, "2"]
    """The sum of the finite losses since the last validation, and how many they are."""
    epoch: int = 0
    step: int = 0
    progress: float = 0.0
    updates: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    parts: int = 1
    """A batch goes through the network in so many parts, where the memory does not hold it
    whole.
    """
    best_dice: float = -1.0
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)


POSITION = (
    "epoch",
    "step",
    "progress",
    "updates",
    "skipped",
    "skipped_in_a_row",
    "parts",
    "best_dice",
    "best_epoch",
)
"""The numbers of a state."""


def initial_state(network: UNet, settings: TrainSettings) -> TrainState:
    """The state before the first step, on the device, channels last."""
    network.to(settings.device).to(memory_format=torch.channels_last)
    if settings.device == "cpu" and settings.precision == "bfloat16":
        _spare_depthwise(network)
    return TrainState(
        network,
        copy.deepcopy(network).requires_grad_(False),
        build_optimiser(network, settings),
        torch.zeros(2, device=settings.device),
    )


class TrainStep:
    """Takes steps of a state; `compiled` runs the network through torch.compile."""

    def __init__(
        self,
        state: TrainState,
        loss_of: LossFunction,
        settings: TrainSettings,
        mine: DistributedContext,
        *,
        compiled: bool = False,
    ) -> None:
        self._state, self._loss_of, self._settings, self._ranks, self._compiled = (
            state,
            loss_of,
            settings,
            mine,
            compiled,
        )
        self._frozen = False
        self.prepare()

    def step(
        self, images: Float[Tensor, "b c h w"], masks: UInt8[Tensor, "b h w"], rate: float
    ) -> tuple[Float[Tensor, ""], Bool[Tensor, ""]]:
        """The loss, and whether it and its gradient were finite and the step was taken; both are
        left on the device.

        Raises torch.OutOfMemoryError where the batch does not fit; then nothing has changed.
        """
        state, settings = self._state, self._settings
        state.network.train()
        self._freeze()
        for group in state.optimiser.param_groups:
            group["lr"] = rate * group["share"]
        before = [buffer.clone() for buffer in state.network.buffers()]
        state.optimiser.zero_grad(set_to_none=True)
        try:
            loss = self._backward(images, masks)
            norm = nn.utils.clip_grad_norm_(state.network.parameters(), settings.max_grad_norm)
            finite = torch.isfinite(norm) & torch.isfinite(loss)
            # Fused Adam looks at it on the device, and takes no step where it is 1
            state.optimiser.found_inf = (~finite).float()  # type: ignore[attr-defined]
            state.optimiser.step()
        except torch.OutOfMemoryError:
            state.optimiser.zero_grad(set_to_none=True)
            _put_back(
                state.network,
                before,
                torch.zeros(
                    (), dtype=torch.bool, device=before[0].device if before else settings.device
                ),
            )
            raise
        _put_back(state.network, before, finite)
        state.updates += 1
        known = loss.isfinite()
        state.loss_sum += torch.stack([torch.where(known, loss, 0.0), known])
        _follow(state, settings.ema_decay)
        return loss, finite

    def _backward(
        self, images: Float[Tensor, "b c h w"], masks: UInt8[Tensor, "b h w"]
    ) -> Float[Tensor, ""]:
        """Gradients of the mean loss over the parts of the batch."""
        total = torch.zeros((), device=images.device)
        for some, truth in zip(
            images.chunk(self._state.parts), masks.chunk(self._state.parts), strict=True
        ):
            with autocast(self._settings):
                drawn = self._forward(some)
            # The coarser, the less
            shares = [2.0**-level for level in range(len(drawn))]
            whole = self._ranks.gather(truth) if self._ranks.world_size > 1 else truth
            parts = [
                share * self._loss_of(self._ranks.gather(logits.float()), whole)
                for share, logits in zip(shares, drawn, strict=True)
            ]
            loss = torch.stack(parts).sum() / sum(shares) * (len(some) / len(images))
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def _freeze(self) -> None:
        """Keep a pretrained encoder as it is for the first share of the schedule that the settings
        name.
        """
        encoder = self._state.network.encoder
        if not encoder.pretrained:
            return
        frozen = self._state.progress < self._settings.freeze_encoder
        encoder.requires_grad_(not frozen).train(not frozen)
        if frozen != self._frozen:
            self._frozen = frozen
            self.prepare()

    def prepare(self) -> None:
        """Make the network ready to be called; again where its parts or what is frozen of it has
        changed.
        """
        network = wrap_ddp(_Supervised(self._state.network), self._ranks, self._settings.device)
        self._forward: Callable[[Tensor], list[Tensor]] = (
            self._fast(network) if self._compiled else network
        )

    def _fast(self, network: nn.Module) -> Callable[[Tensor], list[Tensor]]:
        logging.getLogger("torch.utils.cpp_extension").setLevel(
            logging.ERROR
            # Which says that there is no GPU
        )
        torch.compiler.reset()
        graphs = (
            self._settings.device == "cuda" and self._state.parts == 1
            # Gradients cannot be summed up in a graph's memory
        )
        return torch.compile(network, mode="reduce-overhead" if graphs else None)


class _Supervised(nn.Module):
    """A network whose call gives the logits of all supervised levels."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b k h w"]]:
        return self.network.forward_supervised(images)


class FiniteFlags:
    """Whether each step was finite, learned without waiting for the device: on a GPU a few steps
    later.
    """

    def __init__(self) -> None:
        self._pending: deque[tuple[Bool[Tensor, ""], torch.cuda.Event | None, tuple[int, int]]] = (
            deque()
        )

    def add(self, finite: Bool[Tensor, ""], at: tuple[int, int]) -> None:
        """Remember a step (epoch, step)."""
        event = None
        if finite.is_cuda:
            host = torch.empty((), dtype=torch.bool, pin_memory=True)
            finite = host.copy_(finite, non_blocking=True)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
        self._pending.append((finite, event, at))

    def resolved(self, *, wait: bool = False) -> Iterator[tuple[bool, tuple[int, int]]]:
        """The steps of which it is known by now, in their order; with `wait`, all."""
        while self._pending:
            finite, event, at = self._pending[0]
            if event is not None and wait:
                event.synchronize()
            elif event is not None and not event.query():  # type: ignore[no-untyped-call]
                return
            self._pending.popleft()
            yield bool(finite), at


def build_loss(settings: TrainSettings, batches: BatchLoader, labels: Labels) -> LossFunction:
    """The recipe's loss, with the weights of the classes where it asks for them. Raises LimnerError
    where there are more or fewer than classes.
    """
    weights = None
    if settings.class_weights == "balanced":
        weights = class_weights(batches.class_pixels(len(labels.names)).tolist())
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


def build_normalise(
    preprocessing: Preprocessing, device: str
) -> Callable[[Float[Tensor, "b c h w"]], Float[Tensor, "b c2 h w"]]:
    """Images in 0..1 as the network sees them: standardised, and grey where the preprocessing has
    one channel.
    """
    mean = torch.tensor(preprocessing.mean, device=device).view(1, -1, 1, 1)
    std = torch.tensor(preprocessing.std, device=device).view(1, -1, 1, 1)
    grey = len(preprocessing.mean) == 1
    return lambda images: (
        ((images.mean(1, keepdim=True) if grey else images) - mean) / std
    ).contiguous(memory_format=torch.channels_last)


def seed_dropout(seed: int, epoch: int, step: int) -> None:
    """What a step draws on the device depends on its number alone, so that a resumed run draws the
    same.
    """
    torch.manual_seed(
        int(np.random.SeedSequence([seed, epoch, step, 1]).generate_state(1, np.uint32)[0])
    )


def autocast(settings: TrainSettings) -> AbstractContextManager[object]:
    """bfloat16 arithmetic where the recipe says so."""
    return (
        torch.autocast(settings.device, torch.bfloat16)
        if settings.precision == "bfloat16"
        else nullcontext()
    )


def _spare_depthwise(network: nn.Module) -> None:
    """Let depthwise convolutions compute in float32: in bfloat16 a processor's kernels for their
    gradients are up to ten times slower.

    Measured with torch 2.14.1 on a Xeon with amx_bf16: 144 channels of 32x32 px, 5x5, stride 2,
    batch 16: 34.7 ms, and 3.0 ms in float32.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            # A class can be hashed
            module.__class__ = _in_float32(type(module))  # type: ignore[arg-type]


@cache
def _in_float32(kind: type[nn.Conv2d]) -> type[nn.Conv2d]:
    class InFloat32(kind):  # type: ignore[valid-type, misc]
        def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
            with torch.autocast("cpu", enabled=False):
                made: Tensor = super().forward(x.float())
            return made.to(x.dtype)

    return InFloat32


@torch.no_grad()
def _put_back(network: nn.Module, before: list[Tensor], finite: Bool[Tensor, ""]) -> None:
    """Running statistics as they were, unless the step was finite."""
    for buffer, old in zip(network.buffers(), before, strict=True):
        buffer.copy_(torch.where(finite, buffer, old))


@torch.no_grad()
def _follow(state: TrainState, decay: float) -> None:
    """Move the averaged weights towards the network's, quickly at first."""
    weight = 1 - min(decay, (1 + state.updates) / (10 + state.updates)) if decay else 1.0
    torch._foreach_lerp_(list(state.ema.parameters()), list(state.network.parameters()), weight)
    for mean, value in zip(state.ema.buffers(), state.network.buffers(), strict=True):
        mean.lerp_(value, weight) if mean.is_floating_point() else mean.copy_(value)
