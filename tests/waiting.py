"""Waiting for what another process does, without a guess at how long it takes."""

import socket
import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], within_s: float = 300.0) -> None:
    """Return once it holds; an error after a time in which no machine is so busy."""
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, "what was waited for did not come"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
