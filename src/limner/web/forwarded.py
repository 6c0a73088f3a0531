"""What a proxy says of a request: X-Forwarded-For, -Proto and -Host, of named proxies alone."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from limner.errors import LimnerError


class TrustedProxies:
    """Takes client, scheme and host of a request from the headers of named proxies.

    Args:
        app: The application.
        proxies: Addresses or networks, as of `parse_proxies`.
    """

    def __init__(self, app: ASGIApp, proxies: Sequence[IPv4Network | IPv6Network]) -> None:
        self._proxies = tuple(proxies)
        inner: Any = ProxyHeadersMiddleware
        self._app: ASGIApp = inner(app, trusted_hosts=[str(proxy) for proxy in proxies])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._is_proxy(scope.get("client")):
            names = [value for name, value in scope["headers"] if name == b"x-forwarded-host"]
            if names:
                # Of several proxies the nearest, which is trusted, has written the last one
                host = names[-1].split(b",")[-1].strip()
                others = [header for header in scope["headers"] if header[0] != b"host"]
                scope = {**scope, "headers": [(b"host", host), *others]}
        await self._app(scope, receive, send)

    def _is_proxy(self, client: tuple[str, int] | None) -> bool:
        if client is None:
            return False
        try:
            address = ip_address(client[0])
        except ValueError:
            return False
        return any(address in proxy for proxy in self._proxies)


def parse_proxies(texts: Sequence[str]) -> list[IPv4Network | IPv6Network]:
    """Read addresses and networks. Raises LimnerError for what is neither."""
    networks = []
    for text in texts:
        try:
            networks.append(ip_network(text))
        except ValueError as error:
            raise LimnerError(
                f"--proxy {text} is no address: {error}. Give that of the proxy as this machine "
                "sees it, such as 127.0.0.1, or a network such as 10.0.0.0/8."
            ) from error
    return networks
