"""Engines that run a network: an array of images in, logits out.

torch, ONNX Runtime and OpenVINO are imported only when a model file needs them.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from limner.errors import LimnerError, requires_extra
from limner.files import read_stable, verify_checksum
from limner.inference.onnx_engine import OnnxEngine
from limner.inference.openvino_engine import OpenVinoEngine
from limner.inference.streaming import OpenSegments, SegmentedNetwork, no_segments
from limner.model.metadata import ModelMetadata, parse_metadata

if TYPE_CHECKING:
    from limner.model.bundle import Bundle
    from limner.model.ensemble import Ensemble
    from limner.model.unet import UNet

Engine = Callable[[Float32[ndarray, "b c h w"]], Float32[ndarray, "b k h w"]]
"""From normalised images to logits of the same size."""
EXTERNAL_DATA_KEY = "location"
"""The key by which an ONNX file names another file with its weights.

Exported files do not contain it anywhere else.
"""

VERSION_DIGITS = 12
"""A model's version is the first digits of its file's SHA-256."""


class ReceptiveField(NamedTuple):
    """What a network sees around a pixel."""

    stride: int = 1
    """Sides of its input are padded to multiples of this, in pixels."""
    halo_px: int | None = None
    """How far it sees beyond a cut; None where it sees the whole image."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model file in its engine."""

    metadata: ModelMetadata
    engine: Engine
    receptive_field: ReceptiveField
    version: str = ""
    """The first digits of the file's SHA-256; empty where it was not loaded from a file."""
    segmented: OpenSegments = no_segments
    """Gives the network in segments, for large images; None where it cannot be cut."""


def require_device(device: str) -> None:
    """Raise LimnerError where there is no such device, or torch cannot use it.

    Args:
        device: cpu, cuda (or cuda:1) or mps.
    """
    import torch

    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available.get(device.partition(":")[0], False):
        usable = ", ".join(name for name, is_available in available.items() if is_available)
        raise LimnerError(
            f"there is no device {device} here, or torch cannot use it. Take one that is "
            f"there ({usable}), or mend the driver."
        )


class TorchEngine:
    """The network in torch, in float32 and channels last."""

    def __init__(self, bundle: "Bundle", device: str = "cpu") -> None:
        """Build the network on a device. Raises LimnerError where that is not available."""
        import torch

        require_device(device)
        self._device = torch.device(device)
        self._network = bundle.network().to(self._device).to(memory_format=torch.channels_last)

    def __call__(self, images: Float32[ndarray, "b c h w"]) -> Float32[ndarray, "b k h w"]:
        """Run the network; a batch that does not fit into memory is halved."""
        import torch

        try:
            return self._run(images)
        except torch.OutOfMemoryError:
            if len(images) == 1:
                raise
        # After the except clause, since the exception holds on to the memory
        half = len(images) // 2
        return np.concatenate([self(images[:half]), self(images[half:])])

    def _run(self, images: Float32[ndarray, "b c h w"]) -> Float32[ndarray, "b k h w"]:
        import torch

        with torch.inference_mode():
            batch = torch.from_numpy(images).to(
                device=self._device, memory_format=torch.channels_last
            )
            logits: ndarray = self._network(batch).float().cpu().numpy()
        return logits


def load_torch(bundle: "Bundle", device: str = "cpu") -> LoadedModel:
    """Load a bundle's network in torch; its receptive field is measured where tiles need it.

    On a processor large images go through it in ONNX Runtime, in segments, where that is installed.
    """
    engine = TorchEngine(bundle, device)
    if bundle.preprocessing.resize_mode != "tile":
        return LoadedModel(bundle, engine, ReceptiveField())
    from limner.model.receptive_field import measure_halo

    network, channels = bundle.network(), bundle.recipe.data.channels
    receptive_field = ReceptiveField(network.stride, measure_halo(network, channels))
    if device != "cpu":
        return LoadedModel(bundle, engine, receptive_field)
    segmented = cache(lambda: _in_segments(network, channels))
    return LoadedModel(bundle, engine, receptive_field, segmented=segmented)


def _in_segments(network: "UNet | Ensemble", channels: int) -> SegmentedNetwork | None:
    """A network in segments of ONNX Runtime; None where it cannot be exported here."""
    from torch.onnx import OnnxExporterError

    from limner.inference.export_formats import to_onnx

    try:
        return OnnxEngine(to_onnx(network, channels)).segmented()
    except (ImportError, OnnxExporterError):
        return None


def load_model(path: Path | str, device: str = "cpu", threads: int = 0) -> LoadedModel:
    """Load a model file in the engine that its ending names.

    Args:
        path: a .safetensors (torch), .onnx (ONNX Runtime) or .xml file (OpenVINO).
        device: cpu, cuda or mps; .onnx takes cpu or cuda, .xml cpu alone.
        threads: of one call of an exported model; 0 takes all cores.

    Raises LimnerError where the file is missing, damaged or not a model of limner's, its engine is
    not installed, or the device is not available.
    """
    path = Path(path)
    if path.suffix == ".pt2":
        raise LimnerError(
            f"{path} is for torch.export.load, and limner does not read it, since it may hold "
            "pickles. Take the .safetensors it was made from."
        )
    if path.suffix in {".onnx", ".xml"}:
        return _load_exported(path, device, threads)
    from limner.model.bundle import Bundle

    bundle, (digest,) = read_stable([path], lambda: Bundle.load(path))
    return replace(load_torch(bundle, device), version=digest[:VERSION_DIGITS])


def load_exported_as(
    path: Path,
    package: str,
    callers: int = 1,
    *,
    precision: str = "",
    fixed_canvas: bool = False,
) -> LoadedModel:
    """Load an .onnx file in an engine for the processor.

    Args:
        path: An exported model.
        package: "onnxruntime" or "openvino".
        callers: How many threads call it at once. A single one has all cores for each call, of
            several each has one.
        precision: "bfloat16" has OpenVINO compute a float32 file in it. By default it is the file's
            own.
        fixed_canvas: OpenVINO compiles it for one image of the model's working size, beside any.

    Raises:
        LimnerError: As `load_model` does.
    """
    content, _, record = _read_network(path)
    engine: OnnxEngine | OpenVinoEngine
    with requires_extra(str(path), "export"):
        if package == "openvino":
            precision = precision or record["precision"]
            engine = OpenVinoEngine(content, b"", precision, callers)
            if fixed_canvas:
                preprocessing = parse_metadata(record["model"], path).preprocessing
                engine.compile_for((len(preprocessing.mean), *preprocessing.size_px))
        else:
            engine = OnnxEngine(content, "cpu", threads=0 if callers == 1 else 1)
    return _loaded(path, content, record, engine)


def _load_exported(path: Path, device: str, threads: int) -> LoadedModel:
    content, weights, record = _read_network(path)
    if path.suffix == ".xml" and device != "cpu":
        raise LimnerError(
            f"{path} runs on the processor. Leave --device {device}, or take the "
            ".onnx or the .safetensors."
        )
    engine: OnnxEngine | OpenVinoEngine
    with requires_extra(str(path), "export"):
        if path.suffix == ".xml":
            engine = OpenVinoEngine(content, weights, record["precision"], threads=threads)
        else:
            engine = OnnxEngine(content, device, threads)
    return _loaded(path, content, record, engine)


def _read_network(path: Path) -> tuple[bytes, bytes, Mapping[str, Any]]:
    """As `read_exported`. Raises LimnerError also for a graph with the preprocessing in it."""
    content, weights, record = read_exported(path)
    if "kind" in record:
        raise LimnerError(
            f"{path} takes images as they are, for other programs, and lacks what limner does "
            "around the network. Give the model.safetensors, or what limner export makes of it "
            "without --include-preprocessing and --whole-image."
        )
    return content, weights, record


def _loaded(
    path: Path, content: bytes, record: Mapping[str, Any], engine: OnnxEngine | OpenVinoEngine
) -> LoadedModel:
    # Files of earlier versions call it "sight"
    receptive_field = ReceptiveField(*(record.get("receptive_field") or record["sight"]))
    version = hashlib.sha256(content).hexdigest()[:VERSION_DIGITS]
    metadata = parse_metadata(record["model"], path)
    return LoadedModel(metadata, engine, receptive_field, version, engine.segmented)


def read_exported(path: Path) -> tuple[bytes, bytes, Mapping[str, Any]]:
    """Read an exported file without loading it in an engine.

    Returns its content, the weights beside it (of an .xml file), and its record.

    Raises LimnerError where it is missing, damaged, not of limner's making, or names other files.
    """
    try:
        content = path.read_bytes()
        weights = path.with_suffix(".bin").read_bytes() if path.suffix == ".xml" else b""
    except FileNotFoundError as error:
        raise LimnerError(
            f"{error.filename} is not there. Make it with: limner export "
            f"RUN/model.safetensors --out {path}"
        ) from error
    intact, record_start = verify_checksum(content, weights)
    if not intact:
        raise LimnerError(
            f"{path} is damaged, or was not exported by limner: its content does not match "
            "its SHA-256. Export the model again."
        )
    if EXTERNAL_DATA_KEY.encode() in content and path.suffix == ".onnx":
        raise LimnerError(
            f"{path} keeps weights in other files, which are not read. Export the model again."
        )
    text = content[record_start:].decode("utf-8", errors="replace")
    if path.suffix == ".xml":
        from xml.sax.saxutils import unescape

        text = unescape(text, {"&quot;": '"'})
    record: dict[str, Any] = json.JSONDecoder().raw_decode(text)[0]
    return content, weights, record
