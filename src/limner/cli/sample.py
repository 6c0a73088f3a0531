"""`limner sample`: write the synthetic sample set."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from limner.cli.console import console, progress_bar


def sample(
    folder: Annotated[Path, typer.Argument(help="The folder to make.", show_default=False)],
    count: Annotated[
        int, typer.Option(help="How many images: 70 % train, 15 % validate, 15 % test.")
    ] = 400,
    size: Annotated[int, typer.Option(help="The height and width of each image, in px.")] = 256,
    seed: Annotated[int, typer.Option(help="Another seed draws another set.")] = 0,
) -> None:
    """Write the embedded sample set: synthetic dermoscopy with exact masks, in ISIC's layout."""
    from limner.data.synthetic import write_synthetic

    write_synthetic(folder, count, size, seed, progress_bar("drawing"))
    name = escape(str(folder))
    console.print(
        f"[bold]{count}[/] images of {size}x{size} px and their masks are in [bold]{name}[/]."
    )
    console.print(f"Next: limner check {name}")
