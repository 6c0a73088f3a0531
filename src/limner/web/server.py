"""The server that an application runs in: patient with bodies that are in use, not with heads that
do not come, and drained when it is told to stop.
"""

import gc
import logging
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI

from limner.errors import LimnerError
from limner.web.auth import ALL_ADDRESSES

DRAINED_S = 660
"""How long what was begun may take after SIGTERM: the longest wait that a caller may ask for, and
its work.
"""
log = logging.getLogger("limner.web")


def serve(
    app: FastAPI,
    host: str,
    port: int,
    announce: Callable[[str], None],
    reload: Sequence[Callable[[], object]] = (),
    head_s: float = 15.0,
) -> None:
    """Run until SIGINT or SIGTERM, then end what was begun. SIGHUP calls `reload`. `head_s` is how
    long the head of a request may take.

    Raises LimnerError for an address that cannot be listened on.
    """
    _require_free(host, port)
    import asyncio
    import signal

    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Impatient(H11Protocol):
        """Closes connections on which the head of a request is begun, or none at all, and not
        complete in time; idle ones uvicorn closes.
        """

        _late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is None or self.cycle.response_complete:
                self._wait()
            else:
                self._rest()

        def connection_lost(self, exc: Exception | None) -> None:
            self._rest()
            super().connection_lost(exc)

        def _wait(self) -> None:
            self._late = self._late or self.loop.call_later(head_s, self.transport.close)

        def _rest(self) -> None:
            if self._late:
                self._late.cancel()
                self._late = None

    signal.signal(
        signal.SIGTERM,
        lambda *_: None,
        # Uvicorn raises it again once all is ended, and the exit status is to be 0
    )
    sys.setswitchinterval(
        0.0005
        # Of Python's lock; at its usual 5 ms eight clients got 32.7 masks a second on two cores, so
        # 36.6
    )
    log.setLevel(logging.INFO)
    if not log.handlers:
        log.addHandler(logging.StreamHandler(sys.stderr))
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=Impatient,
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(head_s),
        timeout_graceful_shutdown=DRAINED_S,
        lifespan="off",
    )

    class Announced(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.started:
                gc.collect()
                # What is there now stays; to look through all of it now and then held every answer
                # up for some 50 ms
                gc.freeze()
                bound = self.servers[0].sockets[0].getsockname()[1]
                name = _own_address(host) if host in ALL_ADDRESSES else host
                announce(f"http://{f'[{name}]' if ':' in name else name}:{bound}/")
                if reload and hasattr(signal, "SIGHUP"):
                    loop = asyncio.get_running_loop()
                    loop.add_signal_handler(
                        signal.SIGHUP, lambda: [loop.run_in_executor(None, one) for one in reload]
                    )
                    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})

    Announced(config).run()


def _own_address(host: str) -> str:
    """That by which others reach this machine, as far as it knows; nothing is sent."""
    family, elsewhere = (
        (socket.AF_INET6, "2001:db8::1") if ":" in host else (socket.AF_INET, "192.0.2.1")
    )
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as route:
            route.connect((elsewhere, 9))
            return str(route.getsockname()[0])
    except OSError:
        return "localhost"


def _require_free(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except OSError as error:
        raise LimnerError(
            f"{host}, port {port}, cannot be listened on: {error.strerror}. Take another "
            "--port (0 takes a free one), or another --host."
        ) from error
