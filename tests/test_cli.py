import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import limner
from limner.cli import app
from limner.data.images import read_mask
from service import write_model

TINY = [
    "--set",
    "data.size_px=[16,16]",
    "--set",
    "model.widths=[2,4,8]",
    "--set",
    "train.epochs=2",
    "--set",
    "train.batch_size=4",
    "--set",
    "train.compile=false",
]
ROOT = Path(__file__).parent.parent


def test_the_whole_path_from_a_folder_to_masks(lesions: Path, tmp_path: Path) -> None:
    trained = limner("train", lesions, *TINY, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert "validation Dice" in trained.stdout and "set by you" in trained.stdout
    model = tmp_path / "runs" / "set" / "model.safetensors"
    tested = limner("test", model, lesions, cwd=tmp_path)
    assert "4 images of test" in tested.stdout and "Worst images" in tested.stdout
    assert (
        0
        <= json.loads((model.parent / "report" / "report.json").read_text())["scores"]["dice"][
            "mean"
        ]
        <= 1
    )
    predicted = limner(
        "predict",
        model,
        lesions / "ISIC2018_Task1-2_Test_Input",
        "-o",
        tmp_path / "p",
        cwd=tmp_path,
    )
    assert predicted.returncode == 0, predicted.stderr
    records = json.loads((tmp_path / "p" / "predictions.json").read_text())["predictions"]
    assert len(records) == 4
    assert [record["predicted_dice"] for record in records] == sorted(
        record["predicted_dice"] for record in records
    )
    for record in records:
        with Image.open(tmp_path / "p" / record["uncertainty"]) as doubt:
            assert (doubt.mode, doubt.size) == ("L", (32, 32))
        mask = read_mask(tmp_path / "p" / record["mask"])
        assert mask.values.shape == (32, 32)
        assert set(np.unique(mask.values)) <= {0, 255}
    assert (tmp_path / "p" / "overview.jpg").exists()
    exported = limner("export", model, cwd=tmp_path)
    assert "draws the same masks: 0 of" in exported.stdout, exported.stderr
    assert (
        limner(
            "predict",
            model.with_suffix(".onnx"),
            lesions / "ISIC2018_Task1-2_Test_Input",
            "-o",
            tmp_path / "o",
            cwd=tmp_path,
        ).returncode
        == 0
    )
    for record in records:
        assert (tmp_path / "p" / record["mask"]).read_bytes() == (
            tmp_path / "o" / record["mask"]
        ).read_bytes()
    again = limner(
        "test", model.with_suffix(".onnx"), lesions, "--out", tmp_path / "r", cwd=tmp_path
    )
    assert [line for line in again.stdout.splitlines() if "dice" in line] == [
        line for line in tested.stdout.splitlines() if "dice" in line
    ]
    smaller = limner("export", model, "--precision", "bfloat16", "--data", lesions, cwd=tmp_path)
    assert "mean Dice" in smaller.stdout and model.with_name("model-bfloat16.xml").exists(), (
        smaller.stderr
    )
    assert (
        "give the folder of images and masks with --data"
        in limner("export", model, "--precision", "int8", cwd=tmp_path).stderr
    )


def test_several_models_predict_and_submit_as_one(lesions: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        limner(
            "train",
            lesions,
            *TINY,
            "--set",
            f"train.seed={seed}",
            "--out",
            f"run{seed}",
            cwd=tmp_path,
        )
    models, images = (
        ["run0/model.safetensors", "run1/model.safetensors"],
        lesions / "ISIC2018_Task1-2_Test_Input",
    )
    done = limner("predict", *models, images, "-o", "both", "--tta", "flips", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    about = json.loads((tmp_path / "both" / "predictions.json").read_text())
    assert len(about["models"]) == 2 and len(about["predictions"]) == 4
    assert limner("submit", *models, images, "-o", "both.zip", cwd=tmp_path).returncode == 0
    again = limner("submit", *models, images, "-o", "both.zip", cwd=tmp_path)
    assert again.returncode == 1 and "Nothing is overwritten" in again.stderr
    unknown = limner("predict", *models, images, "-o", "other", "--tta", "sideways", cwd=tmp_path)
    assert unknown.returncode == 1 and "Choose one of none, flips, turns, scales" in unknown.stderr


def test_predictions_are_written_in_another_format_and_measured(
    lesions: Path, tmp_path: Path
) -> None:
    limner("train", lesions, *TINY, "--out", "run", cwd=tmp_path)
    images = lesions / "ISIC2018_Task1-2_Test_Input"
    command = ("predict", "run", images, "--format", "labelme", "--measure")
    for _ in range(2):
        done = limner(*command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "predictions-labelme").glob("*.json"))) == 4
    assert (tmp_path / "predictions-measures" / "parts.csv").is_file()
    (tmp_path / "predictions-coco").mkdir()
    (tmp_path / "predictions-coco" / "mine.txt").write_text("kept")
    taken = limner("predict", "run", images, "--format", "coco", cwd=tmp_path)
    assert taken.returncode == 1 and "Nothing is overwritten" in " ".join(taken.stderr.split())
    unknown = limner("predict", "run", images, "--format", "word", cwd=tmp_path)
    assert unknown.returncode == 1 and "--format word is not known" in unknown.stderr


def test_one_bad_file_does_not_stop_the_rest(lesions: Path, tmp_path: Path) -> None:
    limner("train", lesions, *TINY, "--out", "run", cwd=tmp_path)
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (40, 20)).save(tmp_path / "photos" / "good.jpg")
    (tmp_path / "photos" / "bad.jpg").write_text("broken")
    done = limner("predict", "run/model.safetensors", "photos", cwd=tmp_path)
    assert done.returncode == 1
    assert "1 mask is" in done.stdout and "bad.jpg" in done.stderr
    with Image.open(tmp_path / "predictions" / "good.png") as mask:
        assert mask.size == (40, 20)
    again = limner("predict", "run/model.safetensors", "photos", cwd=tmp_path)
    assert again.returncode == 1 and "1 file was done before" in again.stdout
    Image.new("RGB", (30, 50)).save(tmp_path / "photos" / "bad.jpg")
    mended = limner("predict", "photos", "run", cwd=tmp_path)
    assert mended.returncode == 0 and "2 masks" in mended.stdout
    other = limner("predict", "photos", "run", "--tta", "flips", cwd=tmp_path)
    assert other.returncode == 1 and "Nothing is overwritten" in other.stderr
    (tmp_path / "photos" / "good.jpg").unlink()
    for number in range(21):
        (tmp_path / "photos" / f"{number:02}.ims").write_bytes(b"\0\1")
    gone = limner("predict", "photos", "run", cwd=tmp_path)
    text = " ".join(gone.stderr.split())
    assert gone.returncode == 1
    gone = f"{tmp_path}/photos/good.jpg"
    assert f"note: 1 image that was predicted before and is gone: {gone}" in text
    assert "21 files have no mask:" in text and "and 1 more, which predictions.json lists" in text


def test_tiles_that_cannot_be_exact_are_said_to_be_blended(lesions: Path, tmp_path: Path) -> None:
    limner(
        "train",
        lesions,
        *TINY,
        "--set",
        "data.resize_mode=tile",
        "--set",
        "model.norm=instance",
        "--out",
        "run",
        cwd=tmp_path,
    )
    done = limner(
        "predict", "run/model.safetensors", lesions / "ISIC2018_Task1-2_Test_Input", cwd=tmp_path
    )
    assert done.returncode == 0 and "its tiles are not exact: they are blended" in " ".join(
        done.stderr.split()
    )


def test_check_exits_with_1_on_errors_and_prints_json(lesions: Path, pairs, tmp_path: Path) -> None:
    assert limner("check", lesions, cwd=tmp_path).returncode == 0
    root = pairs({"a": np.eye(16, dtype=np.uint8), "b": np.eye(16, dtype=np.uint8)})
    (root / "masks" / "a.png").unlink()
    done = limner("check", root, "--json", cwd=tmp_path)
    assert done.returncode == 1
    assert [finding["code"] for finding in json.loads(done.stdout)["findings"]] == [
        "missing-mask",
        "few-images",
    ]
    assert not (tmp_path / "checks" / "set" / "findings.json").read_text().count("missing-mask"), (
        "--json wrote a page"
    )
    limner("check", root, "--out", "page", cwd=tmp_path)
    assert "missing-mask" in (tmp_path / "page" / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "nowhere"], "nowhere is not there"),
        (["train", "nowhere"], "nowhere is not there"),
        (["train"], "nothing to train on"),
        (["train", "--resume", "nowhere"], "is not a run"),
        (["train", ".", "--resume", "x"], "Give it alone"),
        (["train", ".", "--set", "train.epoch=3"], "Did you mean train.epochs"),
        (["train", ".", "--minutes", "-1"], "train.minutes"),
        (["test", "none.safetensors", "nowhere"], "model.safetensors of a run"),
        (["predict", "none.safetensors", "nowhere"], "model.safetensors of a run"),
        (["predict", "nowhere"], "must be a model"),
        (["test", "runs/nothing", "something"], "runs/nothing does not exist"),
        (["test", "nowhere"], "must be one model"),
        (["test", "a", "b", "c", "nowhere"], "or several with --ensemble"),
        (["submit", "nowhere"], "must be a model"),
        (["sample", ".", "--count", "2"], "not empty"),
        (["check", "s3://bucket/set"], "s3://bucket/set is a URL"),
        (["review", "s3://bucket/masks", "--no-open"], "s3://bucket/masks is a URL"),
        (["test", "none.safetensors", "gs://bucket/set"], "gs://bucket/set is a URL"),
    ],
)
def test_a_mistake_is_answered_with_a_message(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "something").touch()
    done = limner(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert message in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "m.safetensors", "photos", "--device", "gpu"], "there is no device gpu here"),
        (["predict", "m.safetensors", "photos", "--device", "mps"], "there is no device mps here"),
        (
            ["export", "m.safetensors", "--out", "new.onnx", "--images", "typo"],
            "typo holds no image to compare on",
        ),
    ],
)
def test_a_mistake_about_a_model_that_is_there_is_answered_with_a_message(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    write_model(tmp_path / "m.onnx")
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "photos" / "a.png")
    done = limner(*arguments, cwd=tmp_path)
    assert done.returncode == 1 and message in " ".join(done.stderr.split())


def test_an_encoder_that_is_none_is_named_before_anything_is_made(
    lesions: Path, tmp_path: Path
) -> None:
    done = limner("train", lesions, "--encoder", "nonsense", cwd=tmp_path)
    assert done.returncode == 1 and "timm has no encoder 'nonsense'" in done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_pretrained_encoder_just_works(lesions: Path, tmp_path: Path) -> None:
    done = limner(
        "train",
        lesions,
        "--encoder",
        "tf_efficientnet_lite0",
        *TINY[:2],
        *TINY[4:],
        "--out",
        "run",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "network tf_efficientnet_lite0" in " ".join(done.stdout.split())


def test_help_is_quick(tmp_path: Path) -> None:
    plain = (
        "import typer\napp = typer.Typer()\napp.command('train')(lambda: None)\n"
        "app.command('test')(lambda: None)\napp(['--help'])"
    )
    seconds: dict[str, list[float]] = {"limner": [], "plain": []}
    for _ in range(3):
        for name, arguments in (("limner", ["-m", "limner", "--help"]), ("plain", ["-c", plain])):
            began = os.times()
            command = [sys.executable, *arguments]
            process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
            assert "train" in process.stdout
            ended = os.times()
            user = ended.children_user - began.children_user
            seconds[name].append(user + ended.children_system - began.children_system)
    # 1.1 times it was in November 2026; torch alone takes 5 times a command's time
    assert min(seconds["limner"]) < 2 * min(seconds["plain"]), "of a processor, as typer takes"


def test_the_command_line_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys, limner.cli\n"
        "heavy = {'torch', 'numpy', 'scipy', 'PIL', 'pydantic', 'jinja2', 'starlette'}\n"
        "sys.exit(', '.join(heavy & {*sys.modules}) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_command_is_in_the_documentation() -> None:
    pages = [path for path in (ROOT / "docs").glob("*.md") if path.name != "cli.md"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in pages)
    for command in app.registered_commands:
        assert command.callback is not None
        name = command.callback.__name__
        assert re.search(rf"limner {name}\b", text), name


def test_the_public_names_are_there() -> None:
    import limner

    assert all(getattr(limner, name) is not None for name in limner.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        limner.nonsense  # noqa: B018
