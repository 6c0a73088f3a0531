"""Latency of one canvas through every engine, and the mask pixels that it changes.

python benchmarks/infer.py MODEL.safetensors [--sizes 256 512 1024] [--rounds 20]

The engines take turns, so that what disturbs one disturbs all. Changed pixels are those of the sign
of a logit, or of the class, against torch in float32, over drawn lesions at each size.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from limner.data.synthetic import draw_lesion
from limner.inference.engines import OpenVinoEngine, load_model
from limner.inference.export import export
from limner.inference.export_formats import to_onnx, to_openvino
from limner.model.bundle import Bundle

Engine = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    bundle = Bundle.load(options.model)
    engines = build(bundle, options.model)
    print(
        f"{options.model}: {bundle.recipe.model.encoder or bundle.recipe.model.preset}, "
        f"{torch.get_num_threads()} threads"
    )
    print(f"{'size':>5} {'engine':22} {'median ms':>10} {'times eager':>12} {'changed pixels':>15}")
    for size in options.sizes:
        arrays = [
            bundle.preprocessing.normalise(draw_lesion(0, index, size)[0])[None]
            for index in range(4)
        ]
        times: dict[str, list[float]] = {name: [] for name in engines}
        for turn in range(options.rounds + 2):
            for name, engine in engines.items():
                began = time.perf_counter()
                engine(arrays[turn % len(arrays)])
                if turn >= 2:
                    times[name].append(time.perf_counter() - began)
        known = [taken(engines["torch eager"](array)) for array in arrays]
        eager = float(np.median(times["torch eager"]))
        for name, engine in engines.items():
            changed = np.mean(
                [
                    (taken(engine(array)) != one).mean()
                    for array, one in zip(arrays, known, strict=True)
                ]
            )
            median = float(np.median(times[name]))
            print(
                f"{size:5} {name:22} {median * 1000:10.1f} {eager / median:12.2f} {changed:15.2e}",
                flush=True,
            )


def taken(logits: np.ndarray) -> np.ndarray:
    return logits[0, 0] >= 0 if logits.shape[1] == 1 else logits[0].argmax(0)


def build(bundle: Bundle, path: Path) -> dict[str, Engine]:
    """Every way to run the network."""
    compiled = torch.compile(bundle.network().to(memory_format=torch.channels_last))

    def through_compiled(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            logits: np.ndarray = compiled(
                torch.from_numpy(images).to(memory_format=torch.channels_last)
            ).numpy()
        return logits

    with tempfile.TemporaryDirectory() as folder:
        export(path, Path(folder) / "m.onnx")
        onnx = load_model(Path(folder) / "m.onnx").engine
    structure, weights = to_openvino(to_onnx(bundle.network(), bundle.recipe.data.channels), {})
    return {
        "torch eager": load_model(path).engine,
        "torch compiled": through_compiled,
        "ONNX Runtime": onnx,
        "OpenVINO float32": OpenVinoEngine(structure, weights, "float32"),
        "OpenVINO bfloat16": OpenVinoEngine(structure, weights, "bfloat16"),
    }


if __name__ == "__main__":
    main()
