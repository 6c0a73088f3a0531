"""The fastest engine for a model on this machine, found by measuring.

A model.safetensors is exported once into the cache, where its masks are proved to be the same as
torch's. Then ONNX Runtime and OpenVINO run it without torch. What is the fastest here is measured
for about a second at the first call, and kept in the cache with what it was measured on.
"""

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from limner.data.cache import cache_folder
from limner.errors import LimnerError
from limner.files import sha256_of_file, write_atomic
from limner.inference.calibration import to_probabilities
from limner.inference.engines import LoadedModel, load_exported_as, load_model
from limner.inference.parity import MAX_DIFFERENCE, synthetic_images
from limner.processor import processor_name

ENGINES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
"""The packages that run an exported graph, and what people call them."""
MEASURED_S = 0.5
"""How long each engine is measured."""
PROVED_ON = 4
"""Images on which torch must draw the same masks."""
LARGEST_SIDE_PX = 512
"""Of the canvas on which they are measured."""


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """Which engine was the fastest, and on what that was measured."""

    engine: str
    milliseconds: Mapping[str, float]
    """For one canvas, by engine."""
    processor: str
    callers: int
    versions: Mapping[str, str]

    def __str__(self) -> str:
        times = ", ".join(
            f"{ENGINES[name]} {milliseconds:.1f} ms"
            for name, milliseconds in sorted(self.milliseconds.items(), key=lambda item: item[1])
        )
        return f"engine: {ENGINES[self.engine]} ({times} a canvas, measured on this machine)"


def load_fastest(
    path: Path, callers: int = 1, say: Callable[[str], None] = lambda text: None
) -> LoadedModel:
    """Load a model in the engine that is the fastest on this processor.

    Args:
        path: A .safetensors or .onnx file. Others, and all where no engine is installed, are
            loaded as `load_model` loads them.
        callers: How many threads call it at once. A single one has all cores for each call, of
            several each has one.
        say: Called with what was measured, where it was.

    Raises:
        LimnerError: As `load_model` does.

    Example:
        >>> model = load_fastest(Path("runs/lesions/model.safetensors"), say=print)
        engine: OpenVINO (OpenVINO 4.1 ms, ONNX Runtime 5.9 ms a canvas, measured on this machine)
    """
    engines = [name for name in ENGINES if _version(name)]
    threads = 0 if callers == 1 else 1
    if path.suffix not in {".safetensors", ".onnx"} or not engines or not path.is_file():
        return load_model(path, threads=threads)
    graph = path if path.suffix == ".onnx" else _exported(path, say)
    if graph is None:
        return load_model(path, threads=threads)
    record = cache_folder() / "engines" / f"{sha256_of_file(graph)}-{callers}.json"
    choice = _read_choice(record)
    here = {name: _version(name) for name in engines}
    if choice is None or choice.processor != processor_name() or choice.versions != here:
        loaded = {name: load_exported_as(graph, name, threads, callers) for name in engines}
        choice = _measure(loaded, callers)
        _keep_choice(record, choice)
        say(str(choice))
        model = loaded[choice.engine]
    else:
        model = load_exported_as(graph, choice.engine, threads, callers)
    if graph is path:
        return model
    # A model is called by what people gave
    return replace(model, version=sha256_of_file(path)[: len(model.version)])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _exported(path: Path, say: Callable[[str], None]) -> Path | None:
    """The graph of a model in the cache, which is made where it is missing.

    None where the model cannot be exported here, which is said.
    """
    target = cache_folder() / "engines" / f"{sha256_of_file(path)}.onnx"
    if not target.is_file():
        from limner.inference.export import export
        from limner.model.bundle import Bundle

        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            # The first ones are small; export itself compares larger ones too
            images = synthetic_images(Bundle.load(path).recipe.data.channels)[:PROVED_ON]
            export(path, target, images)
        except (LimnerError, OSError) as error:
            # Such as a missing package, a full disk, or another process that was quicker
            if not target.is_file():
                say(f"note: torch runs {path}, which could not be exported: {error}")
                return None
    return target


def _measure(models: Mapping[str, LoadedModel], callers: int) -> EngineChoice:
    """Time each engine in turn on one canvas for each caller; the median counts.

    One whose probabilities differ from ONNX Runtime's is not taken.
    """
    preprocessing = next(iter(models.values())).metadata.preprocessing
    height, width = (min(side, LARGEST_SIDE_PX) for side in preprocessing.size_px)
    shape = (1, len(preprocessing.mean), height, width)
    canvas = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    drawn = {name: to_probabilities(model.engine(canvas)[0]) for name, model in models.items()}
    expected = next(iter(drawn.values()))
    models = {
        name: model
        for name, model in models.items()
        if float(np.abs(drawn[name] - expected).max()) <= MAX_DIFFERENCE
    }
    seconds: dict[str, list[float]] = {name: [] for name in models}
    until = time.perf_counter() + MEASURED_S * len(models)
    with ThreadPoolExecutor(callers) as pool:
        while time.perf_counter() < until or not all(seconds.values()):
            for name, model in models.items():
                start = time.perf_counter()
                list(pool.map(model.engine, [canvas] * callers))
                seconds[name].append(time.perf_counter() - start)
    milliseconds = {
        name: 1000 * float(np.median(times)) / callers for name, times in seconds.items()
    }
    return EngineChoice(
        min(milliseconds, key=lambda name: milliseconds[name]),
        milliseconds,
        processor_name(),
        callers,
        {name: _version(name) for name in drawn},
    )


def _read_choice(record: Path) -> EngineChoice | None:
    try:
        return EngineChoice(**json.loads(record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _keep_choice(record: Path, choice: EngineChoice) -> None:
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(record, json.dumps(asdict(choice)).encode())
    except OSError:
        # It is measured again next time
        return
