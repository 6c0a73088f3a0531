"""Who may call: closed by default. A page elsewhere cannot reach the service through a person's browser, and a stranger cannot at all.

Host and Origin are checked because a browser sends requests for any page that is open in it, and a name may be made to point to loopback
(DNS rebinding); the token because other machines are not browsers.
"""

import hmac
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from limner.errors import LimnerError

COOKIE = "limner-token"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
"""What may be asked without a token: whether the service lives says nothing else of it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    message: str


@dataclass(frozen=True, slots=True)
class Access:
    """The names that the service answers to, besides those of loopback, and the token that it wants, if any."""

    hosts: frozenset[str] = frozenset()
    token: str | None = None

    @classmethod
    def of(cls, host: str, token: str | None, hosts: Collection[str] = ()) -> "Access":
        """What suits an address to listen on. Raises LimnerError where others could reach it without a token."""
        if token is not None and len(token) < 16:
            raise LimnerError(
                "the token is too short to be a secret. Take at least 16 characters, such as those of: python -c 'import secrets; print(secrets.token_hex())'"
            )
        if not is_loopback(host) and token is None:
            raise LimnerError(
                f"--host {host} lets other machines in, and there is no token. Give one with --token or LIMNER_TOKEN, "
                "or stay on this machine with --host 127.0.0.1."
            )
        return cls(frozenset(name.lower().strip("[]") for name in (host, *hosts) if name not in {"0.0.0.0", "::"}), token)

    def refusal(self, method: str, path: str, headers: Headers) -> Refusal | None:
        """Why a request is not served, if so; its body was not looked at."""
        hosts = headers.getlist("host")
        name = _name(hosts[0]) if len(hosts) == 1 else None
        if name is None or not self._answers_to(name):
            return Refusal(400, "the Host of the request is none that this service answers to. Name it with --allow-host, or call it by its address.")
        if method not in SAFE:
            origins = headers.getlist("origin")
            if len(origins) > 1 or (origins and not self._same(origins[0], hosts[0])) or headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
                return Refusal(403, "the request comes from a page of another origin, which may change nothing here.")
        if self.token is not None and path not in OPEN and not self._known(headers):
            return Refusal(401, "there is no token, or a wrong one. Send it as: Authorization: Bearer TOKEN")
        return None

    def is_token(self, given: str) -> bool:
        """In constant time."""
        return self.token is not None and hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self.token.encode())

    def _known(self, headers: Headers) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind:
            return kind.lower() == "bearer" and self.is_token(given.strip())
        cookies = dict(part.strip().partition("=")[::2] for part in headers.get("cookie", "").split(";"))
        return COOKIE in cookies and self.is_token(cookies[COOKIE])

    def _answers_to(self, name: str) -> bool:
        return name in self.hosts or is_loopback(name)

    def _same(self, origin: str, host: str) -> bool:
        try:
            parts = urlsplit(origin)
            return parts.scheme in {"http", "https"} and parts.netloc.lower() == host.lower() and not parts.path.strip("/")
        except ValueError:
            return False


def is_loopback(name: str) -> bool:
    """Whether a name or address can be this machine alone."""
    if name.lower() == "localhost":
        return True
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str | None:
    """The name of a Host header, its port stripped; None where it is malformed."""
    if any(letter in host for letter in " /@\\,#?\t") or not host.isascii():
        return None
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises where it is no number
    except ValueError:
        return None
    return parts.hostname
