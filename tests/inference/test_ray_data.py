import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from command_line import limner
from service import write_model
from slides import draw_tissue, write_slide

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
        if batch["count"][0]:
            mark.with_name(f"strip-{{batch['index'][0]}}-of-{{batch['count'][0]}}").touch()
        return call(self, batch)

    ray_data.Worker.__call__ = dying
"""
"""Run by every Python process at its start: the first worker that gets a certain image dies."""


def test_two_workers_draw_the_same_masks_and_the_death_of_one_is_survived(tmp_path: Path) -> None:
    models = (
        write_model(tmp_path / "m" / "model.onnx", resize_mode="tile"),
        write_model(tmp_path / "other" / "model.xml", seed=1, resize_mode="tile"),
    )
    # Large enough for a strip for each worker
    write_slide(tmp_path / "in" / "slide.svs", draw_tissue(2000, 1100)[0])
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
    assert {path.name for path in tmp_path.glob("strip-*")} == {"strip-0-of-2", "strip-1-of-2"}
    expected, predictions = (
        json.loads((tmp_path / folder / "predictions.json").read_text())
        for folder in ("local", "on-ray")
    )
    for each in (predictions, expected):
        for record in each["predictions"]:
            # What is computed from other regions differs in the last digit
            for key in ("predicted_dice", "unusualness", "mean_entropy"):
                record[key] = pytest.approx(record[key], abs=1e-5)
    assert predictions == expected and len(predictions["predictions"]) == 9
    for path in (tmp_path / "local").rglob("*.png"):
        same = tmp_path / "on-ray" / path.relative_to(tmp_path / "local")
        assert path.read_bytes() == same.read_bytes()
    for name in ("slide.tif", "uncertainty/slide.tif"):
        whole, joined = (
            tifffile.imread(tmp_path / folder / name).astype(int) for folder in ("local", "on-ray")
        )
        assert np.abs(whole - joined).max() <= (1 if "/" in name else 0), name
