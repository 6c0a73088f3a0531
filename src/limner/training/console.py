"""Show a run on a console: a live bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from limner.metrics.intervals import format_interval
from limner.training.events import (
    Event,
    Note,
    Skipped,
    Stopped,
    TrainingStep,
    Tuned,
    TuningProgress,
    Validation,
    ValidationProgress,
)
from limner.training.finish import FINISH_SHARE

STEPS_PER_READING = 10
"""Reading the loss waits for the device, so it is read once in so many steps; at first more often.
"""


def show_events(
    events: Iterator[Event], console: Console, earlier_images: int = 0
) -> Stopped | None:
    """Consume events to their end and show them. Returns how training ended.

    Args:
        events: Of a training.
        console: Where they are shown.
        earlier_images: Images that were shown before the run was resumed.
    """
    left_out: list[Tuned] = []
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeRemainingColumn(),
    )
    stopped = None
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True
    ) as progress:
        bar = _Bar(progress, live=console.is_terminal)
        for event in events:
            bar.update(event)
            if isinstance(event, Tuned) and not event.taken:
                left_out.append(event)
            elif isinstance(event, Stopped):
                stopped = event
                _print_left_out(left_out, console)
                images = earlier_images + bar.images
                console.print(f"Training ended: {event.reason}; {images:,} images were shown.")
            elif (line := _line(event)) is not None:
                console.print(line)
    return stopped


def _print_left_out(tried: Sequence[Tuned], console: Console) -> None:
    """Say in one line what was tried on validation and did not help."""
    if tried:
        each = [
            f"{event.name} ({event.gain:+.4f})" if event.images else event.name for event in tried
        ]
        console.print(f"Left out, with what each changes of the Dice: {', '.join(each)}.")


class _Bar:
    """The bar, and the number of images that were trained on so far."""

    def __init__(self, progress: Progress, *, live: bool) -> None:
        self._progress, self._live = progress, live
        self._task = progress.add_task("training", total=1.0, detail="")
        self.images = 0
        self._loss, self._images_per_s, self._steps = "", 0.0, 0
        self._start_interval()

    def update(self, event: Event) -> None:
        """Move the bar, where the event is about progress."""
        if isinstance(event, TrainingStep):
            self._count(event)
            self._progress.update(
                self._task,
                completed=event.progress * (1 - FINISH_SHARE),
                description=f"epoch {event.epoch}",
                detail=f"{self._loss}{self._rate}",
            )
        elif isinstance(event, ValidationProgress):
            detail = f"validating {event.done} of {event.count}"
            self._progress.update(self._task, detail=detail)
            self._start_interval()
        elif isinstance(event, TuningProgress):
            detail = f"tuning: {event.done} of {event.count} predictions of validation images"
            tuned = event.done / max(event.count, 1)
            self._progress.update(
                self._task, completed=1 - FINISH_SHARE * (1 - tuned), detail=detail
            )

    def _count(self, event: TrainingStep) -> None:
        self.images += event.images
        self._interval_images += event.images
        self._steps += 1
        wanted = min(self._steps // 2, STEPS_PER_READING) * event.images
        # The first step compiles, or wakes the device: its time says nothing of the others
        if self._live and self._steps == 1:
            self._start_interval()
        elif self._live and self._interval_images >= wanted:
            self._loss = f"loss {float(event.loss):.3f}  "
            self._images_per_s = self._interval_images / max(
                time.monotonic() - self._interval_start, 1e-9
            )
            self._start_interval()

    @property
    def _rate(self) -> str:
        """Images per second as they are shown; nothing before the second step."""
        rate = self._images_per_s
        return f"{rate:.{0 if rate >= 10 else 1}f} images/s" if rate else ""

    def _start_interval(self) -> None:
        self._interval_images, self._interval_start = 0, time.monotonic()


def _line(event: Event) -> str | None:
    """The line that is printed for an event, if one is."""
    if isinstance(event, Tuned):
        outcome = "[green]taken[/]"
        interval = format_interval((event.low, event.high), 4, signed=True)
        shown = "" if interval == "none" else f" ({interval})"
        if event.usual_gain is not None:
            outcome += f" ({event.usual_gain:+.4f} on other sets counted too)"
        if event.passes > 1:
            outcome += f"; it takes {event.passes} passes for each image"
        if not event.images:
            return f"{event.name}: not tried on validation, {outcome}"
        return f"{event.name}: {event.gain:+.4f} mean Dice on validation{shown}, {outcome}"
    if isinstance(event, Validation):
        loss = "" if event.loss is None else f"  loss {event.loss:.4f}"
        best = "  [green]best[/]" if event.best else ""
        return f"epoch {event.epoch:3d}{loss}  validation Dice {event.mean_dice:.4f}{best}"
    if isinstance(event, Skipped):
        return (
            f"[yellow]epoch {event.epoch}, step {event.step}: the loss or its gradient was not "
            "finite, so the step was skipped[/]"
        )
    return f"[yellow]note:[/] {escape(event.text)}" if isinstance(event, Note) else None
