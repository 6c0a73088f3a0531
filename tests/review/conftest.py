import shutil
from pathlib import Path

import pytest
from PIL import Image

from limner.data.storage import Storage
from limner.data.synthetic import draw_lesion
from limner.inference.batch import predict_folder
from limner.inference.image_selection import ImageSelection
from limner.inference.prediction_job import PredictionJob
from limner.inference.predictor import Predictor
from review_server import LocalReview
from service import write_model


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predictions for six new photos, by a model of the sample set's classes."""
    folder = tmp_path_factory.mktemp("drawn")
    (folder / "photos").mkdir()
    for index in range(6):
        Image.fromarray(draw_lesion(9, index, 40)[0]).save(folder / "photos" / f"new-{index}.png")
    model = write_model(folder / "model.onnx", classes=("background", "foreground"))
    job = PredictionJob.plan(
        ImageSelection.from_storage(Storage(folder / "photos")),
        Storage(folder / "predictions"),
        {"model.onnx": ""},
    )
    predict_folder(Predictor.load(model), job)
    return folder


@pytest.fixture
def folder(drawn: Path, tmp_path: Path) -> Path:
    shutil.copytree(drawn, tmp_path / "new")
    record = tmp_path / "new" / "predictions" / "predictions.json"
    record.write_text(record.read_text().replace(str(drawn), str(tmp_path / "new")))
    return tmp_path / "new" / "predictions"


@pytest.fixture
def review(folder: Path) -> LocalReview:
    return LocalReview(folder)
