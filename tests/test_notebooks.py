"""The notebooks of the documentation, run in a kernel on small images and tiny networks."""

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from command_line import TINY_TRAINING

NOTEBOOKS = sorted((Path(__file__).parent.parent / "docs" / "notebooks").glob("*.ipynb"))
SETTINGS = " ".join(f"--set '{setting}'" for setting in TINY_TRAINING)


def quick(source: str) -> str:
    """A cell that takes a second: small images, and a tiny network for two epochs."""
    for count in ("--count 6", "--count 4"):
        source = source.replace(count, "--count 4 --size 32")
    if "limner sample" in source and "--count" not in source:
        source += " --count 24 --size 32"
    source = source.replace("--minutes 2", SETTINGS).replace("--budget 12", "--budget 4")
    for minutes in ("minutes=5", "minutes=2"):
        source = source.replace(minutes, "recipe=TINY")
    return source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "cache"))
    for variable in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs, "it is kept without outputs"
            cell.source = quick(cell.source)
    tiny = f"from limner.recipe_file import load_recipe\nTINY = load_recipe(None, {TINY_TRAINING})"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(tiny))
    work = tmp_path / "work"
    work.mkdir()
    # A `!command` that fails raises nothing by itself
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(work)}}).execute()
    printed = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ())
    )
    assert "error:" not in printed and "Traceback" not in printed, printed
    assert (work / "runs").is_dir()
