"""fit: the training loop, a generator of events."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from limner.data.cache import PreparedDataset
from limner.data.loader import BatchLoader, DeviceDataset
from limner.data.preprocess import Preprocessing
from limner.errors import LimnerError
from limner.labels import Labels
from limner.recipe import Recipe, TrainSettings
from limner.training.distributed import SINGLE_PROCESS, DistributedContext
from limner.training.optim import learning_rate
from limner.training.step import (
    FiniteFlags,
    TrainState,
    TrainStep,
    build_loss,
    build_normalise,
    seed_dropout,
)
from limner.training.validate import validate

MAX_SKIPPED = 5
"""Steps in a row that are not finite, after which training stops."""


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """One step has been taken; the loss is still on the device, so that looking at it is the
    reader's choice.
    """

    epoch: int
    step: int
    steps: int
    progress: float
    learning_rate: float
    images: int
    loss: Float[Tensor, ""]


@dataclass(frozen=True, slots=True)
class ValidationProgress:
    """So many of the validation canvases are done."""

    done: int
    count: int


@dataclass(frozen=True, slots=True)
class Validation:
    """The averaged weights were scored at the working size; `loss` is the mean since the last time,
    `drawn` the masks of the watched canvases by row.
    """

    epoch: int
    loss: float | None
    mean_dice: float
    best: bool
    seconds: float
    previews: dict[int, UInt8[ndarray, "h w"]]


@dataclass(frozen=True, slots=True)
class Skipped:
    """The loss or gradient of a step was not finite, so it was not taken; the ids of its
    samples.
    """

    epoch: int
    step: int
    ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a person should know, and that training goes on with."""

    text: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """Training has ended, and why; `finished` says that nothing is left to do."""

    reason: str
    finished: bool = True


@dataclass(frozen=True, slots=True)
class TuningProgress:
    """Training is over, and so many looks at validation images are done of those from which the
    model's use is chosen.
    """

    done: int
    count: int


@dataclass(frozen=True, slots=True)
class Tuned:
    """What one choice brings on validation: mean Dice without it, the gain with its 95 % interval,
    and whether it was taken.
    """

    name: str
    before: float
    gain: float
    low: float
    high: float
    taken: bool


Event = (
    TrainingStep
    | ValidationProgress
    | Validation
    | Skipped
    | Note
    | TuningProgress
    | Tuned
    | Stopped
)


@dataclass(frozen=True, slots=True)
class TrainingContext:
    """What training looks at besides data and state: the time that is left (None is no limit),
    whether a stop is asked for, the other processes.
    """

    seconds_left: Callable[[], float] | None = None
    stop_requested: Callable[[], bool] = lambda: False
    distributed: DistributedContext = SINGLE_PROCESS


def fit(
    state: TrainState,
    batches: BatchLoader,
    validation: PreparedDataset,
    preprocessing: Preprocessing,
    labels: Labels,
    recipe: Recipe,
    outside: TrainingContext,
) -> Iterator[Event]:
    """Train from `state` on until the schedule ends, patience runs out, time is up, or a stop is
    asked for.

    With a time budget the schedule follows the clock instead of the epochs. Between events the
    state is whole, and can be saved. Raises LimnerError where several steps in a row are not
    finite, or the device's memory does not hold a single image.
    """
    settings = recipe.train
    standardise = build_normalise(preprocessing, settings.device)
    stepper = TrainStep(
        state,
        build_loss(settings, batches, labels),
        settings,
        outside.distributed,
        compiled=settings.compile,
    )
    pace = _Pace(state, settings, outside, len(validation))
    watch, pixels = _Watch(state, batches), DeviceDataset(validation, batches.device)
    while True:
        if reason := _finished(state, settings, pace):
            yield Stopped(reason)
            return
        for images, masks in (
            batches.epoch(state.epoch, state.step)
            if state.step < len(batches) and not pace.over
            else ()
        ):
            rate = learning_rate(state.progress, settings)
            seed_dropout(settings.seed, state.epoch, state.step)
            while True:
                try:
                    loss, finite = stepper.step(standardise(images), masks, rate)
                    break
                except torch.OutOfMemoryError as error:
                    yield _smaller(state, len(images), outside.distributed, error)
                    stepper.prepare()
            watch.flags.add(finite, (state.epoch, state.step))
            state.step += 1
            stop = pace.after_step(len(batches))
            yield from watch.look()
            yield TrainingStep(
                state.epoch + 1, state.step, len(batches), state.progress, rate, len(images), loss
            )
            if stop:
                yield Stopped("a stop was asked for", finished=False)
                return
            if pace.over:
                break
        yield from watch.look(wait=True)
        # From here on a resumed run begins with the validation
        state.step = len(batches)
        if pace.validates():
            began, scored = time.perf_counter(), None
            while scored is None:
                part = max(1, settings.batch_size // state.parts)
                scoring = validate(
                    state.ema,
                    validation,
                    pixels,
                    standardise,
                    labels,
                    settings,
                    outside.distributed,
                    part,
                )
                try:
                    while True:
                        yield ValidationProgress(next(scoring), len(validation))
                        if pace.stop_asked():
                            yield Stopped("a stop was asked for", finished=False)
                            return
                except StopIteration as finished:
                    scored = finished.value
                except torch.OutOfMemoryError as error:
                    yield _smaller(state, settings.batch_size, outside.distributed, error)
                    stepper.prepare()
            best = scored.mean_dice > state.best_dice
            if best:
                state.best_dice, state.best_epoch = scored.mean_dice, state.epoch + 1
                state.best_weights = {
                    name: value.detach().clone() for name, value in state.ema.state_dict().items()
                }
            seconds = time.perf_counter() - began
            total, count = state.loss_sum.tolist()
            state.loss_sum.zero_()
            state.epoch, state.step = state.epoch + 1, 0
            began = time.perf_counter()
            yield Validation(
                state.epoch,
                total / count if count else None,
                scored.mean_dice,
                best,
                seconds,
                scored.drawn,
            )
            pace.validated(seconds, time.perf_counter() - began)
        else:
            state.epoch, state.step = state.epoch + 1, 0


def _finished(state: TrainState, settings: TrainSettings, pace: "_Pace") -> str | None:
    """Why training ends before this epoch, if it does."""
    if state.step > 0:
        return None
    if pace.over if pace.by_clock else state.epoch >= settings.epochs:
        return "the time is used" if pace.by_clock else "the schedule is complete"
    if (
        state.epoch % settings.validate_every == 0
        and state.epoch - state.best_epoch >= settings.patience
    ):
        return f"no better validation Dice for {settings.patience} epochs"
    return None


def _smaller(
    state: TrainState, images: int, mine: DistributedContext, error: torch.OutOfMemoryError
) -> Note:
    """Go through the batch in more parts. Raises LimnerError where it cannot be parted any more, or
    others work on their parts meanwhile.
    """
    if mine.world_size > 1:
        raise LimnerError(
            "a device's memory does not hold its part of the batch. Lower train.batch_size "
            "with --set, or use more processes."
        ) from error
    if state.parts >= images:
        raise LimnerError(
            "the device's memory does not hold a single image of this size. Lower "
            "data.size_px or model.widths with --set."
        ) from error
    state.parts *= 2
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return Note(
        f"the device's memory does not hold a batch of {images}: it goes through in "
        f"{state.parts} parts of {-(-images // state.parts)} from here on"
    )


class _Watch:
    """Counts the steps that were not finite, and ends training where there are several in a row."""

    def __init__(self, state: TrainState, batches: BatchLoader) -> None:
        self.flags, self._state, self._batches = FiniteFlags(), state, batches

    def look(self, *, wait: bool = False) -> Iterator[Skipped]:
        state = self._state
        for finite, (epoch, step) in self.flags.resolved(wait=wait):
            state.skipped_in_a_row = 0 if finite else state.skipped_in_a_row + 1
            if finite:
                continue
            state.skipped += 1
            skipped = Skipped(epoch + 1, step + 1, self._batches.sample_ids(epoch, step))
            yield skipped
            if state.skipped_in_a_row >= MAX_SKIPPED:
                raise LimnerError(
                    f"the loss or its gradient was not finite in {MAX_SKIPPED} steps in a row, the last in epoch {skipped.epoch} with the images "
                    f"{', '.join(skipped.ids[:8])}{' and others' if len(skipped.ids) > 8 else ''}. The best model so far is kept. "
                    "Lower train.learning_rate, or set train.precision=float32."
                )


class _Pace:
    """How far the schedule is: by epochs, or by a time budget, of which the last validation is
    part; and when to validate and stop.
    """

    def __init__(
        self, state: TrainState, settings: TrainSettings, outside: TrainingContext, canvases: int
    ) -> None:
        self._state, self._settings, self._outside, self._canvases = (
            state,
            settings,
            outside,
            canvases,
        )
        self.by_clock = outside.seconds_left is not None
        self.over = self.by_clock and state.progress >= 1
        self._whole = (
            max(outside.seconds_left(), 1e-9) / max(1 - state.progress, 1e-9)
            if outside.seconds_left
            else 0.0
        )
        self._reserve, self._measured = 0.0, False
        self._began, self._steps = time.perf_counter(), 0

    def after_step(self, steps: int) -> bool:
        """Move the state's progress on; whether a stop is asked for."""
        self._steps += 1
        if (
            self._steps == 1
            # Which compiles, or wakes the device: what it takes says nothing of a validation
        ):
            self._began = time.perf_counter()
        elif not self._measured:
            # A validation canvas takes less than a training canvas, which takes forward and
            # backward
            each = (
                (time.perf_counter() - self._began) / (self._steps - 1) / self._settings.batch_size
            )
            self._reserve = 0.5 * each * self._canvases
        state, progress = (
            self._state,
            (self._state.epoch + self._state.step / steps) / self._settings.epochs,
        )
        if self._outside.seconds_left is not None:
            left = max(self._outside.seconds_left() - self._reserve, 0.0)
            progress = min(max(1 - left / self._whole, state.progress), 1.0)
        state.progress, stop = self._outside.distributed.agree(
            progress, self._outside.stop_requested()
        )
        self.over = self.by_clock and state.progress >= 1
        return stop

    def stop_asked(self) -> bool:
        """Whether a stop is asked for, of any process."""
        return self._outside.distributed.agree(0.0, self._outside.stop_requested())[1]

    def validates(self) -> bool:
        """Whether the epoch that ended is one after which the network is scored; the last one
        always is.
        """
        last = self.over or (not self.by_clock and self._state.epoch + 1 >= self._settings.epochs)
        if self._outside.seconds_left is not None and not last:
            spare = max(
                self._outside.seconds_left() - 2 * self._reserve,
                0.0,
                # Each process has its own reserve, and the first one's counts
            )
            if (
                self._outside.distributed.agree(spare, stop=False)[0] <= 0
                # The last validation follows so soon that there is no time for two
            ):
                return False
        return last or (self._state.epoch + 1) % self._settings.validate_every == 0

    def validated(self, seconds: float, saving: float) -> None:
        """Keep time for the last validation, and for writing down what comes of it."""
        self._reserve, self._measured = 1.2 * seconds + 1.5 * saving, True
