"""An exported network in OpenVINO."""

from functools import cache, partial
from queue import SimpleQueue
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from limner.inference.openvino_segments import open_segments
from limner.inference.streaming import RunSegment, regions_at_once
from limner.processor import has_fast_bfloat16


class OpenVinoEngine:
    """An exported network in OpenVINO, in the precision that it was exported for."""

    def __init__(
        self, structure: bytes, weights: bytes, precision: str, callers: int = 1, threads: int = 0
    ) -> None:
        """Compile an OpenVINO model for the CPU.

        Args:
            structure: of the .xml file, or of an .onnx file.
            weights: of the .bin file; an .onnx file has none.
            precision: float32, bfloat16 or int8. bfloat16 is computed in float32 where the
                processor would emulate it, at a fifth of the speed.
            callers: how many threads call it at once. A single one has all cores for each call, of
                several each has one.
            threads: for one call of a single caller; 0 takes all cores.
        """
        core = _core()
        in_bfloat16 = precision == "bfloat16" and has_fast_bfloat16()
        hints: dict[str, Any] = {
            # Untold, it computes in bfloat16 where it can
            "INFERENCE_PRECISION_HINT": "bf16" if in_bfloat16 else "f32",
            "INFERENCE_NUM_THREADS": threads if callers == 1 else callers,
            "NUM_STREAMS": callers,
        }
        self._read = partial(core.read_model, structure, weights)
        self._compile = partial(core.compile_model, device_name="CPU", config=hints)
        self._callers = callers
        self._any_size = _Requests(self._compile(self._read()), callers)
        self._canvas: tuple[int, ...] = ()

        # As in `onnx_engine`
        at_once = regions_at_once()[0] if callers == 1 and threads == 0 else 1
        streams = {"NUM_STREAMS": max(callers, at_once)}

        def open_segment(segment: Any) -> RunSegment:
            compiled = core.compile_model(segment, device_name="CPU", config=hints | streams)
            requests = _Requests(compiled, streams["NUM_STREAMS"])
            return lambda inputs: requests.infer(list(inputs))

        self.segmented = cache(lambda: open_segments(self._read(), open_segment, at_once))
        """The network in segments; None where it cannot be cut."""

    def compile_for(self, canvas: tuple[int, int, int]) -> None:
        """Compile it for single images of a shape (channels, height, width) too.

        Such calls are quicker, and so are batches of that shape, which then go image by image.
        """
        model = self._read()
        model.reshape([1, *canvas])
        self._fixed, self._canvas = _Requests(self._compile(model), self._callers), canvas

    def __call__(self, images: Float32[ndarray, "b c h w"]) -> Float32[ndarray, "b k h w"]:
        """Run the network; threads may call it at the same time."""
        if images.shape[1:] != self._canvas:
            return self._any_size.infer([images])
        return np.concatenate([self._fixed.infer([image[None]]) for image in images])


class _Requests:
    """The requests of a compiled model, one for each caller; further callers wait for one.

    All are made here. OpenVINO stood still where one was made while others were run.
    """

    def __init__(self, compiled: Any, count: int) -> None:
        self._free = SimpleQueue[Any]()
        for _ in range(count):
            self._free.put(compiled.create_infer_request())

    def infer(self, inputs: Any) -> Float32[ndarray, "b _ _ _"]:
        """The output for some inputs."""
        request = self._free.get()
        try:
            output: ndarray = request.infer(inputs)[0]
        finally:
            self._free.put(request)
        return output


@cache
def _core() -> Any:
    """OpenVINO, which is never let go.

    It gives the main thread a stack for signals. That would be freed with the last model, and a
    signal after it would end the process.
    """
    import openvino

    # A part of its Python package is set up when the data of a tensor are first asked for. Where
    # two threads did that at once each waited for the other, and the process stood still.
    _ = openvino.Tensor(np.zeros(1, np.float32)).data
    return openvino.Core()
