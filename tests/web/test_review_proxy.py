"""The review page behind a real nginx, as people set it up."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from review_page import SIZE, brush, drag, saved, shown, watched
from service import Served
from waiting import wait_until

SERVERS = {
    "its defaults": "location / {{ proxy_pass http://{inner}; }}",
    "a Host without its port": (
        "location / {{ proxy_pass http://{inner}; proxy_set_header Host $host; }}"
    ),
    "the Host of the request": (
        "location / {{ proxy_pass http://{inner}; proxy_set_header Host $http_host; }}"
    ),
    "a path": (
        "location /limner/ {{ proxy_pass http://{inner}/; proxy_set_header Host $http_host; }}"
    ),
}
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture
def proxies(review: Served, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The address of the page behind each of `SERVERS`."""
    inner = review.address.removeprefix("http://").rstrip("/")
    ports = free_ports(len(SERVERS))
    servers = [
        f"server {{ listen 127.0.0.1:{port}; {location.format(inner=inner)} }}"
        for port, location in zip(ports, SERVERS.values(), strict=True)
    ]
    paths = [f"{name}_temp_path {tmp_path}/{name};" for name in TEMPORARY]
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log; events {{}}\n"
        f"http {{ access_log off; {' '.join(paths)}\n" + "\n".join(servers) + "\n}\n"
    )
    command = ["nginx", "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_until(lambda: all(is_open(port) for port in ports))
    addresses = [f"http://localhost:{port}/" for port in ports]
    addresses[-1] += "limner/"
    yield dict(zip(SERVERS, addresses, strict=True))
    process.terminate()
    process.wait(30)


def is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_strokes_are_saved_behind_nginx(proxies: dict[str, str], browser: Browser) -> None:
    for place, (name, address) in enumerate(proxies.items()):
        with browser.new_context(viewport=SIZE) as context:  # type: ignore[arg-type]
            page = watched(context.new_page())
            page.goto(address)
            shown(page, 0)
            brush(page, 5)
            drag(page, (5 + place, 5), (20, 20))
            saved(page)
            assert page.inner_text("#saved") == "saved", name
            assert page.wrong == [], name  # type: ignore[attr-defined]
