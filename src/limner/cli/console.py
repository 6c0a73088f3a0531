"""What all commands share: the terminal, progress bars, common options, and errors as messages."""

import errno
import getpass
import re
import shlex
import threading
import webbrowser
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from limner.errors import LimnerError, is_out_of_memory, needs_torch
from limner.plurals import count_noun
from limner.training import run_files

console = Console(highlight=False)
stderr = Console(stderr=True, highlight=False)
INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells have it."""

DataFolder = Annotated[
    Path, typer.Argument(help="The folder of images and masks.", show_default=False)
]
ImageFolder = Annotated[
    str,
    typer.Option(
        "--images", help="The folder of the images in DATA, where its name says nothing: photos."
    ),
]
MaskFolder = Annotated[
    str, typer.Option("--masks", help="The folder of the masks in DATA, likewise.")
]
Predictions = Annotated[
    Path, typer.Argument(help="The folder that was reviewed.", show_default=False)
]
Device = Annotated[str, typer.Option(help="Where the network runs: cpu, cuda or mps.")]
Tta = Annotated[
    str | None,
    typer.Option(
        help=(
            "Test-time augmentation: none, flips, turns or scales. The default is what validation "
            "chose."
        )
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Override one key of the recipe, such as train.epochs=40. It may be repeated."
    ),
]
Host = Annotated[
    str, typer.Option(help="The address to listen on. One that other machines reach needs tokens.")
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(
        help="Another name that the page is reached by, such as a proxy's. It may be repeated."
    ),
]
Store = Annotated[
    str | None,
    typer.Option(
        envvar="LIMNER_STORE",
        help=(
            "The database: postgresql://user:password@host/name. The default is a file beside the "
            "predictions."
        ),
    ),
]
RootPath = Annotated[
    str,
    typer.Option(
        help="The path that a proxy has the server at, such as /limner.", show_default=False
    ),
]
Proxy = Annotated[
    list[str] | None,
    typer.Option(
        help=(
            "The address or network of a proxy before the server, whose X-Forwarded-For, -Proto "
            "and -Host are believed. By default none is."
        ),
        show_default=False,
    ),
]
OpenPage = Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")]
LogRequests = Annotated[
    bool, typer.Option("--log", help="Write a line for each request, as JSON, to stderr.")
]
Prefer = Annotated[
    str | None, typer.Option(help="The reviewer whose verdict counts where people differ.")
]
Consensus = Annotated[
    str | None,
    typer.Option(
        help="majority or staple: make one mask of those of several people where they differ.",
        show_default=False,
    ),
]
NOT_HERE = (
    "is a URL, and this command reads and writes on this machine alone. Copy it to this machine "
    "first. limner predict reads images from URLs, and writes masks there."
)
COLLAPSED_URL = re.compile(r"([a-z][a-z0-9+.-]+):/(?=[^/])")
"""How a URL begins once it was taken for a path."""
MODEL_SUFFIXES = frozenset({".safetensors", ".onnx", ".xml", ".pt2"})


def split_models(
    paths: Sequence[str | Path],
    rest: str,
    models: str = "a model, or several",
    *,
    urls: bool = False,
) -> tuple[list[Path], list[str]]:
    """Tell model files from the other paths, in whatever order they are given.

    A run folder stands for its model. Raises LimnerError where there is no model or nothing else,
    which says what is expected, `models` and `rest`; and for a URL, unless `urls`.
    """
    arguments = list(map(str, paths))
    files = [model_file(Path(path)) for path in arguments if _is_model(path)]
    others = [path for path in arguments if not _is_model(path)]
    if not urls and (url := next((path for path in others if "://" in path), None)):
        raise LimnerError(f"{url} {NOT_HERE}")
    if not files or not others:
        missing = [path for path in others if "://" not in path and not Path(path).exists()]
        cause = f" {missing[0]} does not exist." if missing else ""
        raise LimnerError(
            f"there must be {models}, and {rest}.{cause} A model is a .safetensors, .onnx, .xml or "
            ".pt2 file, or the folder of a run or of a cross-validation."
        )
    return files, others


def model_file(path: Path) -> Path:
    """The model file that a path stands for: itself, or the model of a run folder.

    Raises LimnerError where a run has no model yet.
    """
    file = run_files.model_path(path)
    if path.is_dir() and not file.is_file():
        raise LimnerError(
            f"{path} holds no {run_files.MODEL}. A run has one after its first epoch: wait for it, "
            "or give the model of another run."
        )
    return file


def _is_model(path: str) -> bool:
    """Whether a path is a model by its suffix, or the folder of a run or a cross-validation."""
    markers = (run_files.RECEIPT, run_files.CROSS_VALIDATION)
    return Path(path).suffix.lower() in MODEL_SUFFIXES or any(
        (Path(path) / marker).is_file() for marker in markers
    )


def progress_bar(stage: str) -> Callable[[Iterable[Any], int], Iterable[Any]]:
    """Wrap the iteration of a stage: a progress bar on a terminal, one line elsewhere."""
    from rich.progress import track

    def wrap(iterable: Iterable[Any], total: int) -> Iterable[Any]:
        if not console.is_terminal:
            noun = "step" if stage.startswith("measuring") else "file"
            console.print(f"{stage}: {count_noun(total, noun)}")
            return iterable
        return track(iterable, stage, total=total, console=console, transient=True)

    return wrap


def refuse_urls(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command refuse URLs in place of paths, which would collapse: s3://a becomes s3:/a."""

    @wraps(command)
    def run(**values: Any) -> None:
        for value in values.values():
            for path in value if isinstance(value, list) else [value]:
                is_path = isinstance(path, Path) and not path.exists()
                if is_path and (scheme := COLLAPSED_URL.match(str(path))):
                    url = f"{scheme[1]}://{str(path)[scheme.end() :]}"
                    raise LimnerError(f"{url} {NOT_HERE}")
        command(**values)

    return run


@contextmanager
def report_errors() -> Iterator[None]:
    """Print a user's mistake as a message and exit with its status, without a traceback."""
    try:
        yield
    except LimnerError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        stderr.print("Stopped.")
        raise typer.Exit(INTERRUPTED) from None
    except OSError as error:
        _fail(_describe_os_error(error))
    except ModuleNotFoundError as error:
        if (message := needs_torch(error)) is None:
            raise
        _fail(str(message))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        _fail(
            "there is not enough memory. Close other programs; for training, lower "
            "train.batch_size or data.size_px with --set."
        )


def _describe_os_error(error: OSError) -> str:
    """What the system refused, and what to do."""
    if error.errno == errno.ENOSPC:
        return (
            "the disk is full. What was written before is complete: free some space and run the "
            "command again; training goes on with --resume."
        )
    if error.errno in {errno.EEXIST, errno.ENOTDIR, errno.EISDIR}:
        return (
            f"{error.filename} is in the way: it exists already, or is a file where a folder is "
            "needed. Name another place."
        )
    if error.errno in {errno.EACCES, errno.EROFS, errno.EPERM}:
        return (
            f"{error.filename} may not be read or written ({error.strerror}). Choose another "
            "folder or mend its permissions."
        )
    where = f" ({error.filename})" if error.filename else ""
    return (
        f"the system refused{where}: {error.strerror or error}. What was written before is "
        "complete; training goes on with --resume."
    )


def _fail(message: str) -> NoReturn:
    # Lines to copy are not to be broken
    stderr.print(f"[red]error:[/] {escape(message)}", soft_wrap=True)
    raise typer.Exit(1) from None


def parse_root_path(text: str) -> str:
    """A path without a slash at its end. Raises LimnerError for what is no path."""
    path = text.rstrip("/")
    if path and not path.startswith("/"):
        raise LimnerError(f"--root-path {text} is no path. It begins with a slash: /{text}")
    return path


def next_command(*arguments: object) -> str:
    """A command of limner that can be pasted, for a line that rich prints."""
    return escape(shlex.join(["limner", *map(str, arguments)]))


def user_name(option: str) -> str:
    """The name of whoever runs the command. Raises LimnerError where the machine has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise LimnerError(
            f"this machine has no name for you. Say who you are with {option} NAME."
        ) from error


def open_browser(address: str) -> None:
    """Open a page in the user's browser, and do not wait for it."""
    # A browser in the terminal would be waited for
    threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()
