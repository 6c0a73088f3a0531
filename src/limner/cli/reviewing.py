"""`limner review`, `limner merge`, `limner masks` and `limner loop`."""

import getpass
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from limner.cli.console import DataFolder, console, progress_bar, report_errors
from limner.errors import LimnerError

if TYPE_CHECKING:
    from limner.review.predictions import Predictions
    from limner.review.store import ReviewStore


def review(
    predictions: Annotated[
        Path,
        typer.Argument(
            help="what limner predict wrote, or a folder of images and masks of another tool",
            show_default=False,
        ),
    ],
    host: Annotated[
        str, typer.Option(help="the address to listen on; one that others reach needs --reviewers")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8010,
    reviewer: Annotated[
        str | None, typer.Option(help="who you are; your name on this machine by default")
    ] = None,
    reviewers: Annotated[
        Path | None,
        typer.Option(help='a TOML file of names and tokens, such as anna = "...", for a team'),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="another name that the page is called by, such as that of a proxy"),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            envvar="LIMNER_STORE",
            help="postgresql://user:password@host/name; a file beside the predictions by default",
        ),
    ] = None,
    order: Annotated[
        str, typer.Option(help="predicted: those that are least certain first; or random")
    ] = "predicted",
    twice: Annotated[
        float, typer.Option(min=0, max=1, help="the share of the images that two people look at")
    ] = 0.0,
    seed: Annotated[
        int, typer.Option(help="of a random order, of the audited tenth and of those seen twice")
    ] = 0,
    open_page: Annotated[
        bool, typer.Option("--open/--no-open", help="open the page in a browser")
    ] = True,
) -> None:
    """Check, mend and accept masks in a browser: the least certain first, every stroke saved; no
    model is needed.
    """
    with report_errors():
        try:
            from limner.review.predictions import read_predictions
            from limner.review.queue import order_tasks
            from limner.review.session import ReviewSession
            from limner.review.store import ReviewStore
            from limner.web.auth import Access, read_tokens
            from limner.web.review.app import create_review_app
            from limner.web.server import serve as run
        except ImportError as error:
            raise LimnerError(
                f"the review needs {error.name}, which is not installed: pip install "
                "'limner[review]'."
            ) from error

        access = Access.for_team(
            host, read_tokens(reviewers) if reviewers else {}, allow_host or ()
        )
        found = read_predictions(predictions, progress_bar("reading"))
        desk = ReviewSession(
            found,
            order_tasks(found.entries, seed, twice, order),
            ReviewStore(store) if store else ReviewStore.in_folder(predictions / "review"),
        )

        def announce(address: str) -> None:
            progress = desk.progress()
            console.print(
                f"{progress.left} of {len(desk.tasks)} masks are left to review at "
                f"[bold]{address}[/] (Ctrl+C ends it; everything is saved)."
            )
            if progress.audit:
                console.print(progress.audit)
            if access.tokens:
                console.print(f"Each reviewer is let in once by {address}?token=TOKEN.")
            elif open_page:
                threading.Thread(
                    target=webbrowser.open,
                    args=[address],
                    daemon=True,
                    # One in the terminal is waited for
                ).start()

        run(
            create_review_app(desk, reviewer or ("" if access.tokens else _own_name()), access),
            host,
            port,
            announce,
        )


def merge(
    predictions: Annotated[Path, typer.Argument(help="what was reviewed", show_default=False)],
    data: Annotated[
        Path,
        typer.Argument(
            help="the folder of images and masks that it is added to; it stays as it is",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="the new folder: the next revision", show_default=False),
    ],
    prefer: Annotated[
        str | None, typer.Option(help="whose verdict counts where two reviewers differ")
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="reviewed masks take the place of those of the same images"),
    ] = False,
    store: Annotated[
        str | None,
        typer.Option(
            envvar="LIMNER_STORE",
            help="the review's database, where it is not beside the predictions",
        ),
    ] = None,
) -> None:
    """Make accepted and mended masks the next revision of a dataset; every mask in it tells where
    it is from.

    Conflicts and images that were changed since are errors, all told together. Go on with: limner
    train NEW --from RUN
    """
    with report_errors():
        found, memory = _reviewed(predictions, store)
        from limner.review.merge import PROVENANCE
        from limner.review.merge import merge as write

        merged = write(
            found,
            memory,
            data,
            out,
            prefer=prefer,
            replacing=replace,
            progress=progress_bar("checking"),
        )
        console.print(
            f"[bold]{escape(str(out))}[/] has the {merged.before} samples of {escape(str(data))} and {merged.added} new ones; {merged.replaced} masks were "
            f"reviewed anew. {merged.rejected} were rejected, {merged.left} are not reviewed "
            f"yet. {PROVENANCE} says where each is from."
        )
        if merged.agreement:
            console.print(
                f"{len(merged.agreement)} masks were kept by two people each; the Dice between the two is {sum(merged.agreement) / len(merged.agreement):.4f} "
                f"in the mean and {min(merged.agreement):.4f} at the least."
            )


def masks(
    predictions: Annotated[Path, typer.Argument(help="what was reviewed", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="a new folder", show_default=False)],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help=(
                "png, coco (run lengths), label-studio (brush), cvat (Segmentation mask 1.1) or "
                "nnunet"
            ),
        ),
    ] = "png",
    prefer: Annotated[
        str | None, typer.Option(help="whose verdict counts where two reviewers differ")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            envvar="LIMNER_STORE",
            help="the review's database, where it is not beside the predictions",
        ),
    ] = None,
) -> None:
    """Write accepted and mended masks as other tools read them."""
    with report_errors():
        found, memory = _reviewed(predictions, store)
        from limner.review.formats import write_masks

        count = write_masks(found, memory, out, form, prefer)
        console.print(f"{count} masks are in [bold]{escape(str(out))}[/].")


def loop(
    data: DataFolder,
    budget: Annotated[int, typer.Option(min=1, help="corrections in all")] = 200,
    rounds: Annotated[int, typer.Option(min=1, help="trainings into which they are parted")] = 4,
    order: Annotated[
        list[str] | None,
        typer.Option(help="predicted (lowest predicted Dice first) or random; both by default"),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="how often all is done, each time with other first labels")
    ] = 3,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="of each training; by default the plan's length, or --set train.epochs=30"
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="override one key of the recipe; may be repeated"),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="a new folder for all that is trained")
    ] = Path("loop"),
) -> None:
    """Measure what the order of review is worth: a simulated reviewer, the hidden truth, corrects
    masks, and a model is trained after each round.
    """
    with report_errors():
        from limner.recipe_file import load_recipe
        from limner.training import active_learning

        orders = list(dict.fromkeys(order or active_learning.ORDERS))
        recipe = load_recipe(
            None, [*(settings or []), *([f"train.minutes={minutes}"] if minutes else [])]
        )
        points = []
        for point in active_learning.simulate_review(
            data,
            out,
            recipe,
            budget=budget,
            rounds=rounds,
            seeds=range(seeds),
            orders=orders,
            progress=progress_bar,
        ):
            points.append(point)
            active_learning.write_results(out, points)
            console.print(
                f"seed {point.seed}, {point.order}: {point.corrections} corrections, test "
                f"Dice {point.mean:.4f}"
            )
        found = active_learning.summarise(points)
        table = Table(
            "corrections",
            *(Column(one, justify="right") for one in orders),
            *(["gain", "of each seed"] if found[0].by_seed else []),
            box=None,
            pad_edge=False,
        )
        for row in found:
            reached = [
                f"{row.means[one]:.4f} ({row.intervals[one][0]:.3f} to {row.intervals[one][1]:.3f})"
                for one in orders
            ]
            gain = (
                []
                if row.interval is None
                else [
                    f"{row.gain:+.4f} ({row.interval[0]:+.4f} to {row.interval[1]:+.4f})",
                    " ".join(f"{one:+.4f}" for one in row.by_seed),
                ]
            )
            table.add_row(str(row.corrections), *reached, *gain)
        console.print(table)
        both = min(found[-1].means[one] for one in orders)
        for one in orders:
            count = active_learning.corrections_needed(found, one, both)
            console.print(
                f"{one}: {'more than there were' if count is None else f'{count:.0f}'} "
                f"corrections for a Dice of {both:.4f}"
            )
        console.print(f"All of it is in {escape(str(out / 'loop.json'))}.")


def _reviewed(predictions: Path, store: str | None) -> "tuple[Predictions, ReviewStore]":
    """A folder that was reviewed, and the review's memory. Raises LimnerError where it was not."""
    try:
        from limner.review.predictions import read_predictions
        from limner.review.store import ReviewStore
    except ImportError as error:
        raise LimnerError(
            f"the review needs {error.name}, which is not installed: pip install 'limner[review]'."
        ) from error

    found = read_predictions(predictions, progress_bar("reading"))
    if store is None and not (predictions / "review").is_dir():
        raise LimnerError(
            f"{predictions} was not reviewed. Begin with: limner review {predictions}"
        )
    return found, ReviewStore(store) if store else ReviewStore.in_folder(predictions / "review")


def _own_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise LimnerError(
            "this machine has no name for you. Say who you are with --reviewer NAME."
        ) from error
