"""What `pip install limner` gives: all but training and the use of its own model files."""

import subprocess
import sys
import tomllib
from pathlib import Path

from limner.data.synthetic import write_synthetic

ROOT = Path(__file__).parent.parent
BLOCKED = "import sys; sys.modules['torch'] = None\n"
COMMAND = "import runpy; runpy.run_module('limner', run_name='__main__', alter_sys=True)"


def limner(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a process that finds no torch."""
    command = [sys.executable, "-c", BLOCKED + COMMAND, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def test_torch_comes_with_an_extra_alone() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    extras = project["optional-dependencies"]
    assert any(each.startswith("torch>") for each in extras["train"])
    for names in (project["dependencies"], extras["serve"], extras["review"], extras["measure"]):
        assert not any(each.startswith(("torch", "timm", "limner[")) for each in names)


def test_training_says_what_to_install(tmp_path: Path) -> None:
    write_synthetic(tmp_path / "set", count=4, size_px=32, seed=1)
    done = limner("check", "set", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = limner("train", "set", cwd=tmp_path)
    assert done.returncode == 1 and "pip install 'limner[train]'" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr and not (tmp_path / "runs").exists()


def test_python_says_what_to_install() -> None:
    code = BLOCKED + "from limner import train"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "LimnerError: this needs PyTorch" in done.stderr


def test_servers_and_measures_need_no_torch() -> None:
    code = BLOCKED + "import limner.web.review.app, limner.web.service.app, limner.measures.measure"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
