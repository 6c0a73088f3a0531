"""The HTTP server that an application runs in.

It waits for bodies that are in use, but not for request heads that do not come, and finishes what
it has started when it is told to stop.
"""

import asyncio
import gc
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from limner.errors import LimnerError
from limner.operating_system import take_hangup
from limner.web.auth import ALL_ADDRESSES

DRAIN_S = 660
"""How long started requests may take after SIGTERM.

It is the longest wait that a caller may ask for, and the work after it.
"""
HEAD_S = 15
"""How long the head of a request may take."""
KEEP_ALIVE_S = 75
"""How long a connection may be idle after an answer.

Load balancers keep theirs for 60 seconds, and one that is closed under them is an error there.
"""
SWITCH_INTERVAL_S = 0.0005
"""How often Python's threads take turns.

With the usual 5 ms eight clients got 32.7 masks a second on two cores, with this 36.6.
"""
log = logging.getLogger("limner.web")
_ending = threading.Event()


def log_requests() -> None:
    """Write a line for each request to stderr, as JSON. Errors are written anyway."""
    log.setLevel(logging.INFO)


def is_ending() -> bool:
    """Whether the server was told to stop. Answers that have no end of their own end then."""
    return _ending.is_set()


def serve(
    app: ASGIApp,
    host: str,
    port: int,
    announce: Callable[[str], None],
    reload: Sequence[Callable[[], object]] = (),
    keep_alive_s: int = KEEP_ALIVE_S,
) -> None:
    """Run until SIGINT or SIGTERM, then finish what was started.

    Args:
        app: the application.
        host: the address to listen on.
        port: 0 takes a free one.
        announce: called with the server's own address once it listens.
        reload: called on SIGHUP, each in a thread.
        keep_alive_s: how long a connection may be idle after an answer.

    Raises LimnerError for an address that cannot be listened on.
    """
    _require_free(host, port)
    # Uvicorn raises it again when all is finished, and the exit status must be 0
    signal.signal(signal.SIGTERM, lambda *_: None)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    if not log.handlers:
        log.addHandler(logging.StreamHandler(sys.stderr))
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=HeadTimeoutProtocol,
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=keep_alive_s,
        timeout_graceful_shutdown=DRAIN_S,
        lifespan="off",
    )
    AnnouncingServer(config, announce, reload).run()


class HeadTimeoutProtocol(H11Protocol):
    """Closes connections on which the head of a request does not come in time.

    Uvicorn itself closes only those that are idle after an answer.
    """

    _head_timeout: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._start_timeout()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._start_timeout()
        else:
            self._stop_timeout()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # A part of the next head has come already
        if self.conn.trailing_data[0] and (self.cycle is None or self.cycle.response_complete):
            self._start_timeout()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timeout()
        super().connection_lost(exc)

    def _start_timeout(self) -> None:
        if self._head_timeout is None:
            self._head_timeout = self.loop.call_later(HEAD_S, self.transport.close)

    def _stop_timeout(self) -> None:
        if self._head_timeout is not None:
            self._head_timeout.cancel()
            self._head_timeout = None


class AnnouncingServer(uvicorn.Server):
    """Says its address once it listens, and then takes SIGHUP."""

    def __init__(
        self,
        config: uvicorn.Config,
        announce: Callable[[str], None],
        reload: Sequence[Callable[[], object]],
    ) -> None:
        super().__init__(config)
        self._announce, self._reload = announce, reload

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        # All objects of now stay; scanning them again and again delayed every answer by some 50 ms
        gc.collect()
        gc.freeze()
        self._announce(self._address())
        if self._reload:
            take_hangup(asyncio.get_running_loop(), self._run_reload)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        _ending.set()
        super().handle_exit(sig, frame)

    def _run_reload(self) -> None:
        loop = asyncio.get_running_loop()
        for function in self._reload:
            loop.run_in_executor(None, function)

    def _address(self) -> str:
        host, port = self.config.host, self.servers[0].sockets[0].getsockname()[1]
        name = _own_address(host) if host in ALL_ADDRESSES else host
        return f"http://{f'[{name}]' if ':' in name else name}:{port}/"


def _own_address(host: str) -> str:
    """The address by which others reach this machine, as far as it knows. Nothing is sent."""
    family, elsewhere = (
        (socket.AF_INET6, "2001:db8::1") if ":" in host else (socket.AF_INET, "192.0.2.1")
    )
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return "localhost"


def _require_free(host: str, port: int) -> None:
    """Raise LimnerError where an address cannot be listened on."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise LimnerError(
            f"{host}, port {port}, cannot be listened on: {error.strerror}. Take another "
            "--port (0 takes a free one), or another --host."
        ) from error
