"""The training schedule: progress by epochs or by a time budget, and when to validate."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from limner.recipe import TrainSettings
from limner.training.distributed import SINGLE_PROCESS, DistributedContext
from limner.training.state import TrainState

MAX_VALIDATION_COST = 0.5
"""The most that a validation image takes of a training image's time, until one is timed."""
MIN_TIMED_STEPS = 3
"""Of which the fastest says how long that is."""
VALIDATION_MARGIN, SAVING_MARGIN = 1.2, 1.5
"""The next validation, and saving after it, may take longer than the last by these factors."""


@dataclass(frozen=True, slots=True)
class TrainingContext:
    """What training depends on besides data and state."""

    seconds_left: Callable[[], float] | None = None
    """What remains of a time budget; None without one."""
    stop_requested: Callable[[], bool] = lambda: False
    """Looked at between steps."""
    distributed: DistributedContext = SINGLE_PROCESS


class Deadline:
    """Call it for the seconds that remain of a time budget.

    Args:
        seconds: The budget.
        started: The moment of the monotonic clock from which it counts.
    """

    def __init__(self, seconds: float, started: float) -> None:
        self._ends = started + seconds

    def __call__(self) -> float:
        return self._ends - time.monotonic()


class Schedule:
    """Follow the schedule: by epochs, or by the clock where there is a time budget.

    Time for the last validation is reserved within the budget. All processes agree on the first
    one's progress, and on a stop that any of them was asked for.

    Args:
        state: Its `progress` is moved on.
        settings: Epochs, batch size and the interval of validations.
        context: The time that is left, and whether a stop was requested.
        validation_count: How many images or tiles a validation scores.
    """

    def __init__(
        self,
        state: TrainState,
        settings: TrainSettings,
        context: TrainingContext,
        validation_count: int,
    ) -> None:
        self._state, self._settings, self._context = state, settings, context
        self._validation_count = validation_count
        self.by_clock = context.seconds_left is not None
        self.over = self.by_clock and state.progress >= 1
        """Whether the time is used."""
        self._budget_s = 0.0
        if context.seconds_left is not None:
            remaining_share = max(1 - state.progress, 1e-9)
            self._budget_s = max(context.seconds_left(), 1e-9) / remaining_share
        self._reserved_s = 0.0
        self._validation_measured = False
        self._timed_steps, self._step_ended, self._fastest_step_s = -1, 0.0, math.inf

    def end_reason(self) -> str | None:
        """Say why training ends before this epoch, if it does."""
        state, settings = self._state, self._settings
        if state.step > 0:
            return None
        if 0 < settings.target_dice <= state.best_dice:
            return f"a validation Dice of {settings.target_dice:g} is reached"
        if self.by_clock and self.over:
            return "the time is used"
        if not self.by_clock and state.epoch >= settings.epochs:
            return "the schedule is complete"
        validated = state.epoch % settings.validate_every == 0
        if validated and state.epoch - state.best_epoch >= settings.patience:
            return f"no better validation Dice for {settings.patience} epochs"
        return None

    def advance(self, steps_per_epoch: int) -> bool:
        """Move the state's progress on after a step. Returns whether a stop was requested."""
        self._estimate_validation()
        state, context = self._state, self._context
        progress = (state.epoch + state.step / steps_per_epoch) / self._settings.epochs
        if context.seconds_left is not None:
            training_s = max(context.seconds_left() - self._reserved_s, 0.0)
            progress = min(max(1 - training_s / self._budget_s, state.progress), 1.0)
        state.progress, stop = context.distributed.agree(progress, context.stop_requested())
        self.over = self.by_clock and state.progress >= 1
        return stop

    def stop_requested(self) -> bool:
        """Tell whether any process was asked to stop."""
        return self._context.distributed.agree(0.0, self._context.stop_requested())[1]

    def validation_due(self) -> bool:
        """Tell whether the epoch that ended is followed by a validation; the last one always is."""
        epochs = self._state.epoch + 1
        if self.over or (not self.by_clock and epochs >= self._settings.epochs):
            return True
        if self._context.seconds_left is not None:
            # The last validation may follow so soon that there is no time for two
            spare_s = max(self._context.seconds_left() - 2 * self._reserved_s, 0.0)
            # Each process has its own reserve, and the first one's counts
            if self._context.distributed.agree(spare_s, stop=False)[0] <= 0:
                return False
        return epochs % self._settings.validate_every == 0

    def reserve_for_validation(self, validation_s: float, saving_s: float) -> None:
        """Keep time for a last validation like this one, and for saving after it."""
        self._reserved_s = VALIDATION_MARGIN * validation_s + SAVING_MARGIN * saving_s
        self._validation_measured = True

    def _estimate_validation(self) -> None:
        """Reserve time for a validation before the first one was measured.

        An image takes less than in training, where it goes forward and backward. How much less is
        taken from the fastest of some steps: what one took that waited for other work would reserve
        all the time that is left.
        """
        before, self._step_ended = self._step_ended, time.perf_counter()
        self._timed_steps += 1
        if self._timed_steps > 0:
            # Not of the first step, which compiles, or wakes the device
            self._fastest_step_s = min(self._fastest_step_s, self._step_ended - before)
        if self._timed_steps >= MIN_TIMED_STEPS and not self._validation_measured:
            per_image_s = self._fastest_step_s / self._settings.batch_size
            self._reserved_s = MAX_VALIDATION_COST * per_image_s * self._validation_count
