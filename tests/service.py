"""A tiny exported model, and a real server in a process of its own on loopback."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx2 as httpx
import numpy as np

from forked_command import ForkedCommand
from limner.data.preprocess import Preprocessing
from limner.labels import Labels
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
    resize_mode: Literal["resize", "letterbox", "tile"] = "resize",
) -> Path:
    # Here, since the process that hands out tests loads this file and needs no torch
    import torch

    from limner.inference.export import export
    from limner.model.bundle import Bundle
    from limner.model.presets import resolve_settings
    from limner.model.unet import UNet

    settings = resolve_settings(parse_recipe({"model": {"widths": widths}}).model)
    recipe = parse_recipe({"model": settings.model_dump(), "data": {"size_px": [32, 32]}})
    labels = Labels.from_values(
        classes, (0, 255) if len(classes) == 2 else tuple(range(len(classes)))
    )
    torch.manual_seed(seed)
    weights = UNet.from_settings(recipe.model, 3, labels.out_channels).state_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    preprocessing = Preprocessing((32, 32), (0.5,) * 3, (0.25,) * 3, resize_mode)
    source = path.with_suffix(".safetensors")
    Bundle(
        recipe=recipe,
        labels=labels,
        preprocessing=preprocessing,
        weights=weights,
        confidence=CONFIDENCE,
    ).save(source)
    path.unlink(missing_ok=True)
    # One image: that exports draw the same masks is tested in test_export.py
    export(source, path, images=[np.zeros((24, 40, 3), np.uint8)])
    return path


@dataclass
class Served:
    """A running server, and a client of it."""

    process: "subprocess.Popen[bytes] | ForkedCommand"
    address: str
    client: httpx.Client
    log: Path

    def stop(self) -> int:
        """Send SIGTERM, as a scheduler does; return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.close()

    def close(self) -> int:
        self.client.close()
        return self.process.wait(30)


Start = Callable[..., Served]


def begin(folder: Path, *arguments: object, verb: str = "serve", **environment: str) -> Served:
    """Start a server as a person does, by the command."""
    command = [sys.executable, "-m", "limner", *spell(verb, arguments)]
    stdout, stderr = new_logs(folder)
    with stdout.open("w") as output, stderr.open("w") as errors:
        process = subprocess.Popen(
            command, stdout=output, stderr=errors, env={**os.environ, **environment}
        )
    return wait_for_address(process, stdout, stderr)


def begin_forked(
    folder: Path, verb: str, *arguments: object, cwd: Path | None = None, **environment: str
) -> Served:
    """The same without the time of its imports; `cwd` is where it runs."""
    stdout, stderr = new_logs(folder)
    process = ForkedCommand(
        *spell(verb, arguments),
        environment={**os.environ, **environment},
        stdout=stdout,
        stderr=stderr,
        cwd=cwd,
    )
    return wait_for_address(process, stdout, stderr)


def spell(verb: str, arguments: tuple[object, ...]) -> list[str]:
    return [verb, *map(str, arguments), *([] if "--port" in arguments else ["--port", "0"])]


def new_logs(folder: Path) -> tuple[Path, Path]:
    number = len(list(folder.glob("log-*")))
    return folder / f"output-{number}.txt", folder / f"log-{number}.txt"


def wait_for_address(
    process: "subprocess.Popen[bytes] | ForkedCommand", stdout: Path, stderr: Path
) -> Served:
    while not stdout.is_file() or not (match := re.search(r"at (http\S+)\s", stdout.read_text())):
        assert process.poll() is None, stdout.read_text() + stderr.read_text()
        time.sleep(0.01)
    return Served(process, match[1], httpx.Client(base_url=match[1], timeout=30), stderr)


def png(height: int = 40, width: int = 60, seed: int = 0) -> bytes:
    from limner.data.writers.png import encode_png

    return encode_png(
        np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)
    )


def problem(answer: Any, status: int | None = None) -> str:
    """The message of an error, which always has the same shape."""
    assert status is None or answer.status_code == status
    body = answer.json()
    assert (
        set(body) == {"error", "request_id"}
        and body["request_id"] == answer.headers["x-request-id"]
    )
    assert "/tmp" not in body["error"] and "Traceback" not in body["error"]
    return str(body["error"])
