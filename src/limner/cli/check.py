"""`limner check`: report every problem of a dataset."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from limner.cli.console import (
    DataFolder,
    ImageFolder,
    MaskFolder,
    console,
    next_command,
    progress_bar,
    stderr,
)
from limner.plurals import count_noun

if TYPE_CHECKING:
    from limner.data.check import CheckResult

FINDINGS_SHOWN = 3
"""Findings of each code on the terminal; the page and findings.json hold them all."""
COLOURS = {"error": "red", "warning": "yellow", "note": "blue"}


def check(
    data: DataFolder,
    images: ImageFolder = "",
    masks: MaskFolder = "",
    as_json: Annotated[
        bool,
        typer.Option("--json", help="print the findings as JSON, and write nothing but to --out"),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="the folder of the page and findings.json; checks/NAME by default",
        ),
    ] = None,
) -> None:
    """Report every problem of a dataset before training; exit status 1 where there are errors."""
    from limner.data.check import check as check_dataset
    from limner.data.check_page import check_to_json, write_check
    from limner.data.scan import scan
    from limner.data.split_folders import describe_official_splits
    from limner.recipe import DataSettings

    dataset = scan(data, image_folder=images, mask_folder=masks)
    result = check_dataset(dataset, None if as_json else progress_bar("checking"))
    if as_json:
        print(json.dumps(check_to_json(dataset, result), indent=2))
    else:
        console.print(
            f"{count_noun(len(dataset.samples), 'pair')} in the layout {escape(dataset.layout)}."
        )
        if dataset.samples:
            splits = describe_official_splits(dataset.root, dataset.samples, DataSettings())
            console.print(escape(splits), soft_wrap=True)
        _print_findings(result, data)
    if out or not as_json:
        page = write_check(out or Path("checks") / data.resolve().name, dataset, result)
        (stderr if as_json else console).print(
            f"Look at [bold]{escape(str(page))}[/]; findings.json beside it holds the same for a "
            "program."
        )
    if result.errors:
        raise typer.Exit(1)
    if not as_json:
        folders = [
            *(["--images", images] if images else []),
            *(["--masks", masks] if masks else []),
        ]
        console.print(f"Next: {next_command('train', data, *folders)}", soft_wrap=True)


def _print_findings(result: "CheckResult", data: Path) -> None:
    """The first findings of each code as a table, and how many there are of each severity."""
    from limner.data.broken_samples import BROKEN
    from limner.data.check_page import short_message

    if result.labels is not None:
        console.print(f"Mask values: {escape(result.labels.describe())}.")
    if not result.findings:
        console.print("[green]No problem was found.[/]")
        return
    message = Column("what is wrong, and how to mend it", overflow="fold")
    table = Table("", "code", message, box=None, pad_edge=False)
    to_run = []
    for code, findings in result.by_code().items():
        colour = COLOURS[findings[0].severity]
        for finding in findings[:FINDINGS_SHOWN]:
            text, _, lines = short_message(finding, data).partition("\n")
            table.add_row(f"[{colour}]{finding.severity}[/]", code, escape(text))
            to_run += [(code, lines)] if lines else []
        if len(findings) > FINDINGS_SHOWN:
            table.add_row("", "", f"and {len(findings) - FINDINGS_SHOWN} more of {code}")
    console.print(table)
    # A table would break the lines, which are to be copied as they stand
    for code, lines in to_run:
        console.print(f"For {code}:\n{escape(lines)}", soft_wrap=True)
    console.print(_count_by_severity(result))
    # Other errors stop training all the same
    if result.errors and result.labels and {each.code for each in result.errors} <= BROKEN:
        console.print(
            "limner train --skip-broken leaves out the files with errors, and trains on the others."
        )


def _count_by_severity(result: "CheckResult") -> str:
    """Such as "2 errors, 1 note."."""
    from limner.data.findings import SEVERITIES

    counts = ((severity, result.count(severity)) for severity in SEVERITIES)
    parts = (f"{count} {severity}{'s' * (count != 1)}" for severity, count in counts if count)
    return ", ".join(parts) + "."
