"""The commands: parse, call one function, print.

torch is imported inside the commands alone, so that --help answers at once.
"""

import io
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.markup import escape

from limner import __version__
from limner.cli.audit import audit
from limner.cli.check import check
from limner.cli.console import refuse_urls, report_errors, stderr
from limner.cli.export import export
from limner.cli.lines_to_type import line_to_type, line_with_quotes
from limner.cli.loop import loop
from limner.cli.masks import masks
from limner.cli.measure import measure
from limner.cli.merge import merge
from limner.cli.predict import predict
from limner.cli.review import review
from limner.cli.runs import runs
from limner.cli.sample import sample
from limner.cli.serve import serve
from limner.cli.studio import studio
from limner.cli.submit import submit
from limner.cli.test import test
from limner.cli.train import train

USAGE_ERROR = 2
"""The exit status of a command that cannot be understood, as click has it."""
app = typer.Typer(
    help=(
        "A folder of images and masks becomes a U-Net that segments new images, with honest "
        "scores.\n\n"
        "limner alone opens the studio, a page that leads from images to a model. In a terminal: "
        "limner sample lesions, then limner check lesions, then limner train lesions."
    ),
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
GROUPS = {
    "Begin": (studio, sample, check),
    "Train and score": (train, test, runs, audit, loop),
    "Use a model": (predict, measure, export, serve, submit),
    "Correct masks": (review, merge, masks),
}
for group, commands in GROUPS.items():
    for command in commands:
        app.command(rich_help_panel=group)(report_errors()(refuse_urls(command)))

Version = Annotated[
    bool, typer.Option("--version", help="Print the version and end.", is_eager=True)
]


@app.callback()
def open_studio(context: typer.Context, version: Version = False) -> None:
    if version:
        print(f"limner {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is not None:
        return
    if sys.stdin.isatty() and sys.stdout.isatty():
        with report_errors():
            studio()
    else:
        # Nobody is there who would look at a page
        print(context.get_help())


def refuse_key_values(arguments: Sequence[str]) -> None:
    """Answer what users of other tools type, and paths without quotes, with the line to type."""
    if line := line_to_type(arguments):
        stderr.print(
            f"[red]error:[/] options of limner have names with dashes. Type: {escape(line)}",
            soft_wrap=True,
        )
        raise SystemExit(USAGE_ERROR)
    if line := line_with_quotes(arguments):
        stderr.print(
            f"[red]error:[/] a path with spaces needs quotes. Type: {escape(line)}", soft_wrap=True
        )
        raise SystemExit(USAGE_ERROR)


def main() -> None:
    """The entry point of the `limner` command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file name may not be valid text
            stream.reconfigure(errors="replace")
    refuse_key_values(sys.argv[1:])
    app()
