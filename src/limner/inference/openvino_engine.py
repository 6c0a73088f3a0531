"""An exported network in OpenVINO."""

import threading
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from limner.inference.onnx_segments import open_segments
from limner.inference.streaming import OpenSegments, RunSegment, no_segments

OPENVINO_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
"""OpenVINO must be told the precision, or it computes in bfloat16 where it can."""


class OpenVinoEngine:
    """An exported network in OpenVINO, in the precision that it was exported for."""

    def __init__(
        self, structure: bytes, weights: bytes, precision: str, callers: int = 1, threads: int = 0
    ) -> None:
        """Compile an OpenVINO model for the CPU.

        Args:
            structure: of the .xml file, or of an .onnx file.
            weights: of the .bin file; an .onnx file has none.
            precision: float32, bfloat16 or int8.
            callers: how many threads call it at once. A single one has all cores for each call, of
                several each has one.
            threads: for one call of a single caller; 0 takes all cores.
        """
        core = _core()
        hints: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": OPENVINO_HINTS[precision],
            "INFERENCE_NUM_THREADS": threads if callers == 1 else callers,
            "NUM_STREAMS": callers,
        }
        self._read = partial(core.read_model, structure, weights)
        self._compile = partial(core.compile_model, device_name="CPU", config=hints)
        self._compiled = self._compile(self._read())
        self._canvas: tuple[int, ...] = ()
        self._requests = threading.local()

        def open_segment(graph: bytes, names: tuple[str, ...]) -> RunSegment:
            part = self._compile(core.read_model(graph, b""))

            def run(inputs: Sequence[Float32[ndarray, "b _ _ _"]]) -> Float32[ndarray, "b _ _ _"]:
                request = part.create_infer_request()
                output: ndarray = request.infer(dict(zip(names, inputs, strict=True)))[0]
                return output

            return run

        self.segmented: OpenSegments = (
            no_segments if weights else cache(lambda: open_segments(structure, open_segment))
        )
        """The network in segments; None for an .xml file."""

    def compile_for(self, canvas: tuple[int, int, int]) -> None:
        """Compile it for single images of a shape (channels, height, width) too.

        Such calls are quicker, and so are batches of that shape, which then go image by image.
        """
        model = self._read()
        model.reshape([1, *canvas])
        self._fixed, self._canvas = self._compile(model), canvas

    def __call__(self, images: Float32[ndarray, "b c h w"]) -> Float32[ndarray, "b k h w"]:
        """Run the network; threads may call it at the same time."""
        if images.shape[1:] != self._canvas:
            logits: ndarray = self._compiled.create_infer_request().infer([images])[0]
            return logits
        if not hasattr(self._requests, "fixed"):
            # Its memory is laid out once
            self._requests.fixed = self._fixed.create_infer_request()
        request = self._requests.fixed
        return np.concatenate([request.infer([image[None]])[0].copy() for image in images])


@cache
def _core() -> Any:
    """OpenVINO, which is never let go.

    It gives the main thread a stack for signals. That would be freed with the last model, and a
    signal after it would end the process.
    """
    import openvino

    return openvino.Core()
