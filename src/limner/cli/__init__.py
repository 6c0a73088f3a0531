"""The commands: parse, call one function, print.

torch is imported inside the commands alone, so that --help answers at once.
"""

import io
import sys

import typer

from limner.cli.audit import audit
from limner.cli.check import check
from limner.cli.console import refuse_urls, report_errors
from limner.cli.export import export
from limner.cli.loop import loop
from limner.cli.masks import masks
from limner.cli.measure import measure
from limner.cli.merge import merge
from limner.cli.predict import predict
from limner.cli.review import review
from limner.cli.runs import runs
from limner.cli.sample import sample
from limner.cli.serve import serve
from limner.cli.submit import submit
from limner.cli.test import test
from limner.cli.train import train

app = typer.Typer(
    help=(
        "A folder of images and masks becomes a U-Net that segments new images, with honest "
        "scores.\n\n"
        "Begin with: limner sample lesions, then limner check lesions, then limner train lesions."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    sample,
    check,
    audit,
    train,
    runs,
    test,
    predict,
    measure,
    export,
    serve,
    review,
    merge,
    masks,
    loop,
    submit,
):
    app.command()(report_errors()(refuse_urls(command)))


def main() -> None:
    """The entry point of the `limner` command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file name may not be valid text
            stream.reconfigure(errors="replace")
    app()
