"""Whole slides from annotations to masks."""

import json
from pathlib import Path

import numpy as np
import openslide
import pytest
from tiny_run import TINY

from limner.data import regions
from limner.data.images import read_mask
from limner.data.readers.pixel_size import PixelSize
from limner.data.storage import Storage
from limner.inference.batch import predict_folder
from limner.inference.image_selection import ImageSelection
from limner.inference.prediction_job import PredictionJob
from limner.inference.predictor import Predictor
from limner.training.pipeline import train
from slides import MPP, draw_tissue, write_slide


def write_set(folder: Path) -> None:
    for number in range(4):
        pixels, _ = draw_tissue(220, 260, number)
        write_slide(folder / f"{number}.svs", pixels)
        corners = [[20, 30], [200, 40], [180, 150], [60, 200], [20, 30]]
        feature = {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [corners]},
            "properties": {"classification": {"name": "tumour"}},
        }
        (folder / f"{number}.geojson").write_text(json.dumps([feature]))


def test_slides_are_trained_on_and_predicted_part_by_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regions, "REGION_PX", 110)
    write_set(tmp_path / "slides")
    run = train(tmp_path / "slides", TINY.replace({"data.resize_mode": "tile"}), tmp_path / "run")
    sides = json.loads((run.folder / "split.json").read_text())
    slides = {side: {id.partition("@")[0] for id in ids} for side, ids in sides.items()}
    assert not slides["train"] & slides["val"] and "@x0y0" in " ".join(sides["train"])

    job = PredictionJob.plan(
        ImageSelection.from_storage(Storage(tmp_path / "slides")),
        Storage(tmp_path / "predictions"),
        {"model": ""},
    )
    predictor = Predictor.load(run.model)
    records = predict_folder(predictor, job).records
    assert len(records) == 4 and records[0].pixel_size == PixelSize(MPP, MPP, "µm")
    with openslide.OpenSlide(tmp_path / "slides" / "0.svs") as slide:
        whole = np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., :3]
    expected = predictor.labels.to_pixels(predictor.predict(whole).mask)
    assert np.array_equal(read_mask(tmp_path / "predictions" / "0.tif").values, expected)
