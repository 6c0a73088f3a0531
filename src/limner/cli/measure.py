"""`limner measure`: count and measure what masks show."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from limner.cli.console import console, progress_bar, stderr
from limner.errors import LimnerError
from limner.plurals import count_noun

if TYPE_CHECKING:
    from limner.data.readers.pixel_size import PixelSize
    from limner.measures.measure import Measures


def measure(
    predictions: Annotated[
        Path,
        typer.Argument(
            help="A folder that limner predict wrote, or images and masks in any layout.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The folder for the tables and the page.")
    ] = Path("measures"),
    metadata: Annotated[
        Path | None,
        typer.Option(
            help="A CSV table about the images, such as their treatment. Its columns are put "
            "beside the measures."
        ),
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="The column of the table whose values the page compares.")
    ] = None,
    pixel_size: Annotated[
        str | None,
        typer.Option(
            help="How large a pixel is, such as 0.25um or 1.2mm, for images whose files do not "
            "say it."
        ),
    ] = None,
) -> None:
    """Count and measure the connected parts of masks: area, perimeter, diameters, circularity,
    position, intensities.

    Writes a row for each part and for each image, as CSV and Parquet, in pixels and in the unit of
    the images, and a page. Parts that touch count as one.
    """
    from limner.measures.measure import measure as measure_folder

    size = _parse_size(pixel_size) if pixel_size else None
    result = measure_folder(
        predictions, out, metadata=metadata, by=by, pixel_size=size, progress=progress_bar
    )
    print_measures(result)


def print_measures(result: "Measures") -> None:
    """Say how many parts there are, what was left out, and where the tables are."""
    for note in result.notes:
        stderr.print(f"note: {escape(note)}.", soft_wrap=True)
    images = len(set(result.images["image"].tolist()))
    parts = count_noun(len(result.parts["part"]), "connected part")
    console.print(f"{parts} in {count_noun(images, 'image')}; parts that touch count as one.")
    console.print(
        f"Look at [bold]{escape(str(result.page))}[/]; parts.csv and images.csv beside it hold "
        "the rows, and the Parquet files the same.",
        soft_wrap=True,
    )


def _parse_size(text: str) -> "PixelSize":
    """Read a number and a unit of length."""
    from limner.data.readers.pixel_size import UM_PER, to_pixel_size

    number = text.rstrip("abcdefghijklmnopqrstuvwxyzµμ ")
    size = to_pixel_size(number, number, text[len(number) :])
    if size is None or size.unit not in UM_PER:
        raise LimnerError(
            f"--pixel-size {text} is no length. Give a number and a unit, such as 0.25um, 5nm or "
            "1.2mm."
        )
    return size
