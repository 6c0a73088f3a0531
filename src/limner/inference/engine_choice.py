"""The fastest engine for a model on this machine, found by measuring.

A model.safetensors is exported once into the cache, where its masks are proved to be the same as
torch's. Then ONNX Runtime and OpenVINO run it without torch. What is the fastest here is measured
for a few seconds at the first call, and kept in the cache with what it was measured on.

Lower precisions take part where they are asked for. One is taken where validation images show that
it changes hardly a mask.
"""

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from limner.data.cache import cache_folder
from limner.errors import LimnerError
from limner.files import sha256_of_file, write_atomic
from limner.inference.calibration import to_probabilities
from limner.inference.engines import Engine, LoadedModel, load_exported_as, load_model
from limner.inference.parity import MAX_DIFFERENCE, synthetic_images, time_calls
from limner.inference.reduced_precision import PrecisionLimits, ReducedPrecision
from limner.processor import arithmetic_flags, has_fast_bfloat16, processor_name

PACKAGES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
"""The packages that run an exported graph, and what people call them."""
MEASURED_S = 0.5
"""How long each engine is measured."""
CALLS_IN_TURN = 5
"""How often an engine is called before it is the next one's turn."""
PROVED_ON = 4
"""Images on which torch must draw the same masks."""
WHOLE_IMAGE_PX = 512
"""Sides of the canvas on which engines are measured where images go through the network whole."""


@dataclass(frozen=True, slots=True)
class EngineKind:
    """One way to run an exported graph on a processor."""

    package: str
    precision: str = "float32"
    fixed_canvas: bool = False
    """Compiled for one image of the working size."""

    def __str__(self) -> str:
        precision = "" if self.precision == "float32" else f" {self.precision}"
        return f"{PACKAGES[self.package]}{precision}{' fixed' if self.fixed_canvas else ''}"

    @classmethod
    def all(cls, *, fixed: bool, reduced: bool) -> "list[EngineKind]":
        """What may be tried here.

        Args:
            fixed: the canvas always has the same size.
            reduced: lower precisions too.
        """
        precisions = ["float32", *(["int8"] if reduced else [])]
        kinds = [cls(package, precision) for precision in precisions for package in PACKAGES]
        if reduced and has_fast_bfloat16():
            kinds.append(cls("openvino", "bfloat16"))
        if fixed:
            kinds += [replace(kind, fixed_canvas=True) for kind in kinds if "vino" in kind.package]
        return [kind for kind in kinds if _version(kind.package)]


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """Which engine was the fastest, and on what that was measured."""

    engine: EngineKind
    milliseconds: Mapping[str, float]
    """For one canvas, by engine."""
    circumstances: Mapping[str, Any]
    """What it was measured on, and for. In other circumstances it is measured anew."""

    def __str__(self) -> str:
        times = ", ".join(
            f"{name} {milliseconds:.1f} ms"
            for name, milliseconds in sorted(self.milliseconds.items(), key=lambda item: item[1])
        )
        return f"engine: {self.engine} ({times} a canvas, measured on this machine)"


def load_fastest(
    path: Path,
    callers: int = 1,
    say: Callable[[str], None] = lambda text: None,
    limits: PrecisionLimits | None = None,
    *,
    few: bool = False,
) -> LoadedModel:
    """Load a model in the engine that is the fastest on this processor.

    Args:
        path: A .safetensors or .onnx file. Others, and all where no engine is installed, are
            loaded as `load_model` loads them.
        callers: How many threads call it at once. A single one has all cores for each call, of
            several each has one.
        say: Called with what was measured, where it was.
        limits: How much a lower precision may change masks; by default none is tried.
        few: A handful of images follows. Unless a lower precision is asked for, ONNX Runtime runs
            them: it opens the quickest, and trying others would take longer than it saves.

    Raises:
        LimnerError: As `load_model` does; or `limits` are given, and there is no image of known
            mask, or no engine for a lower precision.

    Example:
        >>> model = load_fastest(Path("runs/lesions/model.safetensors"), say=print)
        engine: OpenVINO (OpenVINO 4.1 ms, ONNX Runtime 5.9 ms a canvas, measured on this machine)
    """
    threads = 0 if callers == 1 else 1
    engines = any(_version(package) for package in PACKAGES)
    if path.suffix not in {".safetensors", ".onnx"} or not engines or not path.is_file():
        if limits:
            raise LimnerError(
                f"--precision fast is not there for {path}. Give a model.safetensors or an .onnx, "
                "and pip install 'limner[export]'."
            )
        return load_model(path, threads=threads)
    graph = path if path.suffix == ".onnx" else _exported(path, say)
    if graph is None:
        return load_model(path, threads=threads)
    if few and limits is None and _version("onnxruntime"):
        model = load_exported_as(graph, "onnxruntime", callers)
    else:
        model = _Chooser(graph, callers, say, limits).load()
    if graph is path:
        return model
    # A model is called by what people gave
    return replace(model, version=sha256_of_file(path)[: len(model.version)])


class _Chooser:
    """Finds the fastest engine for one graph, or remembers it."""

    def __init__(
        self,
        graph: Path,
        callers: int,
        say: Callable[[str], None],
        limits: PrecisionLimits | None,
    ) -> None:
        self._graph, self._callers, self._say = graph, callers, say
        self._reduced = ReducedPrecision(graph, limits) if limits else None
        name = f"{sha256_of_file(graph)}-{callers}{'-fast' if limits else ''}.json"
        self._record = cache_folder() / "engines" / name
        # As JSON gives it back
        self._circumstances: Mapping[str, Any] = json.loads(
            json.dumps(
                {
                    "processor": processor_name(),
                    "instructions": arithmetic_flags(),
                    "callers": callers,
                    "versions": {package: _version(package) for package in PACKAGES},
                    "limits": asdict(limits) if limits else None,
                },
                default=str,
            )
        )

    def load(self) -> LoadedModel:
        """The model in the fastest engine."""
        choice = _read_choice(self._record)
        if choice is not None and choice.circumstances == self._circumstances:
            return self._open(choice.engine)
        models, milliseconds = self._measure()
        fastest = sorted(models, key=lambda kind: milliseconds[str(kind)])
        exact = next(kind for kind in fastest if kind.precision == "float32")
        engine = next(
            kind
            for kind in fastest
            if kind is exact or self._is_close(kind, models[exact], models[kind])
        )
        choice = EngineChoice(engine, milliseconds, self._circumstances)
        _keep_choice(self._record, choice)
        self._say(str(choice))
        return models[engine]

    def _is_close(self, kind: EngineKind, exact: LoadedModel, reduced: LoadedModel) -> bool:
        """Whether an engine of lower precision draws nearly the same masks, which is said."""
        return self._reduced is not None and self._reduced.is_close(
            str(kind), exact, reduced, self._say
        )

    def _open(self, kind: EngineKind) -> LoadedModel:
        path = self._graph
        if kind.precision == "int8":
            assert self._reduced is not None
            path = self._reduced.int8_file()
        model = load_exported_as(
            path,
            kind.package,
            self._callers,
            precision=kind.precision,
            fixed_canvas=kind.fixed_canvas,
        )
        if kind.package != "openvino" or kind.precision != "float32" or not _version("onnxruntime"):
            return model
        # Large images take a third more time in OpenVINO's segments, and twice the memory
        return replace(
            model, segmented=cache(lambda: self._open(EngineKind("onnxruntime")).segmented())
        )

    def _measure(self) -> tuple[dict[EngineKind, LoadedModel], dict[str, float]]:
        """Open each engine, and give the milliseconds of a canvas by its name.

        One of full precision whose probabilities differ from the first one's is left out.
        """
        first = self._open(EngineKind.all(fixed=False, reduced=False)[0])
        preprocessing = first.metadata.preprocessing
        fixed = preprocessing.resize_mode != "tile"
        sides = preprocessing.size_px if fixed else (WHOLE_IMAGE_PX, WHOLE_IMAGE_PX)
        shape = (1, len(preprocessing.mean), *sides)
        canvas = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        expected = to_probabilities(first.engine(canvas)[0])
        models: dict[EngineKind, LoadedModel] = {}
        for kind in EngineKind.all(fixed=fixed, reduced=self._reduced is not None):
            model = self._open(kind)
            drawn = to_probabilities(model.engine(canvas)[0])
            same = float(np.abs(drawn - expected).max()) <= MAX_DIFFERENCE
            if same or kind.precision != "float32":
                models[kind] = model
        if self._reduced and not has_fast_bfloat16():
            self._say("note: bfloat16 is not tried, since this processor only emulates it.")
        return models, _time_engines(models, canvas, self._callers)


def _time_engines(
    models: Mapping[EngineKind, LoadedModel],
    canvas: Float32[ndarray, "1 c h w"],
    callers: int,
) -> dict[str, float]:
    """Time each engine in turn on one canvas for each caller; the median counts."""
    seconds: dict[EngineKind, list[float]] = {kind: [] for kind in models}
    until = time.perf_counter() + MEASURED_S * len(models)
    with ThreadPoolExecutor(callers) as pool:

        def call(engine: Engine) -> None:
            list(pool.map(engine, [canvas] * callers))

        while time.perf_counter() < until or not all(seconds.values()):
            for kind, model in models.items():
                seconds[kind] += time_calls([partial(call, model.engine)] * CALLS_IN_TURN)
    return {str(kind): 1000 * float(np.median(times)) / callers for kind, times in seconds.items()}


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


def _read_choice(record: Path) -> EngineChoice | None:
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        return EngineChoice(**{**content, "engine": EngineKind(**content["engine"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _keep_choice(record: Path, choice: EngineChoice) -> None:
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(record, json.dumps(asdict(choice)).encode())
    except OSError:
        # It is measured again next time
        return
