"""Access control: which hosts, origins and tokens a request may come with.

Host and Origin are checked because a browser sends requests for any page that is open in it, and
because a name may be made to point to loopback (DNS rebinding). Tokens are checked because other
machines send what they like. All of it is closed by default.
"""

import hmac
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote, urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from limner.errors import LimnerError

COOKIE = "limner-token"
ALL_ADDRESSES = frozenset({"0.0.0.0", "::"})
"""The hosts that stand for all of a machine's addresses."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
PUBLIC_PATHS = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
"""Paths that need no token: they only say whether the service runs."""
MIN_TOKEN_LENGTH = 16
MAX_NAME_LENGTH = 100


@dataclass(frozen=True, slots=True)
class Refusal:
    """The status and message of a request that is not served."""

    status: int
    message: str


@dataclass(frozen=True, slots=True)
class Access:
    """The hosts that the service answers to besides loopback, and the tokens that it asks for."""

    hosts: frozenset[str] = frozenset()
    tokens: Mapping[str, str] = field(default_factory=dict)
    """By the caller's name."""
    by_address: bool = False
    """Whether any IP address is a valid host, since the service listens on all of them.

    A name can be made to point elsewhere, an address cannot.
    """
    origins: frozenset[str] = frozenset()
    """The origins whose pages may call, such as https://example.org; "*" stands for all."""

    @classmethod
    def for_address(cls, host: str, token: str | None, hosts: Collection[str] = ()) -> "Access":
        """The access of a service with one token or none.

        Args:
            host: the address that it listens on.
            token: what every caller must send.
            hosts: more names that it answers to.

        Raises LimnerError where other machines could reach the address without a token, and for a
        token that is too short.
        """
        if not is_loopback(host) and token is None:
            raise LimnerError(
                f"--host {host} lets other machines in, and there is no token. Give one with "
                "--token or LIMNER_TOKEN, or stay on this machine with --host 127.0.0.1."
            )
        return cls.for_callers(host, {} if token is None else {"": token}, hosts)

    @classmethod
    def for_team(
        cls, host: str, tokens: Mapping[str, str], hosts: Collection[str] = ()
    ) -> "Access":
        """The access of a review, where each reviewer has a token.

        Raises LimnerError where other machines could reach the address without a token, and as
        `for_callers` does.
        """
        if not is_loopback(host) and not tokens:
            raise LimnerError(
                f"--host {host} lets other machines in, and nobody has a token. Name who may come "
                'with --reviewers reviewers.toml, in which a line is anna = "TOKEN", or stay on '
                "this machine with --host 127.0.0.1."
            )
        return cls.for_callers(host, tokens, hosts)

    @classmethod
    def for_callers(
        cls, host: str, tokens: Mapping[str, str], hosts: Collection[str] = ()
    ) -> "Access":
        """The access of callers that are known by name, each by a token.

        Raises LimnerError for a token that is too short, and for two that are the same.
        """
        too_short = any(len(token) < MIN_TOKEN_LENGTH for token in tokens.values())
        if too_short or len(set(tokens.values())) < len(tokens):
            raise LimnerError(
                "a token is too short to be a secret, or two callers have the same. Take at least "
                f"{MIN_TOKEN_LENGTH} characters, such as those of: "
                "python -c 'import secrets; print(secrets.token_hex())'"
            )
        names = frozenset(
            name.lower().strip("[]") for name in (host, *hosts) if name not in ALL_ADDRESSES
        )
        return cls(names, dict(tokens), by_address=host in ALL_ADDRESSES)

    def with_origins(self, origins: Collection[str]) -> "Access":
        """The same access, and for pages of other origins.

        Raises LimnerError for what is no origin.
        """
        for origin in origins:
            parts = urlsplit(origin)
            if origin != "*" and (not parts.netloc or origin != f"{parts.scheme}://{parts.netloc}"):
                raise LimnerError(
                    f"--allow-origin {origin} is no origin. That is scheme, name and port alone, "
                    "such as https://example.org or http://localhost:3000."
                )
        return replace(self, origins=frozenset(origin.lower() for origin in origins))

    def refusal(self, method: str, path: str, headers: Headers) -> Refusal | None:
        """Why a request is not served, None where it is. Its body is not looked at."""
        hosts = headers.getlist("host")
        name = _host_name(hosts[0]) if len(hosts) == 1 else None
        if name is None or not self._answers_to(name):
            return Refusal(
                400,
                "the Host of the request is none that this service answers to. Name it with "
                "--allow-host, or call it by its address.",
            )
        if self._allows_origin(headers):
            pass
        elif method not in SAFE_METHODS:
            if _is_cross_site(headers) or not _is_same_origin(headers, hosts[0]):
                return Refusal(
                    403,
                    "the request comes from a page of another origin, which may change nothing "
                    "here. If a proxy stands before this service, let it pass on the Host of the "
                    "request (nginx: proxy_set_header Host $http_host), or send X-Forwarded-Host "
                    "and name the proxy with --proxy.",
                )
        elif _is_cross_site(headers) and headers.get("sec-fetch-mode") != "navigate":
            return Refusal(
                403,
                "the request comes from a page of another origin, which may show nothing of this.",
            )
        if self.tokens and path not in PUBLIC_PATHS and self.caller(headers) is None:
            return Refusal(
                401, "there is no token, or a wrong one. Send it as: Authorization: Bearer TOKEN"
            )
        return None

    def name_of_token(self, token: str) -> str | None:
        """The name of the caller with a token. All tokens are compared, each in constant time."""
        names = [
            name
            for name, expected in self.tokens.items()
            if hmac.compare_digest(token.encode("utf-8", "surrogateescape"), expected.encode())
        ]
        return names[0] if names else None

    def caller(self, headers: Headers) -> str | None:
        """The name of the caller, by the Authorization header, or else by the cookie."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme:
            return self.name_of_token(token.strip()) if scheme.lower() == "bearer" else None
        cookies = cookie_parser(headers.get("cookie", ""))
        name = cookie_name(headers)
        return self.name_of_token(unquote(cookies[name])) if name in cookies else None

    def _allows_origin(self, headers: Headers) -> bool:
        """Whether the request comes from a page of an origin that may call."""
        sent = headers.getlist("origin")
        return len(sent) == 1 and ("*" in self.origins or sent[0].lower() in self.origins)

    def _answers_to(self, name: str) -> bool:
        return name in self.hosts or is_loopback(name) or (self.by_address and _is_address(name))


def read_tokens(path: Path) -> dict[str, str]:
    """Read the names and tokens of reviewers from a TOML file.

    Raises LimnerError where it cannot be read, or holds anything else.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LimnerError(
            f'{path} cannot be read ({error}). A line of it is anna = "TOKEN".'
        ) from error
    if not table or not all(
        isinstance(token, str) and name.strip() and len(name) <= MAX_NAME_LENGTH
        for name, token in table.items()
    ):
        raise LimnerError(
            f'{path} holds something else than names and tokens. A line of it is anna = "TOKEN".'
        )
    return table


def cookie_name(headers: Headers) -> str:
    """The name of the cookie with the token of the service on this port.

    A browser sends the cookies of all ports of a host, so that each port needs a name of its own.
    """
    return f"{COOKIE}-{urlsplit('//' + headers['host']).port or 'default'}"


def _is_cross_site(headers: Headers) -> bool:
    """Whether a browser says that a page of another origin sent the request."""
    return headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}


def _is_same_origin(headers: Headers, host: str) -> bool:
    """Whether there is no Origin, or one that is the service's own.

    What a browser says of the site counts first: it knows the address that it called, which a proxy
    may have changed. No page can make it say otherwise (Fetch Metadata). It says it over https and
    on this machine.
    """
    if headers.get("sec-fetch-site") == "same-origin":
        return True
    origins = headers.getlist("origin")
    if not origins:
        return True
    try:
        parts = urlsplit(origins[0])
    except ValueError:
        return False
    return (
        len(origins) == 1
        and parts.scheme in {"http", "https"}
        and parts.netloc.lower() == host.lower()
        and not parts.path.strip("/")
    )


def _is_address(name: str) -> bool:
    """Whether it is an IP address that a machine can have."""
    try:
        return not ip_address(name.strip("[]")).is_unspecified
    except ValueError:
        return False


def is_loopback(name: str) -> bool:
    """Whether a name or address is this machine alone."""
    if name.lower() == "localhost":
        return True
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _host_name(host: str) -> str | None:
    """The name in a Host header, without the port; None where the header is malformed."""
    if any(character in host for character in " /@\\,#?\t") or not host.isascii():
        return None
    try:
        parts = urlsplit(f"//{host}")
        # Raises ValueError where it is not a number
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname
