"""The Python API as a user meets it: names, types, and the README's example."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import limner

ROOT = Path(__file__).parent.parent


def readme_example() -> str:
    """The Python block of the README."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 1
    return str(blocks[0])


def test_dir_lists_the_public_names_and_each_can_be_loaded() -> None:
    assert dir(limner) == sorted(limner.__all__)
    for name in limner.__all__:
        assert getattr(limner, name) is not None, name


def test_an_unknown_name_is_an_attribute_error() -> None:
    try:
        limner.predictor_of_everything  # noqa: B018
    except AttributeError as error:
        assert "has no attribute 'predictor_of_everything'" in str(error)
    else:
        raise AssertionError("an unknown name was found")


def test_importing_limner_imports_no_torch() -> None:
    command = "import limner, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command]).returncode == 0


def test_the_module_that_mypy_checks_is_the_example_of_the_readme() -> None:
    imports, code = readme_example().split("\n\n", 1)
    module = (ROOT / "tests" / "readme_example.py").read_text()
    assert f"\n{imports}\n" in module and f"\n\n{code}\n" in module
    with (ROOT / "pyproject.toml").open("rb") as file:
        settings = tomllib.load(file)["tool"]["mypy"]
    assert "tests/readme_example.py" in settings["files"] and settings["strict"] is True


def test_the_example_of_the_readme_runs_on_a_set_without_splits(
    pairs, tmp_path: Path, monkeypatch
) -> None:
    from PIL import Image

    from shapes import disc

    root = pairs({f"{i:02}": disc(16, 255, radius=3 + i % 4) for i in range(20)}, "lesions")
    Image.open(root / "images" / "00.png").convert("RGB").save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    recipe = 'recipe=Recipe().replace({"data.size_px": (16, 16), "model.widths": (2, 4), '
    recipe += '"train.epochs": 1, "train.compile": False})'
    exec("from limner import Recipe\n" + readme_example().replace("minutes=5", recipe), {})
    with Image.open(tmp_path / "mask.png") as mask:
        assert mask.size == (16, 16)
