"""An exported network in ONNX Runtime."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from jaxtyping import Float32
from numpy import ndarray

from limner.errors import LimnerError
from limner.inference.onnx_segments import open_segments
from limner.inference.streaming import RunSegment, regions_at_once

LARGE_BATCH_PIXELS = 1024 * 1024
"""Batches of more pixels give their memory back.

Otherwise tiles of several sizes would each keep memory of their own.
"""


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

        # One caller has all cores: they share the regions of an image, which is faster than sharing
        # each operation
        at_once, region_threads = 1, threads
        if threads == 0 and device == "cpu":
            at_once, region_threads = regions_at_once()

        def session(*, memory_pattern: bool) -> Any:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            options.log_severity_level = 3
            options.enable_mem_pattern = memory_pattern
            return onnxruntime.InferenceSession(content, options, providers=[providers[device]])

        def open_segment(graph: bytes, names: tuple[str, ...]) -> RunSegment:
            _share_memory()
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = region_threads
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
        self.segmented = cache(lambda: open_segments(content, open_segment, at_once))
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
