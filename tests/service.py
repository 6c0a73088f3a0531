"""A tiny exported model, and a real server in a process of its own on loopback."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import torch

from limner.data.preprocess import Preprocessing
from limner.inference.export import export
from limner.labels import Labels
from limner.model.bundle import Bundle
from limner.model.presets import resolve_settings
from limner.model.unet import UNet
from limner.recipe import parse_recipe

CONFIDENCE = {
    "calibration": {"temperature": 1.5, "shift": 0.1},
    "quality": None,
    "out_of_distribution": {"centre": [0.0] * 18, "whitening": np.eye(18).tolist(), "limit": 3.0},
}


def write_model(
    path: Path,
    seed: int = 0,
    classes: tuple[str, ...] = ("background", "lesion"),
    widths: tuple[int, ...] = (2, 4),
) -> Path:
    settings = resolve_settings(parse_recipe({"model": {"widths": widths}}).model)
    recipe = parse_recipe({"model": settings.model_dump(), "data": {"size_px": [32, 32]}})
    labels = Labels.from_values(
        classes, (0, 255) if len(classes) == 2 else tuple(range(len(classes)))
    )
    torch.manual_seed(seed)
    weights = UNet.from_settings(recipe.model, 3, labels.out_channels).state_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    preprocessing = Preprocessing((32, 32), (0.5,) * 3, (0.25,) * 3)
    source = path.with_suffix(".safetensors")
    Bundle(
        recipe=recipe,
        labels=labels,
        preprocessing=preprocessing,
        weights=weights,
        confidence=CONFIDENCE,
    ).save(source)
    path.unlink(missing_ok=True)
    export(source, path)
    return path


@dataclass
class Served:
    """A running server, and a client of it."""

    process: "subprocess.Popen[str]"
    address: str
    client: httpx.Client
    log: Path

    def stop(self) -> int:
        """Send SIGTERM, as a scheduler does; return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.close()

    def close(self) -> int:
        self.client.close()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(30)


Start = Callable[..., Served]


def begin(folder: Path, *arguments: object, verb: str = "serve", **environment: str) -> Served:
    log = folder / f"log-{len(list(folder.glob('log-*')))}.txt"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "limner",
                verb,
                *map(str, arguments),
                *([] if "--port" in arguments else ["--port", "0"]),
            ],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "COLUMNS": "200", **environment},
        )
    assert process.stdout is not None
    output = ""
    while (match := re.search(r"at (http\S+)", output)) is None:
        line = process.stdout.readline()
        assert line, output + log.read_text()
        output += line
    return Served(process, match[1], httpx.Client(base_url=match[1], timeout=30), log)


def png(height: int = 40, width: int = 60, seed: int = 0) -> bytes:
    from limner.data.writers.png import encode_png

    return encode_png(
        np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)
    )


def problem(answer: Any) -> str:
    """The message of an error, which always has the same shape."""
    body = answer.json()
    assert (
        set(body) == {"error", "request_id"}
        and body["request_id"] == answer.headers["x-request-id"]
    )
    assert "/tmp" not in body["error"] and "Traceback" not in body["error"]
    return str(body["error"])
