"""`limner review`: check and correct masks in a browser."""

import logging
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from limner.cli.console import (
    AllowHost,
    Host,
    LogRequests,
    OpenPage,
    Proxy,
    RootPath,
    Store,
    console,
    open_browser,
    parse_root_path,
    progress_bar,
    user_name,
)
from limner.errors import requires_extra

if TYPE_CHECKING:
    from limner.review.predictions import Predictions
    from limner.web.review.opened import OpenedReview

Reviewer = Annotated[
    str | None,
    typer.Option(help="Your name in the record of verdicts. The default is your user name."),
]
Reviewers = Annotated[
    Path | None,
    typer.Option(help='For a team: a TOML file with a line anna = "TOKEN" for each reviewer.'),
]
Order = Annotated[
    str, typer.Option(help="predicted shows the least certain masks first; random shuffles them.")
]
Twice = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        help="The share of the images that several people review (--readers), from 0 to 1.",
    ),
]
Readers = Annotated[
    int,
    typer.Option(min=2, max=20, help="How many people review the images of --twice."),
]
ShareOut = Annotated[
    bool,
    typer.Option(
        "--share-out",
        help="Assign an equal part of the images to each of --reviewers. Who has done theirs gets "
        "those of others.",
    ),
]
Seed = Annotated[
    int,
    typer.Option(help="Draws the random order, the audited tenth and the images reviewed twice."),
]


Classes = Annotated[
    list[str] | None,
    typer.Option(
        help="What is to be drawn in images without masks: lesion, or nucleus,membrane. The page "
        "asks for it otherwise.",
        show_default=False,
    ),
]


def review(
    predictions: Annotated[
        Path,
        typer.Argument(
            help="A folder that limner predict or limner audit wrote, another tool's images and "
            "masks, or images alone, to draw masks in them.",
            show_default=False,
        ),
    ],
    host: Host = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")
    ] = 8010,
    reviewer: Reviewer = None,
    reviewers: Reviewers = None,
    classes: Classes = None,
    allow_host: AllowHost = None,
    root_path: RootPath = "",
    proxy: Proxy = None,
    store: Store = None,
    order: Order = "predicted",
    twice: Twice = 0.0,
    readers: Readers = 2,
    share_out: ShareOut = False,
    seed: Seed = 0,
    open_page: OpenPage = True,
    log: LogRequests = False,
) -> None:
    """Draw, check, correct and accept masks in a browser, the least certain first.

    Every stroke is saved. No model is needed, and no masks either.
    """
    with requires_extra("the review", "review"):
        from limner.web.auth import Access, read_tokens
        from limner.web.forwarded import TrustedProxies, parse_proxies
        from limner.web.review.opened import ReviewOptions, open_review
        from limner.web.server import log_requests
        from limner.web.server import serve as run_server

    tokens = read_tokens(reviewers) if reviewers else {}
    access = Access.for_team(host, tokens, allow_host or ())
    name = reviewer or ("" if access.tokens else user_name("--reviewer"))
    proxies, root = parse_proxies(proxy or ()), parse_root_path(root_path)
    options = ReviewOptions(
        predictions, name, access, root, store, order, twice, readers, share_out, seed
    )
    stated = [each for part in classes or () for each in part.split(",")]
    opened = open_review(options, stated, progress_bar("reading"))
    if opened.session is not None:
        _print_splits(opened.session.predictions)
    announce = partial(_announce, opened, with_tokens=bool(access.tokens), open_page=open_page)
    app = TrustedProxies(opened.app, proxies) if proxies else opened.app
    _print_verdicts()
    if log:
        log_requests()
    try:
        run_server(app, host, port, announce)
    finally:
        if opened.has_begun:
            console.print(escape(opened.summarise(predictions)), soft_wrap=True)


def _print_verdicts() -> None:
    """Print a line for each verdict."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    verdicts = logging.getLogger("limner.review")
    verdicts.addHandler(handler)
    verdicts.setLevel(logging.INFO)


def _announce(opened: "OpenedReview", address: str, *, with_tokens: bool, open_page: bool) -> None:
    """Say what is reviewed and where, and open it in a browser."""
    opened.has_begun = True
    console.print(
        f"{opened.describe()} at [bold]{address}[/] (Ctrl+C ends it; everything is saved).",
        soft_wrap=True,
    )
    if with_tokens:
        console.print(f"Each reviewer is let in once by {address}?token=TOKEN.")
    elif open_page:
        open_browser(address)


def _print_splits(predictions: "Predictions") -> None:
    """Say how many images each split of another tool's folder has."""
    from limner.data.scan import scan
    from limner.data.split_folders import describe_splits, official_splits

    if predictions.from_limner or predictions.models or predictions.is_blank:
        return
    folder = predictions.folder
    splits = describe_splits(folder, official_splits(scan(folder).samples))
    console.print(escape(splits), soft_wrap=True)
