"""Who may call: closed by default. A page elsewhere cannot reach the service through a person's
browser, and a stranger cannot at all.

Host and Origin are checked because a browser sends requests for any page that is open in it, and a
name may be made to point to loopback (DNS rebinding); the token because other machines are not
browsers.
"""

import hmac
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote, urlsplit

from starlette.datastructures import Headers

from limner.errors import LimnerError

COOKIE = "limner-token"
ALL_ADDRESSES = frozenset({"0.0.0.0", "::"})
"""What listening on all of a machine's addresses is called."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
PUBLIC_PATHS = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
"""What may be asked without a token: whether the service lives says nothing else of it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    message: str


@dataclass(frozen=True, slots=True)
class Access:
    """The names that the service answers to, besides those of loopback, and whose tokens it wants,
    if any's.
    """

    hosts: frozenset[str] = frozenset()
    tokens: Mapping[str, str] = field(default_factory=dict)
    by_address: bool = False
    """Whether any IP address will do for a name, since the service listens on all; a name can be
    pointed elsewhere, an address cannot.
    """

    @classmethod
    def for_address(cls, host: str, token: str | None, hosts: Collection[str] = ()) -> "Access":
        """What suits an address to listen on. Raises LimnerError where others could reach it
        without a token.
        """
        if not is_loopback(host) and token is None:
            raise LimnerError(
                f"--host {host} lets other machines in, and there is no token. Give one with --token or LIMNER_TOKEN, "
                "or stay on this machine with --host 127.0.0.1."
            )
        return cls.for_callers(host, {} if token is None else {"": token}, hosts)

    @classmethod
    def for_team(
        cls, host: str, tokens: Mapping[str, str], hosts: Collection[str] = ()
    ) -> "Access":
        """The same for reviewers. Raises LimnerError where others could reach the address without a
        token, or a token is no secret.
        """
        if not is_loopback(host) and not tokens:
            raise LimnerError(
                f"--host {host} lets other machines in, and nobody has a token. Name who may come with --reviewers reviewers.toml, in which a line is "
                'anna = "TOKEN", or stay on this machine with --host 127.0.0.1.'
            )
        return cls.for_callers(host, tokens, hosts)

    @classmethod
    def for_callers(
        cls, host: str, tokens: Mapping[str, str], hosts: Collection[str] = ()
    ) -> "Access":
        """The same for callers that are known by name, each by a token. Raises LimnerError where a
        token is no secret.
        """
        if any(len(token) < 16 for token in tokens.values()) or len(set(tokens.values())) < len(
            tokens
        ):
            raise LimnerError(
                "a token is too short to be a secret, or two callers have the same. Take at least 16 characters, such as those of: "
                "python -c 'import secrets; print(secrets.token_hex())'"
            )
        names = frozenset(
            name.lower().strip("[]") for name in (host, *hosts) if name not in ALL_ADDRESSES
        )
        return cls(names, dict(tokens), by_address=host in ALL_ADDRESSES)

    def refusal(self, method: str, path: str, headers: Headers) -> Refusal | None:
        """Why a request is not served, if so; its body was not looked at."""
        hosts = headers.getlist("host")
        name = _name(hosts[0]) if len(hosts) == 1 else None
        if name is None or not self._answers_to(name):
            return Refusal(
                400,
                (
                    "the Host of the request is none that this service answers to. Name it with "
                    "--allow-host, or call it by its address."
                ),
            )
        foreign = headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}
        if method not in SAFE_METHODS:
            origins = headers.getlist("origin")
            if len(origins) > 1 or (origins and not self._same(origins[0], hosts[0])) or foreign:
                return Refusal(
                    403,
                    (
                        "the request comes from a page of another origin, which may change "
                        "nothing here."
                    ),
                )
        elif foreign and headers.get("sec-fetch-mode") != "navigate":
            return Refusal(
                403,
                "the request comes from a page of another origin, which may show nothing of this.",
            )
        if self.tokens and path not in PUBLIC_PATHS and self.caller(headers) is None:
            return Refusal(
                401, "there is no token, or a wrong one. Send it as: Authorization: Bearer TOKEN"
            )
        return None

    def name_of_token(self, given: str) -> str | None:
        """Whose token that is; all are compared, each in constant time."""
        same = [
            name
            for name, token in self.tokens.items()
            if hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())
        ]
        return same[0] if same else None

    def caller(self, headers: Headers) -> str | None:
        """Whose token a request bears."""
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind:
            return self.name_of_token(given.strip()) if kind.lower() == "bearer" else None
        cookies = dict(
            part.strip().partition("=")[::2] for part in headers.get("cookie", "").split(";")
        )
        name = cookie_name(headers)
        return self.name_of_token(unquote(cookies[name])) if name in cookies else None

    def _answers_to(self, name: str) -> bool:
        return name in self.hosts or is_loopback(name) or (self.by_address and _is_address(name))

    def _same(self, origin: str, host: str) -> bool:
        try:
            parts = urlsplit(origin)
            return (
                parts.scheme in {"http", "https"}
                and parts.netloc.lower() == host.lower()
                and not parts.path.strip("/")
            )
        except ValueError:
            return False


def read_tokens(path: Path) -> dict[str, str]:
    """Names and their tokens from a TOML file. Raises LimnerError where it cannot be read or holds
    anything else.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LimnerError(
            f'{path} cannot be read ({error}). A line of it is anna = "TOKEN".'
        ) from error
    if not table or not all(
        isinstance(token, str) and name.strip() and len(name) <= 100
        for name, token in table.items()
    ):
        raise LimnerError(
            f'{path} holds something else than names and tokens. A line of it is anna = "TOKEN".'
        )
    return table


def cookie_name(headers: Headers) -> str:
    """That of the token of the service on this port, since a browser sends the cookies of all ports
    of a host.
    """
    return f"{COOKIE}-{urlsplit('//' + headers['host']).port or 'default'}"


def _is_address(name: str) -> bool:
    """Whether it is an IP address that a machine can have."""
    try:
        return not ip_address(name.strip("[]")).is_unspecified
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
        # Raises where it is no number
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname
