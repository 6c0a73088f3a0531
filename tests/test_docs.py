"""The documentation: its commands run, its links and names exist, its sentences are short."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from PIL import Image

from command_line import TINY_TRAINING, run_limner
from docs_commands import SETTINGS, commands_of, run
from limner.data.synthetic import draw_lesion
from shared_folder import shared_folder

ROOT = Path(__file__).parent.parent
README, DOCS = ROOT / "README.md", ROOT / "docs"
PAGES = [README, *sorted(DOCS.glob("*.md"))]
WITH_COMMANDS = [path for path in PAGES if any(commands_of(path.read_text()))]


@pytest.fixture(scope="module")
def work(lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader has after the first page: a set, new images, a run, masks."""

    def make(folder: Path) -> None:
        shutil.copytree(lesions, folder / "lesions")
        (folder / "photos").mkdir()
        for index in range(3):
            Image.fromarray(draw_lesion(9, index, 32)[0]).save(folder / "photos" / f"p{index}.jpg")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            run_limner("train", "lesions", *SETTINGS)
            run_limner("predict", "runs/lesions", "photos", "-o", "masks")

    return shared_folder(tmp_path_factory, "reader", make)


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.name)
def test_the_commands_of_a_page_run(page: Path, work: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(work, tmp_path / "work"))
    for record in (folder / "runs/lesions/receipt.json", folder / "masks/predictions.json"):
        record.write_text(record.read_text().replace(str(work), str(folder)))
    for words in commands_of(page.read_text()):
        # pip would install, and limner alone opens the studio of another page
        if words[0] == "limner" and len(words) > 1:
            run(words, folder)


def test_the_pages_have_commands_of_every_kind() -> None:
    said = {
        words[1] for page in WITH_COMMANDS for words in commands_of(page.read_text()) if words[1:]
    }
    mentioned = set(re.findall(r"limner ([a-z]+)\b", "\n".join(map(Path.read_text, PAGES))))
    verbs = {"sample", "check", "train", "test", "predict", "review", "measure", "export", "serve"}
    assert verbs <= said
    assert {"merge", "masks", "loop", "submit", "audit", "studio", "runs"} <= mentioned


def test_the_python_of_the_reference_runs(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(work, tmp_path / "work"))
    shutil.rmtree(folder / "runs")
    for name in "ab":
        shutil.copy(folder / "photos" / "p0.jpg", folder / f"{name}.jpg")
    monkeypatch.chdir(folder)
    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text(), re.DOTALL)
    recipe = "recipe=load_recipe(None, SETTINGS)"
    exec(
        block.replace("minutes=5", recipe),
        {"load_recipe": __import__("limner.recipe_file").recipe_file.load_recipe}
        | {"SETTINGS": TINY_TRAINING},
    )


def test_every_extra_that_is_named_exists() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    for page in PAGES:
        named = re.findall(r"limner\[([a-z,]+)\]", page.read_text())
        assert set(chain.from_iterable(each.split(",") for each in named)) <= extras.keys(), page


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            assert "://" in target or (page.parent / target).exists(), f"{page}: {target}"


def test_the_messages_of_the_error_page_are_real() -> None:
    spoken = "\n".join(chain.from_iterable(map(_messages, (ROOT / "src").rglob("*.py"))))
    rows = re.findall(r"^\| `([^`]+)`", (DOCS / "errors.md").read_text(), re.MULTILINE)
    assert len(rows) >= 10
    for row in rows:
        for part in filter(None, (part.strip(" .") for part in row.split("…"))):
            assert part in spoken, f"no message says {part!r}"


def _messages(path: Path) -> list[str]:
    """The texts of a module, with … for what is put into them."""
    texts = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.append(node.value)
        elif isinstance(node, ast.JoinedStr):
            parts = (each.value if isinstance(each, ast.Constant) else "…" for each in node.values)
            texts.append("".join(map(str, parts)))
    return texts


def test_the_readme_is_short() -> None:
    assert len(README.read_text().split()) <= 700


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "cli.md"], ids=lambda page: page.name
)
def test_sentences_are_short(page: Path) -> None:
    lengths = sorted(len(sentence.split()) for sentence in sentences(page.read_text()))
    if lengths:
        assert lengths[-1] <= 30 and lengths[len(lengths) // 2] <= 14


def sentences(text: str) -> list[str]:
    """The sentences of a page, without code, tables and headings."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    lines = [line for line in text.splitlines() if not line.startswith(("|", "#", "!", ":", " "))]
    joined = " ".join(f"{line}." if line.startswith("- ") else line for line in lines)
    joined = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", joined)
    joined = re.sub(r"`[^`]*`", "code", joined)
    found = re.split(r"(?<=[.:;?!])\s+", joined)
    return [sentence for sentence in found if len(sentence.split()) > 1]


def test_the_reference_of_commands_is_what_they_say() -> None:
    command = [sys.executable, "-m", "typer", "limner.cli", "utils", "docs", "--name", "limner"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (DOCS / "cli.md").read_text().strip(), "make docs-reference"


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "train" / "index.html").is_file()
