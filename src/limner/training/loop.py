"""fit: the training loop, a generator of events."""

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor, nn

from limner.data.batches import Batches
from limner.data.cache import Standardised
from limner.data.preprocess import Preprocessing
from limner.errors import LimnerError
from limner.inference.predictor import to_class_index, to_probabilities
from limner.labels import Labels
from limner.losses import LOSSES, Loss, class_weights
from limner.metrics import confusion, dice
from limner.recipe import Recipe, TrainSettings
from limner.training.optim import learning_rate, optimiser


@dataclass(frozen=True, slots=True)
class Step:
    """One step has been taken; the loss is still on the device, so that looking at it is the reader's choice."""

    epoch: int
    step: int
    steps: int
    progress: float
    learning_rate: float
    images: int
    loss: Float[Tensor, ""]


@dataclass(frozen=True, slots=True)
class Validation:
    """An epoch has ended and the averaged weights were scored at the working size."""

    epoch: int
    loss: float | None
    mean_dice: float
    best: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Stopped:
    """Training has ended by itself, and why."""

    reason: str


Event = Step | Validation | Stopped


@dataclass(slots=True)
class State:
    """All that changes while training; what a checkpoint holds."""

    network: nn.Module
    average: nn.Module
    optimiser: torch.optim.Optimizer
    epoch: int = 0
    step: int = 0
    progress: float = 0.0
    updates: int = 0
    best_dice: float = -1.0
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)


def begin(network: nn.Module, settings: TrainSettings) -> State:
    """The state before the first step, on the device, channels last."""
    network.to(settings.device).to(memory_format=torch.channels_last)
    return State(network, copy.deepcopy(network).requires_grad_(False), optimiser(network, settings))


def fit(
    state: State,
    batches: Batches,
    validation: Standardised,
    preprocessing: Preprocessing,
    labels: Labels,
    recipe: Recipe,
    seconds_left: Callable[[], float] | None = None,
) -> Iterator[Event]:
    """Train from `state` on until the schedule ends, patience runs out or time is up; the caller may stop between events.

    `seconds_left` tells how much of the time budget remains; the schedule then follows the clock instead of the epochs.
    """
    settings = recipe.train
    standardise = _standardiser(preprocessing, settings.device)
    loss = _loss(settings, batches, labels)
    clock = None if seconds_left is None else _Clock(seconds_left, state.progress)
    while True:
        if reason := _finished(state, settings, clock is not None):
            yield Stopped(reason)
            return
        losses = []
        for images, masks in batches.epoch(state.epoch, state.step):
            rate = learning_rate(state.progress, settings)
            losses.append(_train_step(state, standardise(images), masks, loss, settings, rate))
            state.step += 1
            state.progress = clock.progress() if clock else (state.epoch + state.step / len(batches)) / settings.epochs
            yield Step(state.epoch + 1, state.step, len(batches), state.progress, rate, len(images), losses[-1])
            if clock and state.progress >= 1:
                break
        state.epoch, state.step = state.epoch + 1, 0
        validated = _validated(state, validation, standardise, labels, losses, settings)
        if clock:
            clock.reserve_seconds = 1.2 * validated.seconds
        yield validated


def _finished(state: State, settings: TrainSettings, by_clock: bool) -> str | None:
    """Why training ends before this epoch, if it does."""
    if state.step == 0 and (state.progress >= 1 if by_clock else state.epoch >= settings.epochs):
        return "the time is used" if by_clock else "the schedule is complete"
    if state.step == 0 and state.epoch - state.best_epoch >= settings.patience:
        return f"no better validation Dice for {settings.patience} epochs"
    return None


class _Clock:
    """Progress through a schedule that follows a time budget instead of epochs."""

    def __init__(self, seconds_left: Callable[[], float], progress: float) -> None:
        self._seconds_left, self._reached, self.reserve_seconds = seconds_left, progress, 0.0
        self._whole = max(seconds_left(), 1e-9) / max(1 - progress, 1e-9)

    def progress(self) -> float:
        left = max(self._seconds_left() - self.reserve_seconds, 0.0)
        self._reached = min(max(1 - left / self._whole, self._reached), 1.0)
        return self._reached


def _loss(settings: TrainSettings, batches: Batches, labels: Labels) -> Loss:
    """The recipe's loss, with the weights of the classes where it asks for them; two classes need none."""
    weights = None
    if settings.class_weights == "balanced" and not labels.binary:
        weights = class_weights(batches.class_pixels(len(labels.names)).tolist()).to(settings.device)
    return partial(LOSSES[settings.loss], weights=weights)


def _train_step(
    state: State, images: Float[Tensor, "b c h w"], masks: UInt8[Tensor, "b h w"], loss_of: Loss, settings: TrainSettings, rate: float
) -> Float[Tensor, ""]:
    state.network.train()
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    with autocast(settings):
        logits = state.network(images)
    loss = loss_of(logits.float(), masks)
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.network.parameters(), settings.clip)
    state.optimiser.step()
    state.updates += 1
    _follow(state, settings.average)
    return loss.detach()


def autocast(settings: TrainSettings) -> AbstractContextManager[object]:
    """bfloat16 arithmetic where the recipe says so."""
    return torch.autocast(settings.device, torch.bfloat16) if settings.precision == "bfloat16" else nullcontext()


@torch.no_grad()
def _follow(state: State, decay: float) -> None:
    """Move the averaged weights towards the network's, quickly at first."""
    weight = 1 - min(decay, (1 + state.updates) / (10 + state.updates)) if decay else 1.0
    torch._foreach_lerp_(list(state.average.parameters()), list(state.network.parameters()), weight)
    for mean, value in zip(state.average.buffers(), state.network.buffers(), strict=True):
        mean.lerp_(value, weight) if mean.is_floating_point() else mean.copy_(value)


def _standardiser(preprocessing: Preprocessing, device: str) -> Callable[[Float[Tensor, "b c h w"]], Float[Tensor, "b c h w"]]:
    mean = torch.tensor(preprocessing.mean, device=device).view(1, -1, 1, 1)
    std = torch.tensor(preprocessing.std, device=device).view(1, -1, 1, 1)
    return lambda images: ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def _validated(
    state: State,
    validation: Standardised,
    standardise: Callable[[Float[Tensor, "b c h w"]], Float[Tensor, "b c h w"]],
    labels: Labels,
    losses: list[Tensor],
    settings: TrainSettings,
) -> Validation:
    began = time.perf_counter()
    mean_dice = validate(state.average, validation, standardise, labels, settings)
    train_loss = float(torch.stack(losses).mean()) if losses else None
    if train_loss is not None and not np.isfinite(train_loss):
        raise LimnerError(
            f"the loss became {train_loss} in epoch {state.epoch}. The best model so far is kept. Lower train.learning_rate, or set train.precision=float32."
        )
    best = mean_dice > state.best_dice
    if best:
        state.best_dice, state.best_epoch = mean_dice, state.epoch
        state.best_weights = {name: value.detach().clone() for name, value in state.average.state_dict().items()}
    return Validation(state.epoch, train_loss, mean_dice, best, time.perf_counter() - began)


def validate(
    network: nn.Module,
    data: Standardised,
    standardise: Callable[[Float[Tensor, "b c h w"]], Float[Tensor, "b c h w"]],
    labels: Labels,
    settings: TrainSettings,
) -> float:
    """Mean Dice over images on their canvases, of the scored classes that are in the image or its prediction."""
    network.eval()
    empty = 1.0 if labels.binary else float("nan")
    counts: dict[int, ndarray] = {}
    for first in range(0, len(data), settings.batch_size):
        images = torch.tensor(data.images[first : first + settings.batch_size]).to(settings.device).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad(), autocast(settings):
            logits = network(standardise(images)).float().cpu().numpy()
        rows = slice(first, first + settings.batch_size)
        for one, truth, owner in zip(logits, data.masks[rows], data.owners[rows].tolist(), strict=True):
            counts[owner] = counts.get(owner, 0) + confusion(to_class_index(to_probabilities(one)), np.asarray(truth), len(labels.names))
    per_class = dice(np.stack(list(counts.values())), empty)[:, list(labels.scored)]
    scored = per_class[~np.isnan(per_class).all(1)]
    return float(np.nanmean(scored, axis=1).mean()) if len(scored) else 0.0
