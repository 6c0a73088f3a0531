"""`limner audit`: find the masks of a dataset that are probably wrong."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from limner.cli.console import DataFolder, Settings, console, next_command, progress_bar
from limner.cli.train import train
from limner.cli.train_options import SkipBroken
from limner.errors import LimnerError
from limner.plurals import count_noun

if TYPE_CHECKING:
    from limner.training.label_audit import AuditResult

SHOWN = 10
"""Masks on the terminal; the page shows more."""


def audit(
    data: DataFolder,
    model: Annotated[
        Path | None,
        typer.Option(
            help="The folder of a cross-validation (limner train --folds), whose models judge what "
            "they never saw; or a model, for images that it was not trained on. The default is to "
            "cross-validate first."
        ),
    ] = None,
    folds: Annotated[
        int, typer.Option(min=2, help="How many models are trained where none is given.")
    ] = 5,
    minutes: Annotated[
        float | None, typer.Option(help="The time that training all of them may take.")
    ] = None,
    worst: Annotated[
        int,
        typer.Option(min=1, help="How many masks the page shows and limner review opens."),
    ] = 50,
    settings: Settings = None,
    skip_broken: SkipBroken = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The folder of the audit; audits/NAME by default."),
    ] = None,
) -> None:
    """Find the masks of a dataset that are probably wrong: missing or invented objects, wrong
    classes, shifted, loose or tight outlines, masks of other images.

    Every mask is compared with what a model predicts that never saw its image. Then correct the
    worst with limner review, and make the next revision with limner merge.
    """
    from limner.training.label_audit import FOLDS_FOLDER, audit_with, require_audit_folder
    from limner.training.run_files import MODEL

    folder = out or Path("audits") / data.resolve().name
    require_audit_folder(folder)
    if model is None:
        model = folder / FOLDS_FOLDER
        if not (model / MODEL).is_file():
            _cross_validate(data, model, folds, minutes, settings, skip_broken=skip_broken)
    elif settings or minutes is not None:
        raise LimnerError(
            "--minutes and --set say how models are trained, and --model gives one that is. Leave "
            "one out."
        )
    result = audit_with(
        data, folder, model, skip_broken=skip_broken, worst=worst, progress=progress_bar
    )
    _print_worst(result)
    for note in result.notes:
        console.print(f"note: {escape(note)}", soft_wrap=True)
    console.print(
        f"Look at [bold]{escape(str(result.page))}[/]; audit.json beside it holds all "
        f"{count_noun(len(result.masks), 'mask')}. After the review the next revision is made by: "
        f"{next_command('merge', folder, data, '--replace', '--out', f'{data.resolve().name}-2')}",
        soft_wrap=True,
    )
    console.print(f"Next: {next_command('review', folder)}", soft_wrap=True)


def _cross_validate(
    data: Path,
    folder: Path,
    folds: int,
    minutes: float | None,
    settings: Settings,
    *,
    skip_broken: bool,
) -> None:
    """Train a model for each fold as `limner train` does, or go on with that."""
    from limner.training.cross_validation import CrossValidation

    if CrossValidation.is_at(folder):
        train(resume=folder)
    else:
        train(
            data=data,
            folds=folds,
            minutes=minutes,
            settings=settings,
            skip_broken=skip_broken,
            out=folder,
        )


def _print_worst(result: "AuditResult") -> None:
    table = Table("wrong", Column("mask", overflow="fold"), "how", box=None, pad_edge=False)
    for mask in result.masks[:SHOWN]:
        table.add_row(f"{mask.probability:.0%}", escape(mask.id), escape(mask.summary))
    console.print(table)
    likely = sum(mask.probability >= 0.5 for mask in result.masks)
    console.print(
        f"{count_noun(likely, 'mask is', 'masks are')} more likely wrong than right, of "
        f"{len(result.masks)}."
    )
