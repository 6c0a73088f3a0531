"""Latency of one canvas in each engine, and the mask pixels that it changes.

python benchmarks/infer.py MODEL.safetensors [--sizes 256 512 1024] [--rounds 5]

The engines take turns, so that what disturbs one disturbs all. A pixel is changed where its class
differs from that of torch in float32, over synthetic lesions at each size.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from limner.data.synthetic import draw_lesion
from limner.inference.engines import load_model
from limner.inference.export import export
from limner.inference.export_formats import to_onnx
from limner.inference.onnx_files import to_openvino
from limner.inference.openvino_engine import OpenVinoEngine
from limner.inference.parity import time_calls
from limner.model.bundle import Bundle

Engine = Callable[[np.ndarray], np.ndarray]
REFERENCE = "torch eager"
IMAGES = 4
"""Of each size."""


def main() -> None:
    """Print a row for each size and engine."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--rounds", type=int, default=5, help="of four images each")
    arguments = parser.parse_args()
    bundle = Bundle.load(arguments.model)
    engines = open_engines(bundle, arguments.model)
    settings = bundle.recipe.model
    name = settings.encoder or settings.preset
    print(f"{arguments.model}: {name}, {torch.get_num_threads()} threads")
    print(f"{'size':>5} {'engine':22} {'median ms':>10} {'times eager':>12} {'changed pixels':>15}")
    for size_px in arguments.sizes:
        canvases = [
            bundle.preprocessing.normalise(draw_lesion(0, index, size_px)[0])[None]
            for index in range(IMAGES)
        ]
        medians = median_seconds(engines, canvases, arguments.rounds)
        expected = [classes(engines[REFERENCE](canvas)) for canvas in canvases]
        for engine_name, engine in engines.items():
            pairs = zip(canvases, expected, strict=True)
            changed = np.mean([(classes(engine(canvas)) != mask).mean() for canvas, mask in pairs])
            median = medians[engine_name]
            print(
                f"{size_px:5} {engine_name:22} {median * 1000:10.1f} "
                f"{medians[REFERENCE] / median:12.2f} {changed:15.2e}",
                flush=True,
            )


def median_seconds(
    engines: Mapping[str, Engine], canvases: Sequence[np.ndarray], rounds: int
) -> dict[str, float]:
    """Measure the median time of a canvas in each engine."""
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, engine in engines.items():
            seconds[name] += time_calls([partial(engine, canvas) for canvas in canvases])
    return {name: float(np.median(measured)) for name, measured in seconds.items()}


def classes(logits: np.ndarray) -> np.ndarray:
    """Turn the logits of one canvas into class indices."""
    return logits[0, 0] >= 0 if logits.shape[1] == 1 else logits[0].argmax(0)


def open_engines(bundle: Bundle, path: Path) -> dict[str, Engine]:
    """Open a model in every engine."""
    compiled = torch.compile(bundle.network().to(memory_format=torch.channels_last))

    def run_compiled(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            batch = torch.from_numpy(images).to(memory_format=torch.channels_last)
            logits: np.ndarray = compiled(batch).numpy()
        return logits

    with tempfile.TemporaryDirectory() as folder:
        export(path, Path(folder) / "m.onnx")
        onnx = load_model(Path(folder) / "m.onnx").engine
    structure, weights = to_openvino(to_onnx(bundle.network(), bundle.recipe.data.channels), {}, {})
    return {
        REFERENCE: load_model(path).engine,
        "torch compiled": run_compiled,
        "ONNX Runtime": onnx,
        "OpenVINO float32": OpenVinoEngine(structure, weights, "float32"),
        "OpenVINO bfloat16": OpenVinoEngine(structure, weights, "bfloat16"),
    }


if __name__ == "__main__":
    main()
