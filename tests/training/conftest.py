import shutil
from pathlib import Path

import pytest
from tiny_run import TINY

from limner.training.cross_validation import cross_validate
from limner.training.pipeline import train
from limner.training.run import Run
from shared_folder import shared_folder


@pytest.fixture(scope="session")
def trained(lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of TINY on the sample set; tests read it and change nothing."""

    def make(folder: Path) -> None:
        train(lesions, TINY, folder / "run")

    return Run.open(shared_folder(tmp_path_factory, "trained", make) / "run")


@pytest.fixture(scope="session")
def folds(lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished cross-validation of two folds; tests read it and change nothing."""

    def make(folder: Path) -> None:
        cross_validate(lesions, 2, TINY.replace({"train.epochs": 2}), folder / "cv")

    return shared_folder(tmp_path_factory, "folds", make) / "cv"


@pytest.fixture
def copied(trained: Run, tmp_path: Path) -> Run:
    """A copy of that run, to be changed."""
    return Run.open(shutil.copytree(trained.folder, tmp_path / "copied"))
