"""A run as a person watches it: a live bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from limner.training.loop import Event, Step, Stopped, Validation


def draw(events: Iterator[Event], console: Console, stop_asked: Callable[[], bool]) -> None:
    """Consume events and show them until they end or a stop is asked for."""
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[detail]}"), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("training", total=1.0, detail="")
        shown, images, loss, rate, since = 0, 0, "", 0.0, time.monotonic()
        for event in events:
            if isinstance(event, Step):
                shown += event.images
                images += event.images
                if console.is_terminal and images >= 10 * event.images:  # looking at the loss waits for the device
                    loss, rate = f"loss {float(event.loss):.3f}  ", images / (time.monotonic() - since)
                    images, since = 0, time.monotonic()
                bar.update(task, completed=event.progress, description=f"epoch {event.epoch}", detail=f"{loss}{rate:.0f} images/s")
            elif isinstance(event, Validation):
                lost = "" if event.loss is None else f"  loss {event.loss:.4f}"
                best = "  [green]best[/]" if event.best else ""
                console.print(f"epoch {event.epoch:3d}{lost}  validation Dice {event.mean_dice:.4f}{best}")
            elif isinstance(event, Stopped):
                console.print(f"Training ended: {event.reason}; {shown:,} images were shown.")
            if stop_asked():
                return
