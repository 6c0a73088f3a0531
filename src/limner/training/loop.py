"""The training loop, plain PyTorch: a generator of events."""

import time
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from limner.data.loader import BatchLoader, DeviceDataset
from limner.errors import LimnerError
from limner.name_list import list_some
from limner.training.distillation import load_teacher
from limner.training.events import (
    Event,
    Note,
    Skipped,
    Stopped,
    TrainingStep,
    Validation,
    ValidationProgress,
)
from limner.training.optim import learning_rate
from limner.training.run import RunInputs
from limner.training.schedule import Schedule, TrainingContext
from limner.training.state import TrainState
from limner.training.step import (
    FiniteFlags,
    TrainStep,
    build_loss,
    build_normalise,
    seed_dropout,
)
from limner.training.validate import ValidationScore, Validator

MAX_SKIPPED = 5
"""Steps in a row that are not finite, after which training stops."""
STOP_REQUESTED = "a stop was asked for"
Result = TypeVar("Result")


def fit(
    state: TrainState, loader: BatchLoader, inputs: RunInputs, context: TrainingContext
) -> Iterator[Event]:
    """Train from `state` on until the schedule ends or a stop is requested.

    The schedule ends after its epochs or its time, or when patience runs out. With a time budget it
    follows the clock instead of the epochs. Between events the state is whole, and can be saved.
    Raises LimnerError where several steps in a row are not finite, or the device's memory does not
    hold a single image.
    """
    loop = _Loop(state, loader, inputs, context)
    while (reason := loop.schedule.end_reason()) is None:
        stopped = yield from loop.run_epoch()
        if stopped:
            yield Stopped(STOP_REQUESTED, finished=False)
            return
    yield Stopped(reason)


class _Loop:
    """The parts of the loop. Each gives events; those that may be stopped return whether."""

    def __init__(
        self, state: TrainState, loader: BatchLoader, inputs: RunInputs, context: TrainingContext
    ) -> None:
        settings = inputs.recipe.train
        self._state, self._loader, self._settings = state, loader, settings
        self._normalise = build_normalise(inputs.preprocessing, settings.device)
        self._train_step = TrainStep(
            state,
            build_loss(settings, loader, inputs.labels),
            settings,
            context.distributed,
            teacher=load_teacher(inputs.recipe, inputs.preprocessing),
            compiled=settings.compile,
        )
        self._distributed = context.distributed
        self.schedule = Schedule(state, settings, context, len(inputs.validation))
        self._skipped_steps = _SkippedSteps(state, loader)
        self._validator = Validator(
            inputs.validation,
            DeviceDataset(inputs.validation, loader.device),
            self._normalise,
            inputs.labels,
            settings,
            context.distributed,
        )

    def run_epoch(self) -> Generator[Event, None, bool]:
        """Train the rest of an epoch, and validate where that is due."""
        state, steps = self._state, len(self._loader)
        if state.step < steps and not self.schedule.over:
            for images, masks in self._loader.epoch(state.epoch, state.step):
                if (yield from self._train_on(images, masks)):
                    return True
                if self.schedule.over:
                    break
        yield from self._skipped_steps.check(wait=True)
        # From here on a resumed run begins with the validation
        state.step = steps
        if self.schedule.validation_due():
            return (yield from self._validate())
        self._begin_next_epoch()
        return False

    def _train_on(
        self, images: Float[Tensor, "b c h w"], masks: UInt8[Tensor, "b h w"]
    ) -> Generator[Event, None, bool]:
        state, steps = self._state, len(self._loader)
        rate = learning_rate(state.progress, self._settings)
        seed_dropout(self._settings.seed, state.epoch, state.step)

        def take_step() -> Generator[Event, None, tuple[Float[Tensor, ""], Bool[Tensor, ""]]]:
            # A generator without events, so that it is attempted as a validation is
            yield from ()
            return self._train_step.step(self._normalise(images), masks, rate)

        loss, finite = yield from self._within_memory(take_step, len(images))
        self._skipped_steps.add(finite, (state.epoch, state.step))
        state.step += 1
        stop = self.schedule.advance(steps)
        yield from self._skipped_steps.check()
        yield TrainingStep(
            state.epoch + 1, state.step, steps, state.progress, rate, len(images), loss
        )
        return stop

    def _validate(self) -> Generator[Event, None, bool]:
        started = time.perf_counter()
        score = yield from self._within_memory(self._score, self._settings.batch_size)
        if score is None:
            return True
        state = self._state
        best = score.mean_dice > state.best_dice
        if best:
            state.best_dice, state.best_epoch = score.mean_dice, state.epoch + 1
            weights = state.ema.state_dict()
            state.best_weights = {name: value.detach().clone() for name, value in weights.items()}
        validation_s = time.perf_counter() - started
        total, count = state.loss_sum.tolist()
        state.loss_sum.zero_()
        self._begin_next_epoch()
        loss = total / count if count else None
        started = time.perf_counter()
        yield Validation(state.epoch, loss, score.mean_dice, best, validation_s, score.previews)
        # The consumer of the event has saved what came of it meanwhile
        self.schedule.reserve_for_validation(validation_s, time.perf_counter() - started)
        return False

    def _score(self) -> Generator[Event, None, ValidationScore | None]:
        """Score the averaged weights; None where a stop was requested meanwhile."""
        batch_size = max(1, self._settings.batch_size // self._state.micro_batches)
        scoring = self._validator.score(self._state.ema, batch_size)
        try:
            while True:
                yield ValidationProgress(next(scoring), len(self._validator.data))
                if self.schedule.stop_requested():
                    return None
        except StopIteration as finished:
            return finished.value

    def _begin_next_epoch(self) -> None:
        self._state.epoch, self._state.step = self._state.epoch + 1, 0

    def _within_memory(
        self, attempt: Callable[[], Generator[Event, None, Result]], images: int
    ) -> Generator[Event, None, Result]:
        """Attempt something, each time with smaller micro-batches, until the memory suffices."""
        while True:
            try:
                return (yield from attempt())
            except torch.OutOfMemoryError as error:
                yield self._halve_micro_batches(images, error)
                self._train_step.prepare()

    def _halve_micro_batches(self, images: int, error: torch.OutOfMemoryError) -> Note:
        """Raise LimnerError where that is impossible: a micro-batch is one image already, or other
        processes are at work on their parts.
        """
        state = self._state
        if self._distributed.world_size > 1:
            raise LimnerError(
                "a device's memory does not hold its part of the batch. Lower train.batch_size "
                "with --set, or use more processes."
            ) from error
        if state.micro_batches >= images:
            raise LimnerError(
                "the device's memory does not hold a single image of this size. Lower "
                "data.size_px or model.widths with --set."
            ) from error
        state.micro_batches *= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return Note(
            f"the device's memory does not hold a batch of {images}: it goes through in "
            f"{state.micro_batches} parts of {-(-images // state.micro_batches)} from here on"
        )


class _SkippedSteps:
    """Count the steps that were not finite, and end training after several in a row."""

    def __init__(self, state: TrainState, loader: BatchLoader) -> None:
        self._state, self._loader, self._flags = state, loader, FiniteFlags()

    def add(self, finite: Bool[Tensor, ""], position: tuple[int, int]) -> None:
        """Remember the step at a position (epoch, step)."""
        self._flags.add(finite, position)

    def check(self, *, wait: bool = False) -> Iterator[Skipped]:
        """Give the skipped steps among those that are known by now; with `wait`, among all.

        Raises LimnerError after `MAX_SKIPPED` in a row.
        """
        state = self._state
        for finite, (epoch, step) in self._flags.resolved(wait=wait):
            state.skipped_in_a_row = 0 if finite else state.skipped_in_a_row + 1
            if finite:
                continue
            state.skipped += 1
            skipped = Skipped(epoch + 1, step + 1, self._loader.sample_ids(epoch, step))
            yield skipped
            if state.skipped_in_a_row >= MAX_SKIPPED:
                raise _not_finite(skipped)


def _not_finite(last: Skipped) -> LimnerError:
    return LimnerError(
        f"the loss or its gradient was not finite in {MAX_SKIPPED} steps in a row, the last in "
        f"epoch {last.epoch} with the images {list_some(last.ids)}. The best model so "
        "far is kept. Lower train.learning_rate, or set train.precision=float32."
    )
