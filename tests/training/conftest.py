import shutil
from pathlib import Path

import pytest
from tiny_run import TINY

from limner.training.pipeline import train
from limner.training.run import Run


@pytest.fixture(scope="session")
def trained(lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of TINY on the sample set; tests read it and change nothing."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LIMNER_CACHE", str(folder / "cache"))
        return train(lesions, TINY, folder / "run")


@pytest.fixture
def copied(trained: Run, tmp_path: Path) -> Run:
    """A copy of that run, to be changed."""
    return Run.open(shutil.copytree(trained.folder, tmp_path / "copied"))
