"""What `limner train` prints of a plan, of folds and of seeds."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from limner.cli.console import console, next_command
from limner.plurals import count_noun
from limner.training import run_files

if TYPE_CHECKING:
    from limner.training.cross_validation import CrossValidationResult
    from limner.training.plan import Plan
    from limner.training.run import Run


def print_plan(plan: "Plan", folder: Path) -> None:
    """Print what people ask of a plan, and where the rest is."""
    from limner.training.plan_summary import summarise_plan

    table = Table(box=None, pad_edge=False, show_header=False)
    for row in summarise_plan(plan.recipe, plan.reasons):
        table.add_row(row.name, f"[bold]{escape(row.value)}[/]", escape(row.reason))
    console.print(table)
    console.print(
        f"All settings, with the reason for each: {escape(str(folder / run_files.RECIPE))}",
        soft_wrap=True,
    )


def print_folds(result: "CrossValidationResult") -> None:
    """Print the score of each fold, that of all, and where the ensemble is."""
    from limner.metrics.intervals import format_interval

    table = Table("run", "images", "Dice out of fold", box=None, pad_edge=False)
    for fold in result.folds:
        table.add_row(escape(str(fold.run.folder)), str(fold.images), f"{fold.dice:.4f}")
    console.print(table)
    console.print(
        f"Mean Dice [bold]{result.dice.mean:.4f}[/] (95 % interval "
        f"{format_interval(result.dice.interval, 3)}) over {count_noun(result.images, 'image')}, "
        "each predicted by the model that never saw it."
    )
    console.print(
        f"All {len(result.folds)} models as one: [bold]{escape(str(result.model))}[/]. "
        f"Next: {next_command('predict', result.model.parent)} FOLDER_OF_NEW_IMAGES",
        soft_wrap=True,
    )


def print_seeds(scores: "list[tuple[Run, float]]") -> None:
    """Print the score of each seed, their mean and their standard deviation."""
    from statistics import mean, stdev

    table = Table("run", "validation Dice", box=None, pad_edge=False)
    for run, score in scores:
        table.add_row(escape(str(run.folder)), f"{score:.4f}")
    console.print(table)
    values = [score for _, score in scores]
    console.print(
        f"Mean [bold]{mean(values):.4f}[/], standard deviation {stdev(values):.4f} over "
        f"{len(values)} seeds."
    )
