"""The wheel, built from the source distribution, in an environment that knows no checkout."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
from pathlib import Path

import pytest

from shared_folder import shared_folder

ROOT = Path(__file__).parent.parent
BUILD_SDIST = "from setuptools import build_meta; print(build_meta.build_sdist(r'{}'))"


def run(*command: object, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel; what limner depends on lies in the tests' environment."""

    def make(folder: Path) -> None:
        source = folder / "source"
        files = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT)
        for name in files.splitlines():
            if (ROOT / name).is_file():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                (source / name).write_bytes((ROOT / name).read_bytes())
        run(sys.executable, "-c", BUILD_SDIST.format(folder / "dist"), cwd=source)
        (archive,) = (folder / "dist").glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(folder / "unpacked", filter="data")
        (unpacked,) = (folder / "unpacked").iterdir()
        pip = (
            sys.executable,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--no-cache-dir",
            "--quiet",
        )
        local = ("--no-deps", "--no-build-isolation", "--no-index")
        run(*pip, "wheel", *local, "--wheel-dir", folder / "dist", unpacked, cwd=folder)
        (wheel,) = (folder / "dist").glob("*.whl")
        run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
        python = folder / "venv" / "bin" / "python"
        run(*pip, "--python", python, "install", *local, wheel, cwd=folder)
        (site,) = (folder / "venv").glob("lib/python*/site-packages")
        # A path within it is not searched for .pth files, so that the checkout itself is not found
        (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    return shared_folder(tmp_path_factory, "built", make) / "venv" / "bin"


def test_the_command_says_the_version(installed: Path, tmp_path: Path) -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    assert run(installed / "limner", "--version", cwd=tmp_path).split() == ["limner", version]


def test_the_wheel_has_all_files_of_the_package(installed: Path, tmp_path: Path) -> None:
    code = "import limner; print(limner.__file__)"
    package = Path(run(installed / "python", "-c", code, cwd=tmp_path).strip()).parent
    assert installed.parent in package.parents
    inside, source = (
        {
            str(path.relative_to(folder))
            for path in folder.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        for folder in (package, ROOT / "src" / "limner")
    )
    assert inside == source and "py.typed" in inside


def test_the_installed_command_checks_a_folder(installed: Path, tmp_path: Path) -> None:
    run(installed / "limner", "sample", "set", "--count", "4", "--size", "32", cwd=tmp_path)
    run(installed / "limner", "check", "set", cwd=tmp_path)
    assert (tmp_path / "checks" / "set" / "index.html").is_file()
