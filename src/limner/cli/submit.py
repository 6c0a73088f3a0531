"""`limner submit`: write a challenge's submission."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from limner.cli.console import (
    Device,
    Tta,
    console,
    progress_bar,
    split_models,
    stderr,
)
from limner.errors import LimnerError
from limner.name_list import list_some
from limner.plurals import count_noun


def submit(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL... IMAGES",
            help="One model or several, then the folder of the challenge's images.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The zip to make.")] = Path(
        "submission.zip"
    ),
    challenge: Annotated[
        str, typer.Option(help="The challenge whose rules the zip follows: isic2018 (Task 1).")
    ] = "isic2018",
    tta: Tta = None,
    device: Device = "cpu",
) -> None:
    """Write a challenge's submission, checked as its scorer reads it before it is written."""
    from limner.inference.predictor import Predictor
    from limner.inference.submission import write_submission

    expected = "the folder of the challenge's images"
    models, (images, *more) = split_models(paths, expected)
    if more:
        raise LimnerError(f"there must be a model, or several, and {expected}.")
    predictor = Predictor.load(*models, device=device, tta=tta)
    progress = progress_bar("predicting")
    count, empty = write_submission(predictor, Path(images), out, challenge, progress)
    console.print(
        f"[bold]{escape(str(out))}[/] holds {count_noun(count, 'mask')}, checked as the scorer "
        f"of {challenge} "
        "reads them."
    )
    if empty:
        stderr.print(
            f"note: {count_noun(len(empty), 'mask was', 'masks were')} empty, and got the most "
            "probable pixels instead: "
            f"{list_some(empty)}"
        )
