"""`limner serve`: answer images with masks over HTTP."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from limner.cli.console import (
    AllowHost,
    Host,
    Proxy,
    RootPath,
    console,
    parse_root_path,
    stderr,
)
from limner.cli.precision import MAX_CHANGE, MaxChange, MeasuredOn, Precision, precision_limits
from limner.errors import LimnerError, requires_extra
from limner.files import sha256_of_file
from limner.operating_system import hold_hangup

if TYPE_CHECKING:
    from limner.inference.engines import LoadedModel
    from limner.inference.reduced_precision import PrecisionLimits
    from limner.web.service.models import ModelRepository

Models = Annotated[
    list[str],
    typer.Argument(
        metavar="[NAME=]MODEL...",
        help=(
            "The models to serve: .onnx, .xml or .safetensors, which is exported first. NAME= "
            "gives one a name."
        ),
        show_default=False,
    ),
]
Port = Annotated[
    int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")
]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="LIMNER_TOKEN",
        help=(
            "The secret that callers must send. It is safer in the environment than on the "
            "command line."
        ),
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="How many requests are worked on at once. The default is one more than the cores.",
    ),
]
QueueLength = Annotated[
    int, typer.Option(min=0, help="How many requests may wait. More are answered with 503 at once.")
]
Deadline = Annotated[
    float,
    typer.Option(
        min=0.1, help="How many seconds a request may wait before it is answered with 504."
    ),
]
AllowOrigin = Annotated[
    list[str] | None,
    typer.Option(
        help=(
            "An origin whose pages may call the service, such as https://example.org; '*' lets "
            "all of them. By default no other page may (CORS)."
        ),
        show_default=False,
    ),
]
KeepAlive = Annotated[int, typer.Option(min=1, help="How many seconds a connection may be idle.")]


def serve(
    models: Models,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    token: Token = None,
    allow_host: AllowHost = None,
    workers: Workers = None,
    queue: QueueLength = 64,
    max_megapixels: Annotated[
        float,
        typer.Option(min=0.01, help="The largest image, in megapixels. Larger ones are refused."),
    ] = 50,
    max_megabytes: Annotated[
        float,
        typer.Option(min=0.01, help="The largest body, in megabytes. Larger ones are refused."),
    ] = 50,
    deadline: Deadline = 30,
    device: Annotated[str, typer.Option(help="Where the network runs: cpu or cuda.")] = "cpu",
    allow_origin: AllowOrigin = None,
    root_path: RootPath = "",
    proxy: Proxy = None,
    keep_alive: KeepAlive = 75,
    precision: Precision = "float32",
    data: MeasuredOn = None,
    max_change: MaxChange = MAX_CHANGE,
) -> None:
    """Answer images with masks over HTTP, on this machine alone unless told otherwise.

    torch is not needed. SIGTERM ends what was started and stops; SIGHUP loads the models' files
    again.
    """
    with requires_extra("serving", "serve"):
        from limner.web.auth import Access
        from limner.web.forwarded import TrustedProxies, parse_proxies
        from limner.web.limits import Limits
        from limner.web.server import log_requests
        from limner.web.server import serve as run_server
        from limner.web.service.app import create_app
        from limner.web.service.models import ModelRepository, parse_model_names
        from limner.web.service.work_queue import WorkQueue

    hold_hangup()
    access = Access.for_address(host, token, allow_host or ()).with_origins(allow_origin or ())
    proxies, root_path = parse_proxies(proxy or ()), parse_root_path(root_path)
    cores = os.cpu_count() or 1
    # While one worker waits for the next request, the others keep all cores at work
    workers = workers or cores + 1

    def load(path: Path) -> "LoadedModel":
        allowed = precision_limits(precision, data, max_change, path, on_processor=device == "cpu")
        return _open(path, device, min(workers, cores), allowed)

    repository = ModelRepository(parse_model_names(models), load)
    limits = Limits(int(max_megabytes * 1e6), int(max_megapixels * 1e6), deadline_s=deadline)
    work_queue = WorkQueue(workers, queue)
    application = create_app(repository, work_queue, access, limits, root_path)
    announce = partial(_announce, repository, with_token=token is not None)
    reload = [partial(_reload, repository, name) for name in repository.names]
    server_app = TrustedProxies(application, proxies) if proxies else application
    log_requests()
    run_server(server_app, host, port, announce, reload, keep_alive)


def _announce(repository: "ModelRepository", address: str, *, with_token: bool) -> None:
    """Say what is served and where."""
    models = ", ".join(f"{model.name} ({model.version})" for model in repository.all())
    console.print(f"Serving {escape(models)} at [bold]{address}[/] (docs: {address}docs).")
    if with_token:
        console.print(
            f"A browser is let in once by {address}?token=TOKEN; programs send Authorization: "
            "Bearer TOKEN."
        )


def _reload(repository: "ModelRepository", name: str) -> None:
    """Load one model again, and say what is served now."""
    try:
        stderr.print(f"{name} is now {repository.reload(name).version}.")
    except LimnerError as error:
        stderr.print(f"[red]{name} is served on as it was:[/] {escape(str(error))}")


def _open(
    path: Path, device: str, callers: int, allowed: "PrecisionLimits | None"
) -> "LoadedModel":
    """Load a model's file in the engine that is the fastest here with so many callers."""
    from limner.inference.engine_choice import load_fastest
    from limner.inference.engines import load_model

    exported = _exported(path)
    if device == "cpu":
        return load_fastest(exported, callers, partial(stderr.print, markup=False), allowed)
    return load_model(exported, device, threads=1)


def _exported(path: Path) -> Path:
    """An exported model: the given one, or one that is made beside a model.safetensors.

    Another process makes it, since this one needs no torch.
    """
    if path.suffix in {".onnx", ".xml"}:
        return path
    from limner.inference.engines import read_exported

    target = path.with_suffix(".onnx")
    if not target.exists():
        console.print(f"exporting {escape(str(path))} to {escape(target.name)}")
        command = [sys.executable, "-m", "limner", "export", str(path), "--out", str(target)]
        process = subprocess.run(command, capture_output=True, text=True)
        # Another server may have made it meanwhile
        if process.returncode and not target.exists():
            message = process.stderr.strip().removeprefix("error: ")
            raise LimnerError(message or f"{path} could not be exported.")
    if read_exported(target)[2].get("source_sha256") != sha256_of_file(path):
        raise LimnerError(
            f"{target} was not exported from what {path} is now, and would be served in its "
            "place. Remove it, or name it to serve it as it is."
        )
    return target
