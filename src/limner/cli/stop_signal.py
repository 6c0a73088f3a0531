"""StopSignal: Ctrl-C and SIGTERM let a training end with everything saved."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from limner.cli.console import INTERRUPTED, stderr


class StopSignal:
    """The signal that asked for a stop, if any.

    Until training begins there is nothing to save, and the process ends at once.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.training = False

    def requested(self) -> bool:
        return self.signal is not None

    def receive(self, number: int, _frame: FrameType | None) -> None:
        if not self.training:
            stderr.print("Stopped before training began: there is nothing to go on from.")
            raise SystemExit(0 if number == signal.SIGTERM else INTERRUPTED)
        self.signal = number
        # A second Ctrl-C does not wait
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def stop_signals() -> Iterator[StopSignal]:
    """Let Ctrl-C and SIGTERM stop training at the next step, with everything saved."""
    stop = StopSignal()
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.signal(number, stop.receive) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
