"""`limner review`: check and correct masks in a browser."""

import getpass
import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from limner.cli.console import AllowHost, Host, Store, console, progress_bar
from limner.errors import LimnerError, requires_extra
from limner.plurals import count_noun

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
    typer.Option(min=0, max=1, help="The share of the images that two people review, from 0 to 1."),
]
Seed = Annotated[
    int,
    typer.Option(help="Draws the random order, the audited tenth and the images reviewed twice."),
]


def review(
    predictions: Annotated[
        Path,
        typer.Argument(
            help="A folder that limner predict or limner audit wrote, or another tool's images and "
            "masks.",
            show_default=False,
        ),
    ],
    host: Host = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")
    ] = 8010,
    reviewer: Reviewer = None,
    reviewers: Reviewers = None,
    allow_host: AllowHost = None,
    store: Store = None,
    order: Order = "predicted",
    twice: Twice = 0.0,
    seed: Seed = 0,
    open_page: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.")
    ] = True,
) -> None:
    """Check, correct and accept masks in a browser, the least certain first.

    Every stroke is saved. No model is needed.
    """
    with requires_extra("the review", "review"):
        from limner.review.predictions import read_predictions
        from limner.review.queue import order_tasks
        from limner.review.session import ReviewSession
        from limner.review.verdicts import open_store
        from limner.web.auth import Access, read_tokens
        from limner.web.review.app import create_review_app
        from limner.web.server import serve as run_server

    tokens = read_tokens(reviewers) if reviewers else {}
    access = Access.for_team(host, tokens, allow_host or ())
    entries = read_predictions(predictions, progress_bar("reading"))
    tasks = order_tasks(entries.entries, seed, twice, order)
    session = ReviewSession(entries, tasks, open_store(predictions, store))

    if not entries.from_limner and not entries.models:
        _print_splits(predictions)

    def announce(address: str) -> None:
        progress = session.progress()
        console.print(
            f"{progress.left} of {count_noun(len(session.tasks), 'mask')} left to review at "
            f"[bold]{address}[/] (Ctrl+C ends it; everything is saved)."
        )
        if progress.audit:
            console.print(progress.audit)
        if access.tokens:
            console.print(f"Each reviewer is let in once by {address}?token=TOKEN.")
        elif open_page:
            # A browser in the terminal would be waited for
            threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()

    name = reviewer or ("" if access.tokens else _user_name())
    run_server(create_review_app(session, name, access), host, port, announce)


def _print_splits(folder: Path) -> None:
    """Say how many images each split of another tool's folder has."""
    from limner.data.scan import scan
    from limner.data.split_folders import describe_splits, official_splits

    splits = describe_splits(folder, official_splits(scan(folder).samples))
    console.print(escape(splits), soft_wrap=True)


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise LimnerError(
            "this machine has no name for you. Say who you are with --reviewer NAME."
        ) from error
