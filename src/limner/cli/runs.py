"""`limner runs`: list the runs of a folder."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from limner.cli.console import console
from limner.plurals import count_noun

HEADINGS = ("run", "state", "epoch", "val Dice", "test Dice", "network", "images/s", "minutes")


def runs(
    folder: Annotated[Path, typer.Argument(help="The folder of the runs.")] = Path("runs"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the table as JSON, for a program.")
    ] = False,
) -> None:
    """List the runs of a folder: what each trained on, how far it is, and its scores."""
    from limner.training.run_list import list_runs

    rows = list_runs(folder)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    if not rows:
        console.print(
            f"There is no run in {escape(str(folder))}. Begin one with: limner train DATA"
        )
        return
    table = Table(*HEADINGS, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(escape, _cells(row)))
        for report in row["other_reports"] or ():
            table.add_row(*map(escape, _report_cells(report)))
    console.print(table)


def _cells(row: dict[str, Any]) -> list[str]:
    """A row as text, without the moment that the run started and why it ended."""
    texts = {
        key: "" if value is None else f"{value:.4f}" if "dice" in key else str(value)
        for key, value in row.items()
        if key not in {"begun", "other_reports"}
    }
    texts["state"] = texts["state"].partition(":")[0]
    return list(texts.values())


def _report_cells(report: dict[str, Any]) -> list[str]:
    """A line below its run: what else it was scored on, and the Dice there."""
    images = "unreadable" if report["images"] is None else count_noun(report["images"], "image")
    dice = "" if report["dice"] is None else f"{report['dice']:.4f}"
    return [f"  on {report['report']}", images, "", "", dice]
