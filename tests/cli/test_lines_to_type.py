"""What users of other tools type."""

import time
from pathlib import Path

import pytest

from command_line import limner
from limner.cli.lines_to_type import line_to_type, line_with_quotes


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("train data=lesions epochs=40 imgsz=256", "train lesions --epochs 40 --size 256"),
        ("train model=yolo11n-seg.pt data=lesions", "train lesions"),
        ("predict source=photos model=runs/a conf=0.3", "predict runs/a photos --threshold 0.3"),
        ("train lesions epochs=2 --name a", "train lesions --epochs 2 --name a"),
        ("train lesions --set train.epochs=40", None),
        ("train lesions --set epochs=40", None),
        ("check lesions", None),
        ("", None),
    ],
)
def test_keys_and_values_are_answered_with_the_line_to_type(typed: str, meant: str | None) -> None:
    assert line_to_type(typed.split()) == (meant and f"limner {meant}")


def test_a_folder_of_such_a_name_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data=x").mkdir()
    assert line_to_type(["check", "data=x"]) is None


def test_the_command_line_says_it(tmp_path: Path) -> None:
    done = limner("train", "data=my photos", "epochs=3", cwd=tmp_path)
    assert done.returncode == 2
    assert "limner train 'my photos' --epochs 3" in done.stderr


def test_a_path_that_its_spaces_took_apart_is_answered_with_quotes(tmp_path: Path) -> None:
    (tmp_path / "my new photos").mkdir()
    done = limner("check", "my", "new", "photos", cwd=tmp_path)
    assert done.returncode == 2 and "limner check 'my new photos'" in done.stderr
    (tmp_path / "my").mkdir()
    assert "quotes" not in limner("check", "my", "new", "photos", cwd=tmp_path).stderr


def test_a_folder_that_is_not_there_is_answered_with_a_similar_one(tmp_path: Path) -> None:
    (tmp_path / "lesions").mkdir()
    for command in ("train", "check"):
        done = limner(command, "lesoins", cwd=tmp_path)
        assert done.returncode == 1 and "Did you mean lesions?" in done.stderr


def test_the_files_of_a_pattern_are_not_joined(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = [f"{number}.jpg" for number in range(3000)]
    for name in names:
        Path(name).touch()
    began = time.process_time()
    assert line_with_quotes(["predict", "run", *names, "-o", "out"]) is None
    assert line_with_quotes(["predict", "run", *(f"no-{name}" for name in names)]) is None
    assert time.process_time() - began < 5, "seconds; it was quadratic"
