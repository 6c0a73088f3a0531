"""`limner sample` and `limner check`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from limner.cli.console import DataFolder, console, progress_bar, report_errors, stderr

if TYPE_CHECKING:
    from limner.data.check import CheckResult

FINDINGS_SHOWN = 3
"""Of each code on the terminal; the page and findings.json hold them all."""


def sample(
    folder: Annotated[Path, typer.Argument(help="a new folder", show_default=False)],
    count: Annotated[
        int, typer.Option(help="how many images: 70 % to train, 15 % to validate, 15 % to test")
    ] = 400,
    size: Annotated[int, typer.Option(help="height and width, in px")] = 256,
    seed: Annotated[int, typer.Option(help="another seed gives another set")] = 0,
) -> None:
    """Write the embedded sample set: synthetic dermoscopy with exact masks, in ISIC's layout."""
    with report_errors():
        from limner.data.synthetic import write_synthetic

        write_synthetic(folder, count, size, seed, progress_bar("drawing"))
        console.print(
            f"[bold]{count}[/] images of {size}x{size} px and their masks are in "
            f"[bold]{escape(str(folder))}[/]."
        )
        console.print(f"Next: limner check {escape(str(folder))}")


def check(
    data: DataFolder,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="print the findings as JSON, and write nothing but to --out"),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="the folder of the page and findings.json; checks/NAME by default"),
    ] = None,
) -> None:
    """Report every problem of a dataset, before a minute is lost on it; exit status 1 where there
    are errors.
    """
    with report_errors():
        from limner.data.check import check as examine
        from limner.data.check_page import check_to_json, write_check
        from limner.data.scan import scan

        dataset = scan(data)
        health = examine(dataset, None if as_json else progress_bar("checking"))
        if as_json:
            print(json.dumps(check_to_json(dataset, health), indent=2))
        else:
            console.print(f"{len(dataset.samples)} pairs in the layout {escape(dataset.layout)}.")
            _print_health(health, data)
        if out or not as_json:
            page = write_check(out or Path("checks") / data.resolve().name, dataset, health)
            (stderr if as_json else console).print(
                f"Look at [bold]{escape(str(page))}[/]; findings.json beside it holds the "
                "same for a program."
            )
        if health.errors:
            raise typer.Exit(1)


def _print_health(health: "CheckResult", data: Path) -> None:
    from limner.data.check import SEVERITIES
    from limner.data.check_page import short_message

    if health.labels is not None:
        console.print(f"Mask values: {escape(health.labels.describe())}.")
    if not health.findings:
        console.print("[green]No problem was found.[/]")
        return
    colours = {"error": "red", "warning": "yellow", "note": "blue"}
    table = Table(
        "",
        "code",
        Column("what was found, and how to mend it", overflow="fold"),
        box=None,
        pad_edge=False,
    )
    for code, findings in health.by_code().items():
        colour = colours[findings[0].severity]
        for finding in findings[:FINDINGS_SHOWN]:
            table.add_row(
                f"[{colour}]{finding.severity}[/]", code, escape(short_message(finding, data))
            )
        if len(findings) > FINDINGS_SHOWN:
            table.add_row("", "", f"and {len(findings) - FINDINGS_SHOWN} more of {code}")
    console.print(table)
    counts = ((severity, health.count(severity)) for severity in SEVERITIES)
    console.print(
        ", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in counts if count) + "."
    )
