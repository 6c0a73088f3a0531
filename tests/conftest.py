"""What several tests need: a cache of their own and tiny real datasets."""

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

import array_checks  # noqa: F401  # Before anything of limner
from limner.data.storage import Storage
from limner.data.synthetic import draw_lesion, write_synthetic
from limner.inference.batch import predict_folder
from limner.inference.image_selection import ImageSelection
from limner.inference.prediction_job import PredictionJob
from limner.inference.predictor import Predictor
from postgres import running
from service import Served, Start, begin, begin_forked, write_model
from shared_folder import shared_folder

# Tiny networks wait for threads longer than they compute, on a busy machine by far
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Messages are compared in lines that are not wrapped
os.environ["COLUMNS"] = "200"
# Shared machines stall, so nothing has a deadline; the same examples every time
settings.register_profile("limner", deadline=None, derandomize=True, database=None, max_examples=40)
settings.load_profile("limner")
CACHES = itertools.count()
LONG = {"test_types.py", "test_notebooks.py", "test_docs.py", "test_operating_system.py"}
"""Those of web/ and training/ come next."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long tests first: at the end the short ones fill all processes."""
    items.sort(key=lambda item: (item.path.name in LONG, item.path.parent.as_posix()), reverse=True)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not made before it is used: a folder for each of thousands of tests takes its time
    folder = tmp_path_factory.getbasetemp() / f"cache-{next(CACHES)}"
    monkeypatch.setenv("LIMNER_CACHE", str(folder))


@pytest.fixture(scope="session")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample set, 24 images of 32 px; tests read it and change nothing."""

    def make(folder: Path) -> None:
        write_synthetic(folder / "set", count=24, size_px=32, seed=1)

    return shared_folder(tmp_path_factory, "lesions", make) / "set"


@pytest.fixture
def pairs(tmp_path: Path) -> Callable[..., Path]:
    """Write images/ and masks/ from mask arrays by name; each image is a bright copy of its mask
    with noise.
    """

    def write(masks: dict[str, np.ndarray], folder: str = "set") -> Path:
        root = tmp_path / folder
        (root / "images").mkdir(parents=True)
        (root / "masks").mkdir()
        for name, mask in masks.items():
            noise = np.random.default_rng(len(name)).integers(0, 60, (*mask.shape, 3))
            Image.fromarray((noise + np.minimum(mask, 1)[..., None] * 150).astype(np.uint8)).save(
                root / "images" / f"{name}.png"
            )
            Image.fromarray(mask).save(root / "masks" / f"{name}.png")
        return root

    return write


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    def make(folder: Path) -> None:
        write_model(folder / "lesions" / "model.onnx")
        write_model(folder / "scenes" / "model.onnx", classes=("sky", "road", "car"))

    folder = shared_folder(tmp_path_factory, "models", make)
    return {name: folder / name / "model.onnx" for name in ("lesions", "scenes")}


@pytest.fixture(scope="session")
def server(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Of two models, without a token, for images up to a megapixel."""
    served = begin(
        tmp_path_factory.mktemp("server"),
        *models.values(),
        "--max-megapixels",
        "1",
        "--max-megabytes",
        "1",
        "--workers",
        "2",
    )
    yield served
    assert served.stop() == 0


@pytest.fixture(scope="session")
def predicted(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `limner predict` makes of six small images, one of them turned by its EXIF; tests copy
    it.
    """

    def make(folder: Path) -> None:
        (folder / "photos").mkdir()
        for index in range(6):
            image = Image.fromarray(draw_lesion(3, index, 96)[0][: 60 + 6 * index])
            exif = Image.Exif()
            exif[0x0112] = 6 if index == 5 else 1
            image.save(folder / "photos" / f"photo-{index}.jpg", exif=exif, quality=95)
        job = PredictionJob.plan(
            ImageSelection.from_storage(Storage(folder / "photos")),
            Storage(folder / "predictions"),
            {"model.onnx": ""},
        )
        predict_folder(Predictor.load(models["lesions"]), job)

    return shared_folder(tmp_path_factory, "predicted", make) / "predictions"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running: list[Served] = []

    def begun(*arguments: object, verb: str = "serve", **environment: str) -> Served:
        running.append(
            # A path of its own for modules needs a new interpreter
            begin(tmp_path, *arguments, verb=verb, **environment)
            if "PYTHONPATH" in environment
            else begin_forked(tmp_path, verb, *arguments, **environment)
        )
        return running[-1]

    yield begun
    for served in running:
        served.process.kill()
        served.close()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        # Its files belong to another user
        Path(folder).chmod(0o755)
        with running(Path(folder) / "server") as url:
            yield url


@pytest.fixture
def postgresql(postgresql_server: str) -> str:
    """The URL of an empty database of a real server."""
    from sqlalchemy import create_engine, text

    engine = create_engine(
        postgresql_server.replace("postgresql://", "postgresql+pg8000://"),
        isolation_level="AUTOCOMMIT",
    )
    with engine.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS review WITH (FORCE)"))
        connection.execute(text("CREATE DATABASE review"))
    engine.dispose()
    return postgresql_server.replace("/postgres", "/review")
