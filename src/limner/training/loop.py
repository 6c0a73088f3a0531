"""fit: the training loop, a generator of events."""

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from numpy import ndarray
from torch import Tensor, nn

from limner.data.batches import Batches
from limner.data.cache import Standardised
from limner.data.preprocess import Preprocessing
from limner.errors import LimnerError
from limner.inference.predictor import THRESHOLD, to_class_index, to_probabilities
from limner.labels import Labels
from limner.losses import LOSSES, class_weights
from limner.metrics import confusion, dice
from limner.model.unet import UNet
from limner.recipe import Recipe, TrainSettings
from limner.training.optim import learning_rate, optimiser

THRESHOLDS = np.arange(2, 39, dtype=np.float32) / 40
"""Of the probability, for a binary set: from 0.05 to 0.95, 0.5 among them."""


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

    network: UNet
    average: UNet
    optimiser: torch.optim.Optimizer
    epoch: int = 0
    step: int = 0
    progress: float = 0.0
    updates: int = 0
    best_dice: float = -1.0
    best_epoch: int = 0
    best_threshold: float = 0.5
    best_weights: dict[str, Tensor] = field(default_factory=dict)


def begin(network: UNet, settings: TrainSettings) -> State:
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
            seed_dropout(settings.seed, state.epoch, state.step)
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


def _loss(settings: TrainSettings, batches: Batches, labels: Labels) -> Callable[[Tensor, Tensor], Float[Tensor, ""]]:
    """The recipe's loss, with the weights of the classes where it asks for them. Raises LimnerError where there are more or fewer than classes."""
    weights = None
    if settings.class_weights == "balanced":
        weights = class_weights(batches.class_pixels(len(labels.names)).tolist())
    elif settings.class_weights != "none":
        weights = torch.tensor(settings.class_weights)
        if len(weights) != len(labels.names):
            raise LimnerError(f"train.class_weights has {len(weights)} numbers for {len(labels.names)} classes: {', '.join(labels.names)}. Give one for each.")
    return partial(LOSSES[settings.loss], weights=None if weights is None else weights.to(settings.device), smoothing=settings.label_smoothing)


def seed_dropout(seed: int, epoch: int, step: int) -> None:
    """What a step draws on the device depends on its number alone, so that a resumed run draws the same."""
    torch.manual_seed(int(np.random.SeedSequence([seed, epoch, step, 1]).generate_state(1, np.uint32)[0]))


def _train_step(
    state: State,
    images: Float[Tensor, "b c h w"],
    masks: UInt8[Tensor, "b h w"],
    loss_of: Callable[[Tensor, Tensor], Float[Tensor, ""]],
    settings: TrainSettings,
    rate: float,
) -> Float[Tensor, ""]:
    state.network.train()
    for group in state.optimiser.param_groups:
        group["lr"] = rate * group["share"]
    if state.network.encoder.pretrained:
        frozen = state.progress < settings.frozen
        state.network.encoder.requires_grad_(not frozen).train(not frozen)
    with autocast(settings):
        drawn = state.network.supervised(images)
    shares = [2.0**-level for level in range(len(drawn))]  # the coarser, the less
    loss = torch.stack([share * loss_of(logits.float(), masks) for share, logits in zip(shares, drawn, strict=True)]).sum() / sum(shares)
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


def _standardiser(preprocessing: Preprocessing, device: str) -> Callable[[Float[Tensor, "b 3 h w"]], Float[Tensor, "b c h w"]]:
    """RGB in 0..1 as the network sees it: standardised, and grey where the preprocessing has one channel."""
    mean = torch.tensor(preprocessing.mean, device=device).view(1, -1, 1, 1)
    std = torch.tensor(preprocessing.std, device=device).view(1, -1, 1, 1)
    grey = len(preprocessing.mean) == 1
    return lambda images: (((images.mean(1, keepdim=True) if grey else images) - mean) / std).contiguous(memory_format=torch.channels_last)


def _validated(
    state: State,
    validation: Standardised,
    standardise: Callable[[Float[Tensor, "b c h w"]], Float[Tensor, "b c h w"]],
    labels: Labels,
    losses: list[Tensor],
    settings: TrainSettings,
) -> Validation:
    began = time.perf_counter()
    mean_dice, threshold = validate(state.average, validation, standardise, labels, settings)
    train_loss = float(torch.stack(losses).mean()) if losses else None
    if train_loss is not None and not np.isfinite(train_loss):
        raise LimnerError(
            f"the loss became {train_loss} in epoch {state.epoch}. The best model so far is kept. Lower train.learning_rate, or set train.precision=float32."
        )
    best = mean_dice > state.best_dice
    if best:
        state.best_dice, state.best_epoch, state.best_threshold = mean_dice, state.epoch, threshold
        state.best_weights = {name: value.detach().clone() for name, value in state.average.state_dict().items()}
    return Validation(state.epoch, train_loss, mean_dice, best, time.perf_counter() - began)


def validate(
    network: nn.Module,
    data: Standardised,
    standardise: Callable[[Float[Tensor, "b c h w"]], Float[Tensor, "b c h w"]],
    labels: Labels,
    settings: TrainSettings,
) -> tuple[float, float]:
    """Mean Dice over images on their canvases, of the scored classes that are in the image or its prediction; and the best threshold.

    The Dice is that of the threshold 0.5; for several classes there is no threshold, and 0.5 is given.
    """
    network.eval()
    counts: dict[int, ndarray] = {}
    for first in range(0, len(data), settings.batch_size):
        images = torch.tensor(data.images[first : first + settings.batch_size]).to(settings.device).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad(), autocast(settings):
            logits = network(standardise(images)).float().cpu().numpy()
        rows = slice(first, first + settings.batch_size)
        for one, truth, owner in zip(logits, data.masks[rows], data.owners[rows].tolist(), strict=True):
            probabilities = to_probabilities(one)
            found = counts_by_threshold(probabilities[0], np.asarray(truth)) if labels.binary else _counts(probabilities, np.asarray(truth), labels)
            counts[owner] = counts.get(owner, 0) + found
    table = np.stack(list(counts.values()))  # (images, thresholds, 3) or (images, classes, 3)
    if labels.binary:
        means = dice(table, empty=1.0).mean(0)
        best = np.flatnonzero(means >= means.max() - 1e-4)
        nearest = best[np.abs(THRESHOLDS[best] - THRESHOLD).argmin()]
        return float(means[np.searchsorted(THRESHOLDS, THRESHOLD)]), float(THRESHOLDS[nearest])
    per_class = dice(table, empty=float("nan"))[:, list(labels.scored)]
    scored = per_class[~np.isnan(per_class).all(1)]
    return float(np.nanmean(scored, axis=1).mean()) if len(scored) else 0.0, THRESHOLD


def _counts(probabilities: Float32[ndarray, "k h w"], truth: UInt8[ndarray, "h w"], labels: Labels) -> Int64[ndarray, "k 3"]:
    return confusion(to_class_index(probabilities), truth, len(labels.names))


def counts_by_threshold(probability: Float32[ndarray, "h w"], truth: UInt8[ndarray, "h w"]) -> Int64[ndarray, "t 3"]:
    """True positives, false positives and false negatives of the foreground at each of `THRESHOLDS`, in one pass over the pixels."""
    passed = np.searchsorted(THRESHOLDS, probability, side="right")  # how many thresholds each pixel reaches
    marked, other = (np.bincount(passed[truth == value], minlength=len(THRESHOLDS) + 1) for value in (1, 0))
    hit, false = (counts[::-1].cumsum()[::-1][1:] for counts in (marked, other))
    return np.stack([hit, false, marked.sum() - hit], axis=1)
