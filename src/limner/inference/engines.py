"""Engines that run a network: an array of images in, logits out.

torch, ONNX Runtime and OpenVINO are imported only when a model file needs them.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from limner.errors import LimnerError, requires_extra
from limner.files import read_stable, verify_checksum
from limner.inference.streaming import (
    OpenSegments,
    RunSegment,
    SegmentedNetwork,
    no_segments,
)
from limner.model.metadata import ModelMetadata, parse_metadata

if TYPE_CHECKING:
    from limner.model.bundle import Bundle

Engine = Callable[[Float32[ndarray, "b c h w"]], Float32[ndarray, "b k h w"]]
"""From normalised images to logits of the same size."""
OPENVINO_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
"""OpenVINO must be told the precision, or it computes in bfloat16 where it can."""

EXTERNAL_DATA_KEY = "location"
"""The key by which an ONNX file names another file with its weights.

Exported files do not contain it anywhere else.
"""

VERSION_DIGITS = 12
"""A model's version is the first digits of its file's SHA-256."""
LARGE_BATCH_PIXELS = 1024 * 1024
"""Batches of more pixels give their memory back.

Otherwise tiles of several sizes would each keep memory of their own.
"""


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


class OnnxEngine:
    """An exported network in ONNX Runtime; threads may call it at the same time."""

    def __init__(self, content: bytes, device: str = "cpu", threads: int = 0) -> None:
        """Open an ONNX model.

        Args:
            content: of the .onnx file.
            device: cpu or cuda.
            threads: for one call; 0 takes all cores.

        Raises LimnerError where this ONNX Runtime does not run on the device.
        """
        import onnxruntime

        providers = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
        if providers.get(device) not in onnxruntime.get_available_providers():
            raise LimnerError(
                f"this ONNX Runtime does not run on {device!r}. Take cpu, or pip install "
                "onnxruntime-gpu for cuda."
            )

        def session(*, memory_pattern: bool) -> Any:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            options.log_severity_level = 3
            options.enable_mem_pattern = memory_pattern
            return onnxruntime.InferenceSession(content, options, providers=[providers[device]])

        def open_segment(graph: bytes, names: tuple[str, ...]) -> RunSegment:
            _share_memory()
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            options.log_severity_level = 3
            options.enable_mem_pattern = False
            options.add_session_config_entry("session.use_env_allocators", "1")
            # The threads of each segment would wait busily while the next one works: with 20
            # segments on two cores that took twice the time
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            part = onnxruntime.InferenceSession(graph, options, providers=[providers[device]])

            def run(inputs: Sequence[Float32[ndarray, "b _ _ _"]]) -> Float32[ndarray, "b _ _ _"]:
                output: ndarray = part.run(None, dict(zip(names, inputs, strict=True)))[0]
                return output

            return run

        # Without patterns, two threads took a tenth longer at 256 px
        self._session = session(memory_pattern=True)
        # With them, a tile of 2,044 px took twice the memory and the time
        self._large_session = cache(lambda: session(memory_pattern=False))
        self.segmented = cache(lambda: _open_segments(content, open_segment))
        """The network in segments; None where it cannot be cut, or onnx is not installed."""
        self._free_memory = onnxruntime.RunOptions()
        if device == "cpu":
            self._free_memory.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def __call__(self, images: Float32[ndarray, "b c h w"]) -> Float32[ndarray, "b k h w"]:
        """Run the network."""
        batch, _, height, width = images.shape
        large = batch * height * width > LARGE_BATCH_PIXELS
        session = self._large_session() if large else self._session
        logits: ndarray = session.run(
            None, {"images": images}, self._free_memory if large else None
        )[0]
        return logits


@cache
def _share_memory() -> None:
    """Make one store of memory for all segments, each of which would keep its own."""
    import onnxruntime

    memory = onnxruntime.OrtMemoryInfo(
        "Cpu",
        onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR,
        0,
        onnxruntime.OrtMemType.DEFAULT,
    )
    onnxruntime.create_and_register_allocator(memory, None)


def _open_segments(
    content: bytes, open_segment: Callable[[bytes, tuple[str, ...]], RunSegment]
) -> SegmentedNetwork | None:
    """Cut an ONNX graph into segments, and open each by its graph and the names of its inputs."""
    try:
        from limner.inference.onnx_segments import NotLocalError, split_graph

        split = split_graph(content)
    except (ImportError, NotLocalError):
        return None
    run = {
        segment.output: open_segment(split.graphs[segment.output], segment.inputs)
        for segment in split.plan.segments
    }
    return SegmentedNetwork(split.plan, run)


class OpenVinoEngine:
    """An exported network in OpenVINO, in the precision that it was exported for."""

    def __init__(
        self, structure: bytes, weights: bytes, precision: str, threads: int = 0, callers: int = 1
    ) -> None:
        """Compile an OpenVINO model for the CPU.

        Args:
            structure: of the .xml file, or of an .onnx file.
            weights: of the .bin file; an .onnx file has none.
            precision: float32, bfloat16 or int8.
            threads: for one call; 0 takes all cores.
            callers: how many threads call it at once, where `threads` is not 0.
        """
        import openvino

        core = openvino.Core()
        hints: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": OPENVINO_HINTS[precision],
            "INFERENCE_NUM_THREADS": threads * callers,
        }
        if threads:
            hints["NUM_STREAMS"] = callers
        self._compiled = core.compile_model(core.read_model(structure, weights), "CPU", hints)

        def open_segment(graph: bytes, names: tuple[str, ...]) -> RunSegment:
            part = core.compile_model(core.read_model(graph, b""), "CPU", hints)

            def run(inputs: Sequence[Float32[ndarray, "b _ _ _"]]) -> Float32[ndarray, "b _ _ _"]:
                request = part.create_infer_request()
                output: ndarray = request.infer(dict(zip(names, inputs, strict=True)))[0]
                return output

            return run

        self.segmented: OpenSegments = (
            no_segments if weights else cache(lambda: _open_segments(structure, open_segment))
        )
        """The network in segments; None for an .xml file."""

    def __call__(self, images: Float32[ndarray, "b c h w"]) -> Float32[ndarray, "b k h w"]:
        """Run the network."""
        logits: ndarray = self._compiled.create_infer_request().infer([images])[0]
        return logits


def load_torch(bundle: "Bundle", device: str = "cpu") -> LoadedModel:
    """Load a bundle's network in torch; its receptive field is measured where tiles need it."""
    engine = TorchEngine(bundle, device)
    if bundle.preprocessing.resize_mode != "tile":
        return LoadedModel(bundle, engine, ReceptiveField())
    from limner.model.receptive_field import measure_halo

    network = bundle.network()
    halo_px = measure_halo(network, bundle.recipe.data.channels)
    return LoadedModel(bundle, engine, ReceptiveField(network.stride, halo_px))


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
    path: Path, engine_name: str, threads: int = 0, callers: int = 1
) -> LoadedModel:
    """Load an .onnx file in an engine for the processor.

    Args:
        path: An exported model.
        engine_name: "onnxruntime" or "openvino".
        threads: Of one call; 0 takes all cores.
        callers: How many threads call it at once, where `threads` is not 0.

    Raises:
        LimnerError: As `load_model` does.
    """
    content, _, record = read_exported(path)
    engine: OnnxEngine | OpenVinoEngine
    with requires_extra(str(path), "export"):
        if engine_name == "openvino":
            engine = OpenVinoEngine(content, b"", record["precision"], threads, callers)
        else:
            engine = OnnxEngine(content, "cpu", threads)
    return _loaded(path, content, record, engine)


def _load_exported(path: Path, device: str, threads: int) -> LoadedModel:
    content, weights, record = read_exported(path)
    if path.suffix == ".xml" and device != "cpu":
        raise LimnerError(
            f"{path} runs on the processor. Leave --device {device}, or take the "
            ".onnx or the .safetensors."
        )
    engine: OnnxEngine | OpenVinoEngine
    with requires_extra(str(path), "export"):
        if path.suffix == ".xml":
            engine = OpenVinoEngine(content, weights, record["precision"], threads)
        else:
            engine = OnnxEngine(content, device, threads)
    return _loaded(path, content, record, engine)


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
