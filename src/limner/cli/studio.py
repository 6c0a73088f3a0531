"""`limner studio`: the whole circle in one page."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.console import (
    AllowHost,
    Host,
    LogRequests,
    OpenPage,
    Proxy,
    RootPath,
    console,
    open_browser,
    parse_root_path,
    user_name,
)
from limner.errors import LimnerError, requires_extra

if TYPE_CHECKING:
    from limner.web.studio.context import StudioContext

Folder = Annotated[
    Path | None,
    typer.Argument(help="A folder of images, which the page begins with.", show_default=False),
]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="LIMNER_TOKEN",
        help="Your secret, where other machines reach the page. Whoever has it may do everything.",
    ),
]
Reviewers = Annotated[
    Path | None,
    typer.Option(
        help='A TOML file with a line anna = "TOKEN" for each person who may look and review, and '
        "nothing else."
    ),
]


def studio(
    folder: Folder = None,
    host: Host = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")
    ] = 8020,
    token: Token = None,
    reviewers: Reviewers = None,
    allow_host: AllowHost = None,
    root_path: RootPath = "",
    proxy: Proxy = None,
    open_page: OpenPage = True,
    log: LogRequests = False,
) -> None:
    """Open a page that leads from a folder of images to a model, masks, corrections, and back.

    Each step is a command of limner. Training goes on when the page or this server is closed.
    """
    with requires_extra("the studio", "studio"):
        from limner.data.cache import cache_folder
        from limner.web.auth import Access, read_tokens
        from limner.web.forwarded import TrustedProxies, parse_proxies
        from limner.web.server import is_ending, log_requests
        from limner.web.server import serve as run_server
        from limner.web.studio.app import create_studio_app
        from limner.web.studio.context import StudioContext

    names = read_tokens(reviewers) if reviewers else {}
    user = user_name("LOGNAME=")
    if names and token is None:
        raise LimnerError("--reviewers needs a --token too: yours, with which you may do all else.")
    if user in names:
        raise LimnerError(
            f"{user}, who opens the studio, is among --reviewers. Leave the line out."
        )
    tokens = {**names, **({user: token} if token else {})}
    if not tokens:
        access = Access.for_address(host, None, allow_host or ())
    else:
        access = Access.for_callers(host, tokens, allow_host or ())
    context = StudioContext(
        cache_folder() / "studio", user, access, frozenset(names), is_ending=is_ending
    )
    start = _open_folder(context, folder) if folder else ""
    app = create_studio_app(context, parse_root_path(root_path))
    proxies = parse_proxies(proxy or ())
    if log:
        log_requests()
    announce = partial(_announce, start, with_tokens=bool(tokens), open_page=open_page)
    run_server(TrustedProxies(app, proxies) if proxies else app, host, port, announce)


def _open_folder(context: "StudioContext", folder: Path) -> str:
    """Open a project, and give the address of its page. Raises LimnerError for no folder."""
    from limner.studio.projects import project_id

    if not folder.is_dir():
        raise LimnerError(f"{folder} is not a folder. Give the folder of your images.")
    context.recent.add(folder.resolve())
    return f"#{project_id(folder.resolve())}"


def _announce(start: str, address: str, *, with_tokens: bool, open_page: bool) -> None:
    """Say where the page is, and open it in a browser."""
    console.print(
        f"The studio is at [bold]{address}{start}[/] (Ctrl+C ends it; jobs go on).",
        soft_wrap=True,
    )
    if with_tokens:
        console.print(f"Each person is let in once by {address}?token=TOKEN.")
    elif open_page:
        open_browser(f"{address}{start}")
