"""The verbs: parse, call one function, print. torch is imported inside the verbs alone, so that
--help answers at once.
"""

import io
import sys

import typer

from limner.cli.checking import check, sample
from limner.cli.delivering import export, predict, serve
from limner.cli.reviewing import loop, masks, merge, review
from limner.cli.scoring import submit, test
from limner.cli.training import runs, train

app = typer.Typer(
    help="A folder of images and masks becomes a U-Net that segments new images, with honest scores.\n\n"
    "Begin with: limner sample lesions, then limner check lesions, then limner train lesions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for verb in (
    sample,
    check,
    train,
    runs,
    test,
    predict,
    export,
    serve,
    review,
    merge,
    masks,
    loop,
    submit,
):
    app.command()(verb)


def main() -> None:
    """The entry point of the `limner` command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file name may be no text at all
            stream.reconfigure(errors="replace")
    app()
