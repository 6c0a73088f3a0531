"""`limner predict`, `limner export` and `limner serve`."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from limner.cli.console import TTA, console, list_some, progress_bar, report_errors, stderr
from limner.errors import LimnerError
from limner.files import read_stable, sha256_of_file

PROOF, MEASURED = 100, 200
"""Images that an export looks at: for the proof, and to measure another precision."""


def predict(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL... IMAGES",
            help="a model or several, then an image, a folder or its URL",
            show_default=False,
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out", "-o", help="a new folder for the masks, or its URL, such as s3://bucket/masks"
        ),
    ] = "predictions",
    tta: Annotated[str | None, typer.Option(help=TTA)] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps")] = "cpu",
    engine: Annotated[
        str, typer.Option(help="local, or ray: the workers of a Ray cluster")
    ] = "local",
    workers: Annotated[int, typer.Option(min=1, help="of --engine ray")] = 2,
) -> None:
    """Segment new images: a mask and a map of uncertainty at each image's size, a predicted Dice,
    and a picture; several models as one.

    Stopped, the same command goes on from where it was.
    """
    with report_errors():
        from limner.data.parallel import map_in_order
        from limner.data.storage import LocalFolder, open_storage
        from limner.inference.batch import MapFunction, predict_folder
        from limner.inference.predictor import Predictor

        *models, images = paths
        if not models:
            raise LimnerError(
                "there must be a model, or several, and after them an image or a folder of images."
            )
        if engine not in {"local", "ray"}:
            raise LimnerError(f"--engine {engine} is not known. Choose local or ray.")
        files = [Path(model) for model in models]

        def opened() -> tuple[MapFunction, Predictor]:
            if engine == "local":
                return map_in_order, Predictor.load(*files, device=device, tta=tta)
            from limner.inference.ray_data import map_on_ray

            return map_on_ray(files, tta, workers, device), Predictor.load(
                *files, device=device, tta=tta
            )

        (spread, predictor), hashes = read_stable(files, opened)
        if predictor.blends_tiles:
            stderr.print(
                "note: the network looks at a whole image at once (a norm or an attention "
                "over it), so its tiles are not exact: they are blended."
            )
        source, names = open_storage(images), list[str]()
        if isinstance(source, LocalFolder) and not source.root.is_dir():
            if not source.root.exists():
                raise LimnerError(f"{images} is not there. Give an image or a folder of images.")
            source, names = LocalFolder(source.root.parent), [source.root.name]
        known = {str(model.resolve()): digest for model, digest in zip(files, hashes, strict=True)}
        done = predict_folder(
            predictor,
            source,
            names or source.list_images(),
            open_storage(out),
            known,
            progress_bar("predicting"),
            spread,
        )
        written, failures = done.records, done.failures
        if done.resumed:
            console.print(f"{done.resumed} files were done before; this went on from there.")
        console.print(
            f"{len(written)} masks are in [bold]{escape(out)}[/]; look at "
            f"{escape(out.rstrip('/'))}/overview.jpg."
        )
        if written and written[0]["predicted_dice"] is not None:
            console.print(
                "Lowest predicted Dice: "
                + ", ".join(
                    f"{escape(row['mask'])} ({row['predicted_dice']:.2f})" for row in written[:5]
                )
            )
        if unusual := [row["mask"] for row in written if row["unusual"]]:
            stderr.print(f"[yellow]unlike the training images:[/] {escape(list_some(unusual))}")
        if partial := [row["mask"] for row in written if "left_out" in row]:
            stderr.print(
                "note: too large for post-processing, which was left out: "
                f"{escape(list_some(partial))}"
            )
        for failure in failures:
            stderr.print(f"[red]not predicted:[/] {escape(failure)}")
        if failures:
            raise typer.Exit(1)


def export(
    model: Annotated[
        Path, typer.Argument(help="the model.safetensors of a run", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help=(
                "a new .onnx (ONNX Runtime), .xml (OpenVINO) or .pt2 (torch.export); beside the "
                "model by default"
            ),
        ),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            help="float32, or, measured on --data: float16 (.onnx), bfloat16 (.xml) or int8"
        ),
    ] = "float32",
    data: Annotated[
        Path | None,
        typer.Option(
            help="the folder of images and masks: other precisions are measured on its test split"
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help=(
                "a folder of images for the proof that both draw the same masks; drawn ones by "
                "default"
            )
        ),
    ] = None,
) -> None:
    """Write a portable model for use without torch; refused unless it draws the same masks as the
    original.
    """
    with report_errors():
        from limner.data.images import read_image
        from limner.data.scan import find_images, scan
        from limner.inference.export import export as write
        from limner.inference.export import export_reduced_precision
        from limner.model.bundle import Bundle

        target = out or model.with_name(
            "model.onnx"
            if precision == "float32"
            else f"model-{precision}.{'xml' if precision == 'bfloat16' else 'onnx'}"
        )
        if precision == "float32":
            shown = [] if images is None else [images] if images.is_file() else find_images(images)
            if images is not None and not shown:
                raise LimnerError(
                    f"{images} holds no image for the proof. Give a folder of images with "
                    "--images, or leave it out."
                )
            parity = write(model, target, [read_image(path) for path in shown[:PROOF]])
            console.print(
                f"[bold]{escape(str(target))}[/] draws the same masks: {parity.changed} of {parity.pixels:,} pixels of {parity.images} images differ, "
                f"probabilities by {parity.difference:.1g} at most."
            )
            return
        if data is None:
            raise LimnerError(
                f"--precision {precision} changes masks: give the folder of images and masks "
                "with --data, so that it can be measured how much."
            )
        from limner.data.splits import apply_split

        sides = apply_split(scan(data).samples, Bundle.load(model).split)
        change = export_reduced_precision(
            model, target, precision, sides["train"], (sides["test"] or sides["val"])[:MEASURED]
        )
        ends = f"{change.interval[0]:+.4f} to {change.interval[1]:+.4f}"
        console.print(
            f"[bold]{escape(str(target))}[/]: mean Dice {change.before:.4f} in float32, changed by [bold]{change.difference:+.4f}[/] (95 % {ends}) "
            f"on {change.images} images; {change.changed:.2%} of the mask pixels differ; "
            f"{change.speed:.2f} times the speed of float32 on this machine."
        )


def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]MODEL...",
            help="model.onnx (or model.safetensors, which is exported first)",
            show_default=False,
        ),
    ],
    host: Annotated[
        str, typer.Option(help="the address to listen on; one that others reach needs a token")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="LIMNER_TOKEN",
            help="what callers must know; better in the environment than on the command line",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="another name that the service is called by, such as that of a proxy"),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="requests worked on at once; as many as cores by default"),
    ] = None,
    queue: Annotated[
        int, typer.Option(min=0, help="requests that may wait; others are answered 503 at once")
    ] = 64,
    max_megapixels: Annotated[float, typer.Option(min=0.01, help="of an image")] = 50,
    max_megabytes: Annotated[float, typer.Option(min=0.01, help="of a body")] = 50,
    deadline: Annotated[
        float, typer.Option(min=0.1, help="seconds in which a request's turn must have come")
    ] = 30,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
) -> None:
    """Answer images with masks over HTTP, on this machine alone unless told otherwise; torch is not
    needed.

    SIGTERM ends what was begun and stops; SIGHUP takes up what the models' files hold now.
    """
    with report_errors():
        try:
            from limner.web.auth import Access
            from limner.web.limits import Limits
            from limner.web.server import serve as run
            from limner.web.service.app import create_app
            from limner.web.service.models import ModelRepository, parse_model_names
            from limner.web.service.work_queue import WorkQueue
        except ImportError as error:
            raise LimnerError(
                f"serving needs {error.name}, which is not installed: pip install 'limner[serve]'."
            ) from error

        if hasattr(signal, "SIGHUP"):
            signal.pthread_sigmask(
                signal.SIG_BLOCK,
                {signal.SIGHUP},
                # It waits until there is a server that takes it
            )
        access = Access.for_address(host, token, allow_host or ())
        shelf, cores = (
            ModelRepository(parse_model_names(models), device, exported=_portable),
            workers or os.cpu_count() or 1,
        )
        limits = Limits(int(max_megabytes * 1e6), int(max_megapixels * 1e6), deadline_s=deadline)
        application = create_app(shelf, WorkQueue(cores, queue), access, limits)

        def announce(address: str) -> None:
            served = ", ".join(f"{one.name} ({one.version})" for one in shelf.all())
            console.print(f"Serving {escape(served)} at [bold]{address}[/] (docs: {address}docs).")
            if token:
                console.print(
                    f"A browser is let in once by {address}?token=TOKEN; programs send "
                    "Authorization: Bearer TOKEN."
                )

        def again(name: str) -> None:
            try:
                stderr.print(f"{name} is now {shelf.reload(name).version}.")
            except LimnerError as error:
                stderr.print(f"[red]{name} is served on as it was:[/] {escape(str(error))}")

        run(application, host, port, announce, [partial(again, name) for name in shelf.names])


def _portable(path: Path) -> Path:
    """An exported model: the given one, or one made of a model.safetensors beside it, by another
    process, since this one needs no torch.
    """
    if path.suffix in {".onnx", ".xml"}:
        return path
    from limner.inference.engines import read_exported

    target = path.with_suffix(".onnx")
    if not target.exists():
        console.print(f"exporting {escape(str(path))} to {escape(target.name)}")
        done = subprocess.run(
            [sys.executable, "-m", "limner", "export", path, "--out", target],
            capture_output=True,
            text=True,
        )
        if done.returncode and not target.exists():
            # Which another server may have made meanwhile
            raise LimnerError(
                done.stderr.strip().removeprefix("error: ") or f"{path} could not be exported."
            )
    if read_exported(target)[2].get("source_sha256") != sha256_of_file(path):
        raise LimnerError(
            f"{target} was not exported from what {path} is now, and would be served in its "
            "place. Remove it, or name it to serve it as it is."
        )
    return target
