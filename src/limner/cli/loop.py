"""`limner loop`: what the order of review is worth, by a simulated reviewer."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from limner.cli.console import DataFolder, Settings, console, progress_bar
from limner.plurals import count_noun

if TYPE_CHECKING:
    from limner.training.active_learning import LoopRow

Orders = Annotated[
    list[str] | None,
    typer.Option(
        help=(
            "predicted (lowest predicted Dice first) or random. The default is both; it may be "
            "repeated."
        )
    ),
]
Seeds = Annotated[
    int,
    typer.Option(
        min=1, help="How often the experiment is repeated, each time from other first labels."
    ),
]
Minutes = Annotated[
    float | None,
    typer.Option(
        help="How many minutes the first training takes. The others see as many images as it "
        "did. The default is the plan's length. --set train.epochs=30 sets it in epochs."
    ),
]
OutFolder = Annotated[
    Path,
    typer.Option("--out", "-o", help="The folder to make for the trained models and loop.json."),
]


def loop(
    data: DataFolder,
    budget: Annotated[
        int,
        typer.Option(min=1, help="How many masks the simulated reviewer corrects in each order."),
    ] = 200,
    rounds: Annotated[
        int,
        typer.Option(
            min=1, help="How many rounds share the corrections; a model is trained after each."
        ),
    ] = 4,
    order: Orders = None,
    seeds: Seeds = 3,
    minutes: Minutes = None,
    settings: Settings = None,
    out: OutFolder = Path("loop"),
) -> None:
    """Measure what the order of review is worth.

    A simulated reviewer corrects predicted masks by the true ones, and a model is trained after
    each round.
    """
    from limner.inference.prediction_record import REVIEW_ORDERS
    from limner.recipe_file import load_recipe
    from limner.training import active_learning

    orders = list(dict.fromkeys(order or REVIEW_ORDERS))
    overrides = [*(settings or []), *([f"train.minutes={minutes}"] if minutes else [])]
    schedule = active_learning.ReviewSchedule(budget, rounds, range(seeds), orders)
    points = []
    for point in active_learning.simulate_review(
        data, out, load_recipe(None, overrides), schedule, progress_bar, _note
    ):
        points.append(point)
        active_learning.write_results(out, points)
        console.print(
            f"seed {point.seed}, {point.order}: {count_noun(point.corrections, 'correction')}, "
            f"test Dice {point.mean:.4f}"
        )
    rows = active_learning.summarise(points)
    if seeds < active_learning.MIN_SEEDS:
        console.print("One seed gives no interval: --seeds 3 tells more.")
    console.print(_table(rows, orders))
    lowest = min(rows[-1].means[name] for name in orders)
    for name in orders:
        count = active_learning.corrections_needed(rows, name, lowest)
        text = "more than there were" if count is None else f"{count:.0f}"
        console.print(f"{name}: {text} corrections for a Dice of {lowest:.4f}")
    console.print(f"All of it is in {escape(str(out / 'loop.json'))}.")


def _note(text: str) -> None:
    console.print(escape(text), soft_wrap=True)


def _table(rows: "Sequence[LoopRow]", orders: Sequence[str]) -> Table:
    """The mean Dice of each order after so many corrections, and the gain where both were tried."""
    from limner.metrics.intervals import format_interval

    columns = [
        Column(heading, justify="right")
        for name in orders
        for heading in (name, "pixels corrected")
    ]
    gains = ["gain", "of each seed"] if rows[0].by_seed else []
    table = Table("corrections", *columns, *gains, box=None, pad_edge=False)
    for row in rows:
        cells = []
        for name in orders:
            interval = format_interval(row.intervals[name], 3)
            cells += [f"{row.means[name]:.4f} ({interval})", f"{row.changed_pixels[name]:,.0f}"]
        if row.interval is not None:
            cells.append(f"{row.gain:+.4f} ({format_interval(row.interval, 4, signed=True)})")
            cells.append(" ".join(f"{gain:+.4f}" for gain in row.by_seed))
        table.add_row(str(row.corrections), *cells)
    return table
