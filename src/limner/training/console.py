"""A run as a person watches it: a live bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from limner.training.loop import (
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


def show_events(events: Iterator[Event], console: Console) -> Stopped | None:
    """Consume events and show them to their end; how training ended."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeRemainingColumn(),
    )
    ended = None
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True
    ) as bar:
        task = bar.add_task("training", total=1.0, detail="")
        shown, images, loss, rate, since = 0, 0, "", 0.0, time.monotonic()
        for event in events:
            if isinstance(event, TrainingStep):
                shown += event.images
                images += event.images
                if (
                    console.is_terminal and images >= 10 * event.images
                    # Looking at the loss waits for the device
                ):
                    loss, rate = (
                        f"loss {float(event.loss):.3f}  ",
                        images / (time.monotonic() - since),
                    )
                    images, since = 0, time.monotonic()
                bar.update(
                    task,
                    completed=event.progress,
                    description=f"epoch {event.epoch}",
                    detail=f"{loss}{rate:.0f} images/s",
                )
            elif isinstance(event, ValidationProgress):
                bar.update(task, detail=f"validating {event.done} of {event.count}")
                images, since = 0, time.monotonic()
            elif isinstance(event, TuningProgress):
                bar.update(
                    task,
                    completed=1.0,
                    detail=(
                        f"choosing how the model is used: {event.done} of {event.count} looks at "
                        "validation images"
                    ),
                )
            elif isinstance(event, Tuned):
                taken = "[green]taken[/]" if event.taken else "left out"
                console.print(
                    f"{event.name}: {event.gain:+.4f} mean Dice on validation "
                    f"({event.low:+.4f} to {event.high:+.4f}), {taken}"
                )
            elif isinstance(event, Validation):
                lost = "" if event.loss is None else f"  loss {event.loss:.4f}"
                best = "  [green]best[/]" if event.best else ""
                console.print(
                    f"epoch {event.epoch:3d}{lost}  validation Dice {event.mean_dice:.4f}{best}"
                )
            elif isinstance(event, Skipped):
                console.print(
                    f"[yellow]epoch {event.epoch}, step {event.step}: the loss or its "
                    "gradient was not finite, so the step was skipped[/]"
                )
            elif isinstance(event, Note):
                console.print(f"[yellow]note:[/] {escape(event.text)}")
            else:
                ended = event
                console.print(f"Training ended: {event.reason}; {shown:,} images were shown.")
    return ended
