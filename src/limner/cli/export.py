"""`limner export`: write a portable model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from limner.cli.console import console, next_command
from limner.errors import LimnerError

if TYPE_CHECKING:
    from limner.inference.graph_description import GraphKind

MEASURED = 200
"""Images on which a lower precision is measured."""

OutFile = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help=(
            "The file to make: .onnx (ONNX Runtime), .xml (OpenVINO) or .pt2 (torch.export). The "
            "default is a file beside the model."
        ),
    ),
]
Precision = Annotated[
    str,
    typer.Option(help="float32; or, measured on --data, float16 (.onnx), bfloat16 (.xml) or int8."),
]
MeasuredOn = Annotated[
    Path | None,
    typer.Option(
        help="The folder of images and masks whose test split other precisions are measured on."
    ),
]
ComparedOn = Annotated[
    Path | None,
    typer.Option(
        help="A folder of images on which both models must agree. The default is synthetic ones."
    ),
]
Preprocessing = Annotated[
    bool,
    typer.Option(
        "--include-preprocessing",
        help="The graph takes canvases of 8 bits, and gives probabilities (.onnx).",
    ),
]
WholeImage = Annotated[
    bool,
    typer.Option(
        "--whole-image",
        help=(
            "The graph takes an image of 8 bits and any size, and gives its mask: resizing, "
            "augmentation and threshold are in it (.onnx)."
        ),
    ),
]
Page = Annotated[
    Path | None,
    typer.Option(
        help=(
            "A new folder for a page without a server: a browser opens its index.html, and "
            "segments images that never leave the machine."
        ),
        show_default=False,
    ),
]
Runtime = Annotated[
    Path | None,
    typer.Option(
        help=(
            "The folder of the npm package onnxruntime-web, for --page. By default npm fetches it "
            "once."
        ),
        show_default=False,
    ),
]


def export(
    model: Annotated[
        Path, typer.Argument(help="The model.safetensors of a run.", show_default=False)
    ],
    out: OutFile = None,
    precision: Precision = "float32",
    data: MeasuredOn = None,
    images: ComparedOn = None,
    include_preprocessing: Preprocessing = False,
    whole_image: WholeImage = False,
    page: Page = None,
    runtime: Runtime = None,
) -> None:
    """Write a portable model for use without torch; refused unless its masks are the same."""
    if page is not None:
        if out or data or images or include_preprocessing or whole_image or precision != "float32":
            raise LimnerError("--page is a folder of its own. Give it alone, or with --runtime.")
        _export_page(model, page, runtime)
        return
    if runtime is not None:
        raise LimnerError("--runtime is for --page. Add it, or leave --runtime.")
    if include_preprocessing and whole_image:
        raise LimnerError(
            "--whole-image has all of --include-preprocessing in it. Give one of them."
        )
    kind: GraphKind = "image" if whole_image else "canvas" if include_preprocessing else "network"
    if precision == "float32":
        name = "model.onnx" if kind == "network" else f"model-{kind}.onnx"
        _export_exact(model, out or model.with_name(name), images, kind)
        return
    if kind != "network":
        raise LimnerError(
            f"a graph with the preprocessing in it is in float32. Leave --precision {precision}."
        )
    if data is None:
        raise LimnerError(
            f"--precision {precision} changes masks: give the folder of images and masks with "
            "--data, so that the change can be measured."
        )
    suffix = "xml" if precision == "bfloat16" else "onnx"
    target = out or model.with_name(f"model-{precision}.{suffix}")
    _export_reduced(model, target, precision, data)


def _export_page(model: Path, folder: Path, runtime: Path | None) -> None:
    from limner.web.standalone import write_page

    parity = write_page(model, folder, runtime)
    console.print(
        f"Open [bold]{escape(str(folder))}/index.html[/] in a browser, or put the folder on any "
        f"web server. Its graph draws the same masks: {parity.changed} of {parity.pixels:,} pixels "
        f"of {parity.images} images differ."
    )


def _export_exact(model: Path, target: Path, folder: Path | None, kind: "GraphKind") -> None:
    from limner.inference.export import export as export_model
    from limner.model.bundle import Bundle

    parity = export_model(model, target, () if folder is None else folder, kind)
    console.print(
        f"[bold]{escape(str(target))}[/] draws the same masks: {parity.changed} of "
        f"{parity.pixels:,} pixels of {parity.images} images differ, probabilities by "
        f"{parity.difference:.1g} at most."
    )
    steps = Bundle.load(model).inference.postprocessing.enabled
    if steps and kind != "network":
        console.print(
            f"Post-processing is not in the graph: validation chose {', '.join(steps)}, which the "
            "caller applies to the mask (docs/onnx.md)."
        )
    if kind == "network" and target.suffix in {".onnx", ".xml"}:
        console.print(f"Next: {next_command('serve', target)}", soft_wrap=True)


def _export_reduced(model: Path, target: Path, precision: str, data: Path) -> None:
    from limner.data.scan import scan
    from limner.data.split_folders import describe_splits
    from limner.data.split_record import read_contents
    from limner.inference.export import export_reduced_precision
    from limner.metrics.intervals import format_interval
    from limner.model.bundle import Bundle

    dataset = scan(data)
    contents = read_contents(dataset.samples)
    splits = Bundle.load(model).split_record.assign(dataset.samples, contents)
    console.print(escape(describe_splits(dataset.root, splits)), soft_wrap=True)
    scored = (splits["test"] or splits["val"])[:MEASURED]
    change = export_reduced_precision(model, target, precision, splits["train"], scored)
    interval = format_interval(change.interval, 4, signed=True)
    console.print(
        f"[bold]{escape(str(target))}[/]: mean Dice {change.before:.4f} in float32, changed by "
        f"[bold]{change.difference:+.4f}[/] (95 % interval {interval}) on {change.images} "
        f"images; {change.changed:.2%} of the mask pixels differ; {change.speed:.2f} times the "
        "speed of float32 on this machine."
    )
