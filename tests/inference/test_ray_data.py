import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import limner
from service import write_model

pytestmark = pytest.mark.heavy

DYING = """
import os, sys
from pathlib import Path

if any("default_worker.py" in part for part in sys.orig_argv):
    from limner.inference import ray_data

    call, mark = ray_data.Worker.__call__, Path({mark!r})

    def dying(self, batch):
        if "3.png" in batch["name"] and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), 9)
        return call(self, batch)

    ray_data.Worker.__call__ = dying
"""
"""Run by every Python process at its start: the first worker that gets a certain image dies."""


def test_two_workers_draw_the_same_masks_and_the_death_of_one_is_survived(tmp_path: Path) -> None:
    models = (
        write_model(tmp_path / "m" / "model.onnx"),
        write_model(tmp_path / "other" / "model.xml", seed=1),
    )
    (tmp_path / "in").mkdir()
    for index in range(8):
        pixels = np.random.default_rng(index).integers(0, 255, (40, 50 + index, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{index}.png")
    (tmp_path / "in" / "bad.png").write_bytes(b"broken")

    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(DYING.format(mark=str(tmp_path / "mark")))

    environment = {
        **os.environ,
        "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), *sys.path]),
    }
    predict = ["predict", *map(str, models), "in", "-o", "on-ray", "--engine", "ray"]
    on_ray = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "limner", *predict],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment,
        timeout=600,
    )
    local = limner("predict", *models, "in", "-o", "local", cwd=tmp_path)
    # Of the broken file
    assert local.returncode == on_ray.returncode == 1, on_ray.stderr[-3000:]
    assert "not predicted" in on_ray.stderr and "bad.png" in on_ray.stderr
    assert (tmp_path / "mark").exists()
    expected, predictions = (
        json.loads((tmp_path / folder / "predictions.json").read_text())
        for folder in ("local", "on-ray")
    )
    assert predictions == expected and len(predictions["predictions"]) == 8
    for path in (tmp_path / "local").rglob("*.png"):
        same = tmp_path / "on-ray" / path.relative_to(tmp_path / "local")
        assert path.read_bytes() == same.read_bytes()
