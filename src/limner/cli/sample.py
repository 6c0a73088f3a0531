"""`limner sample`: write the synthetic sample set."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from limner.cli.console import console, next_command, progress_bar
from limner.plurals import count_noun


def sample(
    folder: Annotated[Path, typer.Argument(help="The folder to make.", show_default=False)],
    count: Annotated[
        int, typer.Option(help="How many images: 70 % train, 15 % validate, 15 % test.")
    ] = 400,
    size: Annotated[int, typer.Option(help="The height and width of each image, in px.")] = 256,
    seed: Annotated[int, typer.Option(help="Another seed draws another set.")] = 0,
    images_only: Annotated[
        bool,
        typer.Option(
            "--images-only", help="Write images without masks, to try a model or the page on."
        ),
    ] = False,
) -> None:
    """Write the embedded sample set: synthetic dermoscopy with exact masks, in ISIC's layout."""
    from limner.data.synthetic import write_images, write_synthetic

    if images_only:
        write_images(folder, count, size, seed, progress_bar("drawing"))
        images = count_noun(count, "image")
        console.print(f"[bold]{escape(str(folder))}[/] has {images} without masks.")
        return
    write_synthetic(folder, count, size, seed, progress_bar("drawing"))
    name = escape(str(folder))
    console.print(
        f"[bold]{count}[/] images of {size}x{size} px and their masks are in [bold]{name}[/]."
    )
    console.print(f"Next: {next_command('check', folder)}", soft_wrap=True)
