"""What a fixed seed gives: hashes of weights, masks, exports and scores, to compare before and
after a refactoring.

python benchmarks/identity.py SET... --out before.json    (with the other code: after.json)
python benchmarks/identity.py --compare before.json after.json

It runs the command line alone, on the CPU in float32, and knows files by what is in them: tensors
and graph nodes without their names, masks by their pixels, scores by their numbers. So it runs with
the code of either side.
"""

import argparse
import csv
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors import safe_open

SETTINGS = {
    "train.device": "cpu",
    "train.precision": "float32",
    "train.compile": "false",
    "train.epochs": "2",
    "train.batch_size": "8",
    "train.seed": "7",
    "data.size_px": "[64,64]",
    "model.widths": "[8,16,32]",
}
PREDICTED = 12
"""Images of each set that are predicted."""


def main() -> None:
    """Write the hashes of each set, or compare two such files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, default=Path("identity.json"))
    parser.add_argument("--compare", nargs=2, type=Path)
    arguments = parser.parse_args()
    if arguments.compare:
        compare(*(json.loads(path.read_text()) for path in arguments.compare))
        return
    results = {folder.resolve().name: hashes(folder) for folder in arguments.sets}
    arguments.out.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


def compare(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Print each hash that differs; exit with 1 where one does."""
    different = 0
    for name, values in before.items():
        for key, value in values.items():
            same = after.get(name, {}).get(key) == value
            different += not same
            print(f"{name:10s} {key:12s} {'equal' if same else 'DIFFERS'} {value[:16]}")
    sys.exit(different > 0)


def hashes(dataset: Path) -> dict[str, str]:
    """Train, test, predict and export one set."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        settings = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
        limner(folder, "train", dataset, *settings, "--out", "run")
        model = folder / "run" / "model.safetensors"
        limner(folder, "test", model, dataset, "--split", "val", "--out", "report")
        limner(folder, "predict", model, photos(dataset, folder), "--out", "masks")
        limner(folder, "export", model, "--out", "model.onnx")
        report = json.loads((folder / "report" / "report.json").read_text())
        return {
            "weights": weights(model),
            "masks": masks(folder / "masks"),
            "predictions": predictions(folder / "masks" / "predictions.json"),
            "onnx": graph(folder / "model.onnx"),
            "scores.csv": table(folder / "report" / "scores.csv"),
            "report": digest(
                sorted(
                    numbers(
                        {key: report[key] for key in ("scores", "classes", "calibration_error")}
                    )
                )
            ),
        }


def limner(folder: Path, *arguments: object) -> None:
    """Run one command; its output is shown where it fails."""
    environment = {**os.environ, "LIMNER_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-m", "limner", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")


def photos(dataset: Path, folder: Path) -> Path:
    """Some images of a set, spread over it, in a folder of their own."""
    images = sorted(path for path in dataset.rglob("*") if path.suffix.lower() in {".jpg", ".png"})
    images = [
        path
        for path in images
        if not {"mask", "masks"} & set(path.parts) and "GroundTruth" not in str(path)
    ]
    target = folder / "photos"
    target.mkdir()
    for path in images[:: max(1, len(images) // PREDICTED)][:PREDICTED]:
        (target / path.name).write_bytes(path.read_bytes())
    return target


def weights(model: Path) -> str:
    """All tensors, whatever they are called."""
    with safe_open(model, framework="np") as file:
        tensors = [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118
    return digest(
        sorted(
            hashlib.sha256(f"{t.dtype}{t.shape}".encode() + t.tobytes()).hexdigest()
            for t in tensors
        )
    )


def masks(folder: Path) -> str:
    """Masks and maps of uncertainty by their pixels."""
    files = sorted(folder.rglob("*.png"))
    return digest([[path.relative_to(folder).as_posix(), pixels(path)] for path in files])


def pixels(path: Path) -> str:
    """A picture's decoded pixels."""
    return hashlib.sha256(np.asarray(Image.open(path)).tobytes()).hexdigest()


def predictions(path: Path) -> str:
    """What the JSON says of each image, without the path that it lies in."""
    rows = json.loads(path.read_text())["predictions"]
    return digest([{**row, "image": Path(row["image"]).name} for row in rows])


def graph(path: Path) -> str:
    """Operators with their attributes, and the weights; not what they are called."""
    import onnx

    model = onnx.load(path)
    nodes = [
        [node.op_type, [a.SerializeToString().hex() for a in node.attribute]]
        for node in model.graph.node
    ]
    tensors = sorted(
        hashlib.sha256(onnx.numpy_helper.to_array(t).tobytes()).hexdigest()
        for t in model.graph.initializer
    )
    return digest([nodes, tensors])


def table(path: Path) -> str:
    """The rows of a CSV."""
    with path.open(newline="") as file:
        return digest(list(csv.reader(file)))


def numbers(content: Any) -> list[str]:
    """Every number within, as text."""
    if isinstance(content, dict):
        return [text for value in content.values() for text in numbers(value)]
    if isinstance(content, list):
        return [text for value in content for text in numbers(value)]
    return [repr(content)]


def digest(content: Any) -> str:
    """The hash of what JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


if __name__ == "__main__":
    main()
