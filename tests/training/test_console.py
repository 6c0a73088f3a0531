"""What a training shows on a terminal."""

import io
from collections.abc import Iterator

import torch
from rich.console import Console

from limner.training.console import show_events
from limner.training.events import Event, Stopped, TrainingStep, TuningProgress


def shown(events: Iterator[Event]) -> str:
    """What is printed on a terminal."""
    file = io.StringIO()
    show_events(events, Console(file=file, force_terminal=True, width=120, color_system=None))
    return file.getvalue()


def steps(count: int) -> Iterator[Event]:
    for index in range(count):
        yield TrainingStep(1, index + 1, count, (index + 1) / count, 1e-3, 4, torch.tensor(0.5))


def test_the_rate_is_shown_from_the_second_step_on() -> None:
    assert "images/s" not in shown(steps(1))
    assert "images/s" in shown(steps(2)) and "loss 0.500" in shown(steps(2))


def test_the_end_of_training_says_how_many_images_were_shown() -> None:
    def events() -> Iterator[Event]:
        yield from steps(3)
        yield TuningProgress(1, 2)
        yield Stopped("the schedule is complete")

    text = shown(events())
    assert "tuning: 1 of 2 predictions" in text
    assert "Training ended: the schedule is complete; 12 images were shown." in text
