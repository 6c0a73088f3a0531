"""`limner masks`: reviewed masks for other tools."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from limner.cli.console import (
    Consensus,
    Predictions,
    Prefer,
    Store,
    console,
    progress_bar,
)
from limner.errors import requires_extra
from limner.plurals import count_noun

FORMATS = (
    "png, coco (run lengths), coco-polygons, label-studio (brush), cvat (Segmentation mask 1.1), "
    "cvat-xml (CVAT for images 1.1), labelme, yolo, qupath (GeoJSON in pixels), imagej (ROI zips), "
    "nnunet, nifti, dicom-seg, ome-tiff, geotiff or geojson (in map coordinates)"
)
ImagePrefix = Annotated[
    str,
    typer.Option(
        help="What stands before the names of the images in files that name them, such as "
        "/data/local-files/?d=photos/ for Label Studio."
    ),
]


def masks(
    predictions: Predictions,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="The folder to make, or a zip (x.zip).", show_default=False
        ),
    ],
    format_name: Annotated[
        str, typer.Option("--format", help=f"The format to write: {FORMATS}.")
    ] = "png",
    image_prefix: ImagePrefix = "",
    prefer: Prefer = None,
    consensus: Consensus = None,
    store: Store = None,
) -> None:
    """Write accepted and corrected masks as other tools read them."""
    with requires_extra("the review", "review"):
        from limner.review.reviewed_masks import write_masks
        from limner.review.verdicts import Settlement, open_results

    with open_results(predictions, store, progress_bar("reading")) as results:
        count, lost = write_masks(
            results, out, format_name, Settlement(prefer, consensus), image_prefix
        )
    print_lost(lost)
    console.print(f"{count_noun(count, 'mask is', 'masks are')} in [bold]{escape(str(out))}[/].")


def print_lost(lost: Sequence[str]) -> None:
    """Say what a format cannot hold."""
    for text in lost:
        console.print(f"[yellow]{escape(text)}.[/]")
