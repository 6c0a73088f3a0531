"""The Python API as a user meets it: names, types, and the README's example."""

import re
import subprocess
import sys
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


def test_a_type_checker_knows_the_type_of_all_that_the_readme_uses(tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    names = ("run", "predictor", "prediction", "mask", "scores", 'scores.summary()["dice"].mean')
    revealed = "\n".join(f"reveal_type({name})" for name in names)
    script.write_text(f"{readme_example()}\n{revealed}\n")
    command = [sys.executable, "-m", "mypy", str(script)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    types = re.findall(r'Revealed type is "(.*)"', process.stdout)
    assert len(types) == len(names), process.stdout
    for name, kind in zip(names, types, strict=True):
        assert not re.search(r"\bAny\b|\bobject\b", kind) or name == "mask", f"{name}: {kind}"
    assert types[0].endswith("run.Run") and types[-1].removeprefix("builtins.") == "float"


def test_the_example_of_the_readme_runs_on_a_set_without_splits(
    pairs, tmp_path: Path, monkeypatch
) -> None:
    import numpy as np
    from PIL import Image

    from shapes import disc

    root = pairs({f"{i:02}": disc(16, 255, radius=3 + i % 4) for i in range(20)}, "lesions")
    Image.open(root / "images" / "00.png").convert("RGB").save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    recipe = 'recipe=Recipe().replace({"data.size_px": (16, 16), "model.widths": (2, 4), '
    recipe += '"train.epochs": 1, "train.compile": False})'
    example = readme_example().replace('train("lesions")', f'train("lesions", {recipe})')
    names: dict[str, object] = {}
    exec("from limner import Recipe\n" + example, names)
    assert isinstance(names["mask"], np.ndarray) and names["mask"].shape == (16, 16)
