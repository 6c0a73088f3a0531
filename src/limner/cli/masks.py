"""`limner masks`: reviewed masks for other tools."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from limner.cli.console import Predictions, Prefer, Store, console, progress_bar
from limner.errors import requires_extra
from limner.plurals import count_noun

Format = Annotated[
    str,
    typer.Option(
        "--format",
        help=(
            "The format to write: png, coco (run lengths), label-studio (brush), cvat "
            "(Segmentation mask 1.1), cvat-xml (CVAT for images 1.1), labelme, yolo, qupath "
            "(GeoJSON), imagej (ROI zips) or nnunet."
        ),
    ),
]


def masks(
    predictions: Predictions,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The folder to make.", show_default=False)
    ],
    format_name: Format = "png",
    prefer: Prefer = None,
    store: Store = None,
) -> None:
    """Write accepted and corrected masks as other tools read them."""
    with requires_extra("the review", "review"):
        from limner.review.formats.write import write_masks
        from limner.review.verdicts import open_results

    with open_results(predictions, store, progress_bar("reading")) as results:
        count, lost = write_masks(results, out, format_name, prefer)
    for text in lost:
        console.print(f"[yellow]{escape(text)}.[/]")
    console.print(f"{count_noun(count, 'mask is', 'masks are')} in [bold]{escape(str(out))}[/].")
