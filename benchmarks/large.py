"""Large images: the time of `limner predict` beside the bare engine's, and an earlier build's.

    python benchmarks/large.py MODEL [--sizes 1024 warm*1024 100*1024 5000 20000] [--before SRC]
        [--rounds 3] [--device cuda]

100*1024 is a folder of a hundred images of that size; warm*1024 is one image in a process that has
predicted it before, in the engine that a service of one worker chooses. Each other image is drawn
as a tiled TIFF and predicted by `limner predict`, a process of its own. The time of the same
command on an image of 64 px is taken off, since that is start-up. The bare engine is ONNX Runtime
on a whole image of 1024x1024 px; the time it would take for as many pixels is the limit. SRC is the
`src` folder of an earlier build; it predicts images of up to 4,096 px, and its time for a megapixel
stands for larger ones. All run in turn, and the medians are compared.

With --device cuda MODEL is a model.safetensors, and the bare engine is torch.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

RAW_SIDE = 1024
MOST_BEFORE = 4096
"""Side of the largest image that the earlier build predicts."""
RAW = """
import sys, time
import numpy as np
from limner.inference.engines import read_exported
import onnxruntime
options = onnxruntime.SessionOptions()
session = onnxruntime.InferenceSession(read_exported(__import__("pathlib").Path(sys.argv[1]))[0],
                                       options, providers=["CPUExecutionProvider"])
side = int(sys.argv[2])
image = np.random.default_rng(0).normal(size=(1, 3, side, side)).astype(np.float32)
session.run(None, {"images": image})
for _ in range(int(sys.argv[3])):
    start = time.perf_counter()
    session.run(None, {"images": image})
    print(time.perf_counter() - start)
"""
RAW_IN_TORCH = """
import sys, time
import numpy as np
from limner.inference.engines import load_model
engine = load_model(sys.argv[1], "cuda").engine
side = int(sys.argv[2])
image = np.random.default_rng(0).normal(size=(1, 3, side, side)).astype(np.float32)
engine(image)
for _ in range(int(sys.argv[3])):
    start = time.perf_counter()
    engine(image)
    print(time.perf_counter() - start)
"""
WARM = """
import sys, time
device = sys.argv[4]
try:
    from limner.inference.engine_choice import load_fastest
    from limner.operating_system import keep_memory
    from limner.inference.predictor import Predictor
    from pathlib import Path
    keep_memory()
    if device != "cpu":
        raise ImportError
    predictor = Predictor.from_models(load_fastest(Path(sys.argv[1])))
except ImportError:
    from limner.inference.predictor import Predictor
    predictor = Predictor.load(sys.argv[1], device=device)
seconds = []
for _ in range(int(sys.argv[3]) + 1):
    start = time.perf_counter()
    predictor.predict(sys.argv[2])
    seconds.append(time.perf_counter() - start)
print(sorted(seconds[1:])[len(seconds) // 2 - 1])
"""
"""Of the builds that choose an engine, and of those before."""


@dataclass(frozen=True)
class Measured:
    seconds: float
    peak_mb: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument(
        "--sizes",
        nargs="+",
        default=["1024", "5000"],
        help="SIDE, ROWSxCOLUMNS, COUNT*SIDE or warm*SIDE",
    )
    parser.add_argument("--before", type=Path, metavar="SRC")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments = parser.parse_args()
    device = arguments.device
    if device == "cuda" and not has_gpu():
        raise SystemExit("torch sees no GPU here: nothing was measured.")
    here = Path(__file__).resolve().parent.parent / "src"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        graph = arguments.model
        if graph.suffix != ".onnx" and device == "cpu":
            from limner.inference.export import export

            graph = folder / "model.onnx"
            export(arguments.model, graph)
        tiny = draw_image(folder / "tiny.tif", (64, 64))
        for text in arguments.sizes:
            count, _, sides = text.rpartition("*")
            rows, _, columns = sides.partition("x")
            size = int(rows), int(columns or rows)
            image = folder / text
            image.mkdir()
            images = 1 if count == "warm" else int(count or 1)
            for number in range(images):
                draw_image(image / f"{number}.tif", size)
            megapixels = images * size[0] * size[1] / 1e6
            builds = {"now": here}
            if arguments.before and max(size) <= MOST_BEFORE:
                builds["before"] = arguments.before
            rows_of: dict[str, list[float]] = {"raw": [], **{name: [] for name in builds}}
            peaks = dict.fromkeys(builds, 0.0)
            rows_of["raw"] += raw_seconds(graph, device)
            for _ in range(arguments.rounds):
                for build, source in builds.items():
                    if count == "warm":
                        rows_of[build].append(warm_seconds(arguments.model, image, source, device))
                        continue
                    start = predict(arguments.model, tiny, source, device=device).seconds
                    measured = predict(arguments.model, image, source, device=device)
                    rows_of[build].append(measured.seconds - start)
                    peaks[build] = max(peaks[build], measured.peak_mb)
                # Before and after, since machines are now quicker and now slower
                rows_of["raw"] += raw_seconds(graph, device)
            raw = median(rows_of["raw"]) / (RAW_SIDE**2 / 1e6) * megapixels
            row = {"image": text, "raw engine, s": round(raw, 2)}
            for build in builds:
                seconds = median(rows_of[build])
                row |= {
                    f"{build}, s": round(seconds, 2),
                    f"{build} / raw": round(seconds / raw, 2),
                    **({f"{build}, peak MB": round(peaks[build])} if peaks[build] else {}),
                }
            print(json.dumps(row), flush=True)
            shutil.rmtree(image)


def draw_image(path: Path, size: tuple[int, int]) -> Path:
    """Write a tiled TIFF of smooth noise, row of tiles by row of tiles."""
    import tifffile

    side = 256
    rng = np.random.default_rng(0)
    pattern = rng.integers(0, 255, (side, side, 3), np.uint8)
    down, across = -(-size[0] // side), -(-size[1] // side)
    tiles = (np.roll(pattern, int(shift), axis=1) for shift in rng.integers(0, side, down * across))
    tifffile.imwrite(
        path,
        tiles,
        shape=(*size, 3),
        dtype=np.uint8,
        tile=(side, side),
        photometric="rgb",
        bigtiff=True,
    )
    return path


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def raw_seconds(model: Path, device: str) -> list[float]:
    code = RAW if device == "cpu" else RAW_IN_TORCH
    command = [sys.executable, "-c", code, str(model), str(RAW_SIDE), "3"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(line) for line in done.stdout.split()]


def warm_seconds(model: Path, folder: Path, source: Path, device: str) -> float:
    """The time of one image in a process that has predicted it before."""
    command = [sys.executable, "-c", WARM, str(model), str(folder / "0.tif"), "5", device]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(done.stdout.split()[-1])


def predict(
    model: Path, image: Path, source: Path, out: Path | None = None, device: str = "cpu"
) -> Measured:
    """Run the command, and tell its time and its largest memory; `out` keeps the masks."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "limner", "predict", str(model), str(image)]
        started = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--out", str(out or f"{scratch}/masks"), "--device", device],
            env={**os.environ, "PYTHONPATH": str(source)},
            stdout=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0, status
        return Measured(time.perf_counter() - started, usage.ru_maxrss / 1024)


if __name__ == "__main__":
    main()
