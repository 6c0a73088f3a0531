import shutil
from pathlib import Path

import pytest

from service import Served, Start


@pytest.fixture
def folder(predicted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(predicted, tmp_path / "predictions"))


@pytest.fixture
def review(folder: Path, start: Start) -> Served:
    return start(folder, "--no-open", "--reviewer", "mira", verb="review")
