"""What all verbs share: the terminal, progress bars, and errors as messages."""

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from limner.errors import LimnerError, is_out_of_memory

console = Console(highlight=False)
stderr = Console(stderr=True, highlight=False)
DataFolder = Annotated[
    Path, typer.Argument(help="the folder of images and masks", show_default=False)
]
TTA = "augmentation at test time: none, flips, turns or scales; what validation chose by default"


def list_some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def progress_bar(stage: str) -> Callable[[Iterable[Any], int], Iterable[Any]]:
    """What wraps the iteration of a stage: a progress bar on a terminal, one line elsewhere."""
    from rich.progress import track

    def wrap(iterable: Iterable[Any], total: int) -> Iterable[Any]:
        if not console.is_terminal:
            console.print(f"{stage} {total} files")
            return iterable
        return track(iterable, stage, total=total, console=console, transient=True)

    return wrap


@contextmanager
def report_errors() -> Iterator[None]:
    """A user's mistake becomes a message and an exit status, never a traceback."""
    try:
        yield
    except LimnerError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        stderr.print("Stopped.")
        raise typer.Exit(130) from None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            _fail(
                "the disk is full. What was written before is whole: free some space and run "
                "the command again; training goes on with --resume."
            )
        if error.errno in {errno.EEXIST, errno.ENOTDIR, errno.EISDIR}:
            _fail(
                f"{error.filename} is in the way: it is there already, or is a file where a "
                "folder is needed. Name another place."
            )
        if error.errno in {errno.EACCES, errno.EROFS, errno.EPERM}:
            _fail(
                f"{error.filename} may not be read or written ({error.strerror}). Choose "
                "another folder or mend its permissions."
            )
        where = f" ({error.filename})" if error.filename else ""
        _fail(
            f"the system refused{where}: {error.strerror or error}. What was written before "
            "is whole; training goes on with --resume."
        )
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        _fail(
            "there is not enough memory. Close other programs; for training, lower "
            "train.batch_size or data.size_px with --set."
        )


def _fail(message: str) -> None:
    stderr.print(f"[red]error:[/] {escape(message)}")
    raise typer.Exit(1) from None
