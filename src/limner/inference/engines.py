"""What runs a network: array in, logits out. torch, ONNX Runtime and OpenVINO are each imported
only when a model file asks for them.
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

from limner.errors import LimnerError
from limner.files import read_stable, verify_checksum
from limner.model.metadata import ModelMetadata, parse_metadata

if TYPE_CHECKING:
    from limner.model.bundle import Bundle

Engine = Callable[[Float32[ndarray, "b c h w"]], Float32[ndarray, "b k h w"]]
OPENVINO_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
"""What OpenVINO must be told, since of itself it computes in bfloat16 where it can."""

FORBIDDEN = "location"
"""The key under which an ONNX file names another that holds its weights; nothing else in a file of
ours bears it.
"""

DIGITS = 12
LARGE_PIXELS = 1024 * 1024
"""Where a batch has more, what it needed is given back after it: tiles of several sizes otherwise
each keep memory of their own.
"""


class ReceptiveField(NamedTuple):
    """How a network looks at an image: the stride that its sides are padded to, and how far it sees
    beyond a cut (None: all of the image).
    """

    stride: int = 1
    halo_px: int | None = None


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model file opened in its engine."""

    metadata: ModelMetadata
    engine: Engine
    receptive_field: ReceptiveField
    version: str = ""
    """Of the file that it was opened from, the first digits of the SHA-256."""


def require_device(device: str) -> None:
    """Raises LimnerError where there is no such device, or torch cannot use it here."""
    import torch

    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(device.partition(":")[0], False):
        usable = ", ".join(name for name, is_so in there.items() if is_so)
        raise LimnerError(
            f"there is no device {device} here, or torch cannot use it. Take one that is "
            f"there ({usable}), or mend the driver."
        )


class TorchEngine:
    """The network itself, in float32, channels last."""

    def __init__(self, bundle: "Bundle", device: str = "cpu") -> None:
        import torch

        require_device(device)
        self._device = torch.device(device)
        self._network = bundle.network().to(self._device).to(memory_format=torch.channels_last)

    def __call__(self, images: Float32[ndarray, "b c h w"]) -> Float32[ndarray, "b k h w"]:
        import torch

        try:
            return self._drawn(images)
        except torch.OutOfMemoryError:
            if len(images) == 1:
                raise
        # Out of the exception's reach, which holds what there was
        half = len(images) // 2
        return np.concatenate([self(images[:half]), self(images[half:])])

    def _drawn(self, images: Float32[ndarray, "b c h w"]) -> Float32[ndarray, "b k h w"]:
        import torch

        with torch.inference_mode():
            batch = torch.from_numpy(images).to(
                device=self._device, memory_format=torch.channels_last
            )
            logits: ndarray = self._network(batch).float().cpu().numpy()
        return logits


class OnnxEngine:
    """An exported network in ONNX Runtime; calls from several threads run side by side. `threads` 0
    takes all cores for one call.
    """

    def __init__(self, content: bytes, device: str = "cpu", threads: int = 0) -> None:
        import onnxruntime

        providers = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
        if providers.get(device) not in onnxruntime.get_available_providers():
            raise LimnerError(
                f"this ONNX Runtime does not run on {device!r}. Take cpu, or pip install "
                "onnxruntime-gpu for cuda."
            )

        def opened(*, plans: bool) -> Any:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            options.log_severity_level = 3
            options.enable_mem_pattern = plans
            return onnxruntime.InferenceSession(content, options, providers=[providers[device]])

        self._session = opened(
            plans=True
            # Of its memory for each size: without, two threads took a tenth longer at 256 px
        )
        self._for_large = cache(
            lambda: opened(plans=False)
            # With them, a tile of 2,044 px took twice the memory and the time
        )
        self._frugal = onnxruntime.RunOptions()
        if device == "cpu":
            self._frugal.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def __call__(self, images: Float32[ndarray, "b c h w"]) -> Float32[ndarray, "b k h w"]:
        large = images.shape[0] * images.shape[2] * images.shape[3] > LARGE_PIXELS
        logits: ndarray = (self._for_large() if large else self._session).run(
            None, {"images": images}, self._frugal if large else None
        )[0]
        return logits


class OpenVinoEngine:
    """An exported network in OpenVINO, at the precision that it was exported for."""

    def __init__(self, structure: bytes, weights: bytes, precision: str, threads: int = 0) -> None:
        import openvino

        core = openvino.Core()
        hints: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": OPENVINO_HINTS[precision],
            "INFERENCE_NUM_THREADS": threads,
        }
        self._compiled = core.compile_model(core.read_model(structure, weights), "CPU", hints)

    def __call__(self, images: Float32[ndarray, "b c h w"]) -> Float32[ndarray, "b k h w"]:
        logits: ndarray = self._compiled.create_infer_request().infer([images])[0]
        return logits


def load_torch(bundle: "Bundle", device: str = "cpu") -> LoadedModel:
    """A bundle's network in torch; its sight is looked for where tiles need it."""
    engine = TorchEngine(bundle, device)
    if bundle.preprocessing.resize_mode != "tile":
        return LoadedModel(bundle, engine, ReceptiveField())
    from limner.model.receptive_field import measure_halo

    network = bundle.network()
    return LoadedModel(
        bundle,
        engine,
        ReceptiveField(network.stride, measure_halo(network, bundle.recipe.data.channels)),
    )


def load_model(path: Path | str, device: str = "cpu", threads: int = 0) -> LoadedModel:
    """A model file in the engine that its ending names: .safetensors (torch), .onnx (ONNX Runtime)
    or .xml (OpenVINO).

    Raises LimnerError where it is missing, damaged or not of limner's making, and where its engine
    is not installed.
    """
    path = Path(path)
    if path.suffix == ".pt2":
        raise LimnerError(
            f"{path} is for torch.export.load, and limner does not read it, since it may hold "
            "pickles. Take the .safetensors it was made from."
        )
    if path.suffix not in {".onnx", ".xml"}:
        from limner.model.bundle import Bundle

        bundle, (digest,) = read_stable([path], lambda: Bundle.load(path))
        return replace(load_torch(bundle, device), version=digest[:DIGITS])
    content, weights, about = read_exported(path)
    try:
        if path.suffix == ".xml":
            if device != "cpu":
                raise LimnerError(
                    f"{path} runs on the processor. Leave --device {device}, or take the "
                    ".onnx or the .safetensors."
                )
            engine: Engine = OpenVinoEngine(content, weights, about["precision"], threads)
        else:
            engine = OnnxEngine(content, device, threads)
    except ImportError as error:
        raise LimnerError(
            f"{path} needs {error.name}, which is not installed: pip install 'limner[export]'."
        ) from error
    return LoadedModel(
        parse_metadata(about["model"], path),
        engine,
        ReceptiveField(*(about.get("receptive_field") or about["sight"])),
        hashlib.sha256(content).hexdigest()[:DIGITS],
    )


def read_exported(path: Path) -> tuple[bytes, bytes, Mapping[str, Any]]:
    """What an exported file holds, what lies beside it, and what it says of itself; no engine is
    asked.

    Raises LimnerError where it is missing, damaged, not of limner's making, or would have other
    files read.
    """
    try:
        content = path.read_bytes()
        weights = path.with_suffix(".bin").read_bytes() if path.suffix == ".xml" else b""
    except FileNotFoundError as error:
        raise LimnerError(
            f"{error.filename} is not there. Make it with: limner export "
            f"RUN/model.safetensors --out {path}"
        ) from error
    whole, end = verify_checksum(content, weights)
    if not whole:
        raise LimnerError(
            f"{path} is damaged, or was not exported by limner: its content does not match "
            "its SHA-256. Export the model again."
        )
    if FORBIDDEN.encode() in content and path.suffix == ".onnx":
        raise LimnerError(
            f"{path} keeps weights in other files, which are not read. Export the model again."
        )
    text = content[end:].decode("utf-8", errors="replace")
    if path.suffix == ".xml":
        from xml.sax.saxutils import unescape

        text = unescape(text, {"&quot;": '"'})
    about: dict[str, Any] = json.JSONDecoder().raw_decode(text)[0]
    return content, weights, about
