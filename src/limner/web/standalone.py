"""A page without a server: a model in a folder that a browser opens, in which images are segmented.

The page holds the model as one graph, and ONNX Runtime compiled for browsers (onnxruntime-web,
MIT). It fetches nothing, so that it works from a disk, and its policy forbids any connection.
"""

import base64
import json
import shutil
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path

from limner.data.cache import cache_folder
from limner.errors import LimnerError
from limner.files import atomic_folder
from limner.inference.export import export
from limner.inference.parity import Parity
from limner.model.bundle import Bundle

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
SCRIPT, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
"""The files of the package that a page holds."""
PAGES = files("limner.web") / "pages"
COPIED = ("style.css", "icon.svg", "components.js", "drop.js", "standalone.js")
OPAQUE, CLEAR = 255, 0


def write_page(model: Path, folder: Path, runtime: Path | None = None) -> Parity:
    """Write a page in which a browser segments images.

    Args:
        model: the model.safetensors of a run.
        folder: a new folder; its `index.html` is the page.
        runtime: the folder of the package onnxruntime-web, or its `dist`. By default npm fetches
            it once into the cache.

    Returns how far the page's graph differs from the model.

    Raises:
        LimnerError: The folder exists, the model is not one of colour images, its masks would
            differ, or there is neither npm nor a runtime.
    """
    if folder.exists():
        raise LimnerError(
            f"{folder} exists already. Nothing is overwritten: name another one with --page."
        )
    bundle = Bundle.load(model)
    if bundle.preprocessing.channels not in {None, 3}:
        raise LimnerError(
            f"a browser reads images of 3 channels, and this model takes "
            f"{bundle.preprocessing.channels}. Use limner predict or limner serve."
        )
    dist = _find_runtime(runtime)
    with tempfile.TemporaryDirectory() as scratch:
        graph = Path(scratch) / "model.onnx"
        parity = export(model, graph, kind="image")
        content = graph.read_bytes()
    labels = bundle.labels
    about = {
        "title": ", ".join(labels.names[index] for index in labels.scored),
        "names": labels.names,
        "values": labels.pixel_values.tolist(),
        "colours": [
            [*labels.colour(index), OPAQUE if index in labels.scored else CLEAR]
            for index in range(len(labels.names))
        ],
        "postprocessing": bundle.to_dict()["inference"]["postprocessing"],
        "graph": _base64(content),
    }
    held = {"script": _base64((dist / SCRIPT).read_bytes())}
    held["wasm"] = _base64((dist / WASM).read_bytes())
    with atomic_folder(folder) as part:
        for name in COPIED:
            (part / name).write_bytes((PAGES / name).read_bytes())
        (part / "index.html").write_bytes((PAGES / "standalone.html").read_bytes())
        (part / "model.js").write_text(f"const MODEL = {json.dumps(about)};\n", encoding="utf-8")
        (part / "runtime.js").write_text(f"const RUNTIME = {json.dumps(held)};\n", encoding="utf-8")
    return parity


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _find_runtime(given: Path | None) -> Path:
    """The folder of the runtime's files: the given one, or that of the cache."""
    if given is not None:
        for folder in (given, given / "dist"):
            if _is_runtime(folder):
                return folder
        raise LimnerError(
            f"{given} does not hold {SCRIPT} and {WASM}. Give the folder of {PACKAGE} that npm "
            f"makes: npm install {PACKAGE}@{VERSION}"
        )
    cached = cache_folder() / f"{PACKAGE}-{VERSION}"
    if not _is_runtime(cached):
        _fetch_runtime(cached)
    return cached


def _is_runtime(folder: Path) -> bool:
    return all((folder / name).is_file() for name in (SCRIPT, WASM))


def _fetch_runtime(target: Path) -> None:
    """Have npm fetch the package, and keep its two files. Raises LimnerError where it cannot."""
    npm = shutil.which("npm")
    advice = f"Give its folder with --runtime: npm install {PACKAGE}@{VERSION} makes it."
    if npm is None:
        raise LimnerError(f"the page needs {PACKAGE}, and there is no npm to fetch it. {advice}")
    with tempfile.TemporaryDirectory() as scratch:
        options = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock")
        command = [npm, "install", *options, "--prefix", scratch, f"{PACKAGE}@{VERSION}"]
        done = subprocess.run(command, capture_output=True, text=True)
        dist = Path(scratch) / "node_modules" / PACKAGE / "dist"
        if done.returncode or not _is_runtime(dist):
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise LimnerError(f"npm could not fetch {PACKAGE} ({last}). {advice}")
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_folder(target) as part:
            for name in (SCRIPT, WASM):
                shutil.copy(dist / name, part / name)
