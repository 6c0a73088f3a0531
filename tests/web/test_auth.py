from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from limner.errors import LimnerError
from limner.web.auth import Access, is_loopback

TOKEN = "0123456789abcdef"
GOOD_HOSTS = [
    "localhost",
    "localhost:8000",
    "LOCALHOST:8000",
    "127.0.0.1",
    "127.0.0.1:80",
    "127.9.9.9",
    "[::1]",
    "[::1]:8000",
    "masks.example",
    "Masks.Example:443",
]
BAD_HOSTS = [
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil.example:80",
    "localhost:abc",
    "localhost@evil.example",
    "evil.example#localhost",
    "[::1",
    "10.0.0.1",
    "0.0.0.0",
    "",
    "localhost/x",
    "localhost, evil.example",
    "\u212aocalhost",
    "localhost:99999",
    "[::2]",
    "masks.example.",
]
METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
CHANGES = ["POST", "PUT", "PATCH", "DELETE", "PROPFIND", "post"]


def status_of(
    method: str = "GET", path: str = "/v1/segment", access: Access | None = None, **headers: str
) -> int:
    """The status of a refusal, 200 where there is none."""
    raw = [
        (name.replace("_", "-").encode(), value.encode("latin-1", "replace"))
        for name, value in {"host": "localhost:8000", **headers}.items()
    ]
    refusal = (access or Access(frozenset({"masks.example"}))).refusal(
        method, path, Headers(raw=raw)
    )
    return refusal.status if refusal else 200


@pytest.mark.parametrize(("host", "method"), [*product(GOOD_HOSTS, ["GET", "POST", "DELETE"])])
def test_known_hosts_are_answered(host: str, method: str) -> None:
    assert status_of(method, host=host) == 200


@pytest.mark.parametrize(("host", "method"), [*product(BAD_HOSTS, METHODS)])
def test_other_hosts_are_refused(host: str, method: str) -> None:
    assert status_of(method, host=host) == 400


@pytest.mark.parametrize("count", [0, 2])
def test_a_request_has_one_host(count: int) -> None:
    refusal = Access().refusal("GET", "/", Headers(raw=[(b"host", b"localhost")] * count))
    assert refusal is not None and refusal.status == 400


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:8000", 200),
        ("HTTP://LOCALHOST:8000", 200),
        ("http://localhost:8001", 403),
        ("http://localhost", 403),
        ("http://127.0.0.1:8000", 403),
        ("null", 403),
        ("http://evil.example", 403),
        ("http://localhost:8000.evil.example", 403),
        ("file://", 403),
        ("http://localhost:8000/x", 403),
        ("", 403),
        ("chrome-extension://localhost:8000", 403),
        ("http://user@localhost:8000", 403),
        ("http://[", 403),
    ],
)
@pytest.mark.parametrize("method", CHANGES)
def test_pages_of_other_origins_change_nothing(origin: str, status: int, method: str) -> None:
    assert status_of(method, origin=origin) == status
    assert status_of("GET", origin=origin) == 200


@pytest.mark.parametrize(
    ("site", "status"),
    [("same-origin", 200), ("none", 200), ("cross-site", 403), ("same-site", 403), ("?", 403)],
)
def test_requests_that_a_browser_calls_cross_site_are_refused(site: str, status: int) -> None:
    assert status_of("POST", sec_fetch_site=site) == status
    assert status_of("GET", sec_fetch_site=site, sec_fetch_mode="no-cors") == status
    assert status_of("GET", sec_fetch_site=site, sec_fetch_mode="navigate") == 200


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": f"Bearer {TOKEN}"}, 200),
        ({"authorization": f"bearer  {TOKEN} "}, 200),
        ({"authorization": f"Basic {TOKEN}"}, 401),
        ({"authorization": TOKEN}, 401),
        ({"authorization": f"Bearer {TOKEN}x"}, 401),
        ({"authorization": f"Bearer {TOKEN[:-1]}"}, 401),
        ({"authorization": "Bearer \xe9"}, 401),
        ({"cookie": f"a=b; limner-token-8000={TOKEN}"}, 200),
        ({"cookie": "limner-token-8000=wrong"}, 401),
        ({"authorization": "Bearer wrong", "cookie": f"limner-token-8000={TOKEN}"}, 401),
        ({"cookie": f"limner-token-8001={TOKEN}"}, 401),
    ],
)
def test_a_token_is_asked_for_with_all_methods(
    method: str, headers: dict[str, str], status: int
) -> None:
    access = Access(tokens={"anna": TOKEN})
    assert status_of(method, access=access, **headers) == status
    assert status_of(method, "/healthz", access=access) == 200
    assert (
        status_of(method, "/healthz/", access=access)
        == status_of(method, "/HEALTHZ", access=access)
        == status_of(method, "/metrics", access=access)
        == 401
    )


@given(st.text(max_size=40))
def test_no_other_token_is_accepted(token: str) -> None:
    assert (Access(tokens={"anna": TOKEN}).name_of_token(token) == "anna") == (token == TOKEN)
    assert Access().name_of_token(token) is None


def test_an_address_that_others_reach_needs_a_token() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.2", "myhost"):
        with pytest.raises(LimnerError, match="lets other machines in"):
            Access.for_address(host, None)
        assert Access.for_address(host, TOKEN).name_of_token(TOKEN) == ""
    with pytest.raises(LimnerError, match="too short"):
        Access.for_address("127.0.0.1", "short")
    assert (
        not Access.for_address("127.0.0.1", None).tokens
        and is_loopback("::1")
        and not is_loopback("localhost.example")
    )


@pytest.mark.parametrize(
    ("host", "name", "status"),
    [
        ("0.0.0.0", "0.0.0.0", 400),
        ("0.0.0.0", "192.168.1.5:8010", 401),
        ("0.0.0.0", "myhost:8010", 400),
        ("::", "[2001:db8::7]:8010", 401),
        ("::", "[::]", 400),
        ("192.168.1.5", "192.168.1.5", 401),
        ("192.168.1.5", "192.168.1.6", 400),
        ("127.0.0.1", "192.168.1.5", 400),
    ],
)
def test_on_all_addresses_any_address_is_a_host_and_no_name(
    host: str, name: str, status: int
) -> None:
    assert status_of(access=Access.for_address(host, TOKEN), host=name) == status
