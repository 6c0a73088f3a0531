"""Export of a model to ONNX, OpenVINO or torch.export, for use without this package's training.

A file is written only where its masks equal those of the original, or where what a lower precision
changes was measured.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float32, UInt8
from numpy import ndarray

from limner.data.folder_listing import find_images
from limner.data.sample import Sample
from limner.errors import LimnerError, requires_extra
from limner.files import already_exists, atomic_file, read_stable, require_new
from limner.inference.engines import Engine, LoadedModel, ReceptiveField, TorchEngine
from limner.inference.export_formats import to_onnx, to_torch_export, trace_to_onnx
from limner.inference.graph_description import GraphKind, describe_graph
from limner.inference.onnx_engine import OnnxEngine
from limner.inference.onnx_files import finish_onnx, to_float16, to_int8, to_openvino
from limner.inference.openvino_engine import OpenVinoEngine
from limner.inference.parity import (
    MAX_CANVASES,
    MAX_CHANGED,
    MAX_DIFFERENCE,
    Parity,
    PrecisionChange,
    compare_engines,
    compare_predictions,
    first_canvas,
    measure_change,
    synthetic_images,
)
from limner.inference.prediction import ImageSource
from limner.inference.predictor import read_source
from limner.model.bundle import Bundle
from limner.model.receptive_field import measure_halo
from limner.model.unet import pad_to_stride
from limner.processor import FAST_BFLOAT16, has_fast_bfloat16

MAX_COMPARED = 100
"""Images of a folder on which an export is compared with the original."""
SUFFIXES_BY_PRECISION = {
    "bfloat16": {".xml"},
    "float16": {".onnx"},
    "int8": {".onnx", ".xml"},
}


def export(
    source: Path | str,
    out: Path | str,
    images: Path | str | Sequence[ImageSource] = (),
    kind: GraphKind = "network",
) -> Parity:
    """Write a model in float32 as a portable file, and prove that its masks are the same.

    Args:
        source: the model.safetensors of a run.
        out: a new file. Its ending chooses the format: .onnx for ONNX Runtime, .xml for OpenVINO
            (with a .bin beside it), .pt2 for torch.export.
        images: on which both models must agree: a folder (its first 100 images are used), an image
            file, or a sequence of files and arrays of shape (h, w, c). By default synthetic images
            of odd sizes.
        kind: what the graph takes. "network" takes normalised canvases and gives logits; it is what
            limner itself loads. "canvas" takes canvases of 8 bits and gives probabilities. "image"
            takes an image of 8 bits and any size, and gives its mask (before post-processing) and
            probabilities. The last two are for .onnx alone.

    Returns how far the two models differ.

    Raises:
        LimnerError: the masks differ in more than 1 pixel of 100,000, or a probability by more
            than 0.0001; then nothing is written. Or `out` exists or has another ending, `source`
            is not a model, `images` holds no image, or a package is not installed.

    Example:
        model = "runs/lesions/model.safetensors"
        parity = limner.export(model, "lesions.onnx", images="photos")
        print(parity.changed, "of", parity.pixels, "pixels differ")
        limner.Predictor.load("lesions.onnx").predict("photo.jpg")
    """
    source, out = Path(source), Path(out)
    _require_writable(out)
    if kind != "network" and out.suffix != ".onnx":
        raise LimnerError(
            f"a graph with the preprocessing in it is for .onnx. Name {out} so, or leave "
            "--include-preprocessing and --whole-image."
        )
    sources = _list_sources(images)
    bundle, record = _load_bundle(source)
    channels = bundle.preprocessing.channels
    pixels = (
        (read_source(image, channels) for image in sources)
        if sources
        else synthetic_images(bundle.recipe.data.channels)
    )
    # The receptive field takes long to measure
    original = LoadedModel(bundle, TorchEngine(bundle), record["receptive_field"])
    if kind == "network":
        exported = (
            _export_program(bundle, record)
            if out.suffix == ".pt2"
            else _export_graph(bundle, _trace(bundle), record, out.suffix)
        )
        file, parity = exported.file, compare_engines(original, exported.model, pixels)
    else:
        file, predict = _export_with_preprocessing(bundle, record, kind)
        parity = compare_predictions(original, predict, pixels, whole=kind == "image")
    if not parity.holds:
        raise LimnerError(
            f"the export is refused, for it does not draw the same masks: {parity.changed} of "
            f"{parity.pixels:,} pixels differ (at most {MAX_CHANGED:g} of them may), probabilities "
            f"by {parity.difference:.2g} (at most {MAX_DIFFERENCE:g}). Nothing was written."
        )
    file.write(out)
    return parity


def export_reduced_precision(
    source: Path | str,
    out: Path | str,
    precision: str,
    training: Sequence[Sample],
    scored: Sequence[Sample],
) -> PrecisionChange:
    """Write a model in a lower precision, and measure what that changes.

    Args:
        source: the model.safetensors of a run.
        out: a new file, whose ending must fit the precision.
        precision: float16 (.onnx), bfloat16 (.xml) or int8 (both).
        training: samples from which int8 takes its ranges; `scored` where there are none.
        scored: samples of known masks on which the change is measured.

    Raises LimnerError where `out` exists or has no such precision, `scored` is empty, `source` is
    not a model, a package is not installed, or the processor has no bfloat16 to measure it in.
    """
    source, out = Path(source), Path(out)
    _require_writable(out)
    if out.suffix not in SUFFIXES_BY_PRECISION.get(precision, set()):
        raise LimnerError(
            f"{precision} is not there for {out.suffix}. There is float16 for .onnx, bfloat16 "
            "for .xml, and int8 for both."
        )
    if precision == "bfloat16" and not has_fast_bfloat16():
        raise LimnerError(
            "this processor has neither of "
            f"{' and '.join(FAST_BFLOAT16)}, so that it cannot be measured here what bfloat16 "
            "changes. Export on one that has, or leave --precision: OpenVINO runs the float32 "
            "file anywhere."
        )
    if not scored:
        raise LimnerError(
            "there is no image of known mask to measure the change on. Give a folder with "
            "--data that has a test or validation split."
        )
    bundle, record = _load_bundle(source)
    graph = _trace(bundle)
    canvases = [
        first_canvas(bundle.preprocessing, sample) for sample in (training or scored)[:MAX_CANVASES]
    ]
    full = _export_graph(bundle, graph, record, out.suffix)
    # OpenVINO takes a float32 graph for bfloat16, and computes in it
    if precision == "int8":
        graph = to_int8(graph, canvases)
    elif precision == "float16":
        graph = to_float16(graph)
    reduced = _export_graph(bundle, graph, record | {"precision": precision}, out.suffix)
    change = measure_change(full.model, reduced.model, scored, canvases)
    reduced.file.write(out)
    return change


@dataclass(frozen=True, slots=True)
class _ExportedFile:
    """An exported model that is not written yet."""

    content: bytes
    weights: bytes = b""
    """A second file, which OpenVINO has."""

    def write(self, out: Path) -> None:
        """Write the files, the weights first. Raises LimnerError where one exists already."""
        files = [(out.with_suffix(".bin"), self.weights)] if self.weights else []
        for path, content in (*files, (out, self.content)):
            try:
                with atomic_file(path, durable=True, new=True) as part:
                    part.write_bytes(content)
            except FileExistsError as error:
                raise already_exists(path) from error


@dataclass(frozen=True, slots=True)
class _ExportedModel:
    """An exported model that is not written yet, in its engine."""

    model: LoadedModel
    file: _ExportedFile


def _require_writable(out: Path) -> None:
    if out.suffix not in {".onnx", ".xml", ".pt2"}:
        raise LimnerError(
            f"{out} ends in none of .onnx (ONNX Runtime), .xml (OpenVINO) and .pt2 "
            "(torch.export). Name it so with --out."
        )
    require_new(out)
    if out.suffix == ".xml":
        require_new(out.with_suffix(".bin"))


def _list_sources(images: Path | str | Sequence[ImageSource]) -> Sequence[ImageSource]:
    """Return the images to compare on. Raises LimnerError for a folder without any."""
    if not isinstance(images, Path | str):
        return images
    path = Path(images)
    sources = [path] if path.is_file() else find_images(path)[:MAX_COMPARED]
    if not sources:
        raise LimnerError(
            f"{path} holds no image to compare on. Give a folder of images with --images, or "
            "leave it out."
        )
    return sources


def _load_bundle(source: Path) -> tuple[Bundle, dict[str, Any]]:
    """Load a model, with the record that its exported file holds in float32."""
    bundle, (digest,) = read_stable([source], lambda: Bundle.load(source))
    network = bundle.network()
    halo_px = measure_halo(network, bundle.recipe.data.channels)
    return bundle, {
        "model": bundle.to_dict(),
        "receptive_field": ReceptiveField(network.stride, halo_px),
        "precision": "float32",
        "source_sha256": digest,
    }


def _trace(bundle: Bundle) -> bytes:
    with requires_extra("export", "export"):
        return to_onnx(bundle.network(), bundle.recipe.data.channels)


def _export_graph(
    bundle: Bundle, graph: bytes, record: Mapping[str, Any], suffix: str
) -> _ExportedModel:
    """Finish an ONNX graph as .onnx or .xml, and open it in its engine."""
    engine: Engine
    weights = b""
    with requires_extra("export", "export"):
        description = describe_graph(bundle, record["receptive_field"].stride, "network")
        if suffix == ".xml":
            content, weights = to_openvino(graph, record, description)
            engine = OpenVinoEngine(content, weights, record["precision"])
        else:
            content = finish_onnx(graph, record, description)
            engine = OnnxEngine(content)
    model = LoadedModel(bundle, engine, record["receptive_field"])
    return _ExportedModel(model, _ExportedFile(content, weights))


def _export_with_preprocessing(
    bundle: Bundle, record: Mapping[str, Any], kind: GraphKind
) -> tuple["_ExportedFile", Callable[[UInt8[ndarray, "..."]], Sequence[ndarray]]]:
    """Export a graph that takes 8 bits, and open it."""
    from limner.inference.whole_image import CanvasNetwork, WholeImageNetwork

    receptive_field: ReceptiveField = record["receptive_field"]
    height, width = bundle.preprocessing.size_px
    channels = bundle.preprocessing.channels
    free = {} if channels else {3: "channels"}
    with requires_extra("export", "export"):
        if kind == "canvas":
            graph = trace_to_onnx(
                CanvasNetwork(bundle),
                torch.zeros(1, height, width, channels or 3, dtype=torch.uint8),
                {"images": {0: "batch", 1: "height", 2: "width", **free}},
                {"probabilities": {0: "batch", 2: "height", 3: "width"}},
            )
        else:
            graph = trace_to_onnx(
                WholeImageNetwork(bundle, receptive_field),
                # Sides of which some are resized, and some are padded
                torch.zeros(3 * height + 1, 2 * width + 1, channels or 3, dtype=torch.uint8),
                {"image": {0: "height", 1: "width", **({2: "channels"} if free else {})}},
                {
                    "mask": {0: "height", 1: "width"},
                    "probabilities": {1: "height", 2: "width"},
                },
            )
        content = finish_onnx(
            graph, {**record, "kind": kind}, describe_graph(bundle, receptive_field.stride, kind)
        )
    return _ExportedFile(content), _open_graph(content)


def _open_graph(content: bytes) -> Callable[[UInt8[ndarray, "..."]], Sequence[ndarray]]:
    """Open a graph of one input, of 8 bits; what is returned gives its outputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (source,) = session.get_inputs()

    def run(pixels: UInt8[ndarray, "..."]) -> Sequence[ndarray]:
        outputs: Sequence[ndarray] = session.run(None, {source.name: pixels})
        return outputs

    return run


def _export_program(bundle: Bundle, record: Mapping[str, Any]) -> _ExportedModel:
    """Export a program of torch.export, and open it."""
    receptive_field: ReceptiveField = record["receptive_field"]
    content = to_torch_export(bundle.network(), bundle.recipe.data.channels, record)
    program = torch.export.load(io.BytesIO(content)).module()

    def engine(images: Float32[ndarray, "b c h w"]) -> Float32[ndarray, "b k h w"]:
        with torch.inference_mode():
            padded = pad_to_stride(torch.from_numpy(images), receptive_field.stride)
            logits: ndarray = program(padded).numpy()
        return logits[..., : images.shape[2], : images.shape[3]]

    return _ExportedModel(LoadedModel(bundle, engine, receptive_field), _ExportedFile(content))
