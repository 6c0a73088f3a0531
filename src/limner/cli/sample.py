"""`limner sample`: write the synthetic sample set."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from limner.cli.console import console, progress_bar


def sample(
    folder: Annotated[Path, typer.Argument(help="a new folder", show_default=False)],
    count: Annotated[
        int, typer.Option(help="how many images: 70 % to train, 15 % to validate, 15 % to test")
    ] = 400,
    size: Annotated[int, typer.Option(help="height and width, in px")] = 256,
    seed: Annotated[int, typer.Option(help="another seed gives another set")] = 0,
) -> None:
    """Write the embedded sample set: synthetic dermoscopy with exact masks, in ISIC's layout."""
    from limner.data.synthetic import write_synthetic

    write_synthetic(folder, count, size, seed, progress_bar("drawing"))
    name = escape(str(folder))
    console.print(
        f"[bold]{count}[/] images of {size}x{size} px and their masks are in [bold]{name}[/]."
    )
    console.print(f"Next: limner check {name}")
