import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from limner.data.images import read_image, read_mask
from limner.data.writers.png import write_png
from limner.errors import LimnerError
from limner.labels import dump_labels
from limner.review.sources import read_predictions
from shapes import disc


@pytest.fixture
def folder(predicted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(predicted, tmp_path / "predictions"))


def test_limners_predictions_are_read(folder: Path) -> None:
    predictions = read_predictions(folder)
    assert (predictions.from_limner, predictions.labels.names, predictions.models) == (
        True,
        ("background", "lesion"),
        ("model.onnx",),
    ) and len(predictions.entries) == 6
    for entry in predictions.entries:
        mask, image = predictions.mask(entry), predictions.image(entry)
        assert (
            mask.shape == image.shape[:2]
            and (mask * np.uint8(255) == read_mask(folder / entry.id).values).all()
        )
        assert (image == read_image(Path(entry.image))).all() and entry.name.startswith("photo-")
    turned = next(entry for entry in predictions.entries if entry.id == "photo-5.png")
    assert predictions.mask(turned).shape == (96, 90)


def test_masks_of_another_tool_are_read(pairs: Callable[..., Path]) -> None:
    root = pairs({"a": disc(), "b": disc(radius=3), "c": disc(radius=7)})
    predictions = read_predictions(root)
    assert (
        not predictions.from_limner
        and [entry.id for entry in predictions.entries] == ["a", "b", "c"]
        and predictions.labels.names == ("background", "foreground")
    )
    assert (predictions.mask(predictions.entries[0]) == disc(value=1)).all()


def test_an_image_that_was_changed_since_is_an_error(folder: Path) -> None:
    record = json.loads((folder / "predictions.json").read_text())
    moved = folder.parent / "other.jpg"
    shutil.copy(record["predictions"][0]["image"], moved)
    record["predictions"][0]["image"] = str(moved)
    (folder / "predictions.json").write_text(json.dumps(record))
    predictions = read_predictions(folder)
    predictions.image(predictions.entries[0])
    moved.write_bytes(Path(record["predictions"][1]["image"]).read_bytes())
    with pytest.raises(LimnerError, match="changed since"):
        predictions.image(predictions.entries[0])
    moved.unlink()
    with pytest.raises(LimnerError, match="does not exist"):
        predictions.image(predictions.entries[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record.pop("labels"), "not as limner predict writes it"),
        (lambda record: record["predictions"].clear(), "holds no prediction"),
        (lambda record: record["predictions"][0].update(mask="../secret.png"), "not in its folder"),
        (
            lambda record: record["predictions"][0].update(mask="/etc/secret.png"),
            "not in its folder",
        ),
    ],
)
def test_a_malformed_record_is_refused(
    folder: Path, change: Callable[[dict], object], message: str
) -> None:
    record = json.loads((folder / "predictions.json").read_text())
    change(record)
    (folder / "predictions.json").write_text(json.dumps(record))
    with pytest.raises(LimnerError, match=message):
        read_predictions(folder)


def test_a_folder_without_predictions_is_an_error(
    tmp_path: Path, pairs: Callable[..., Path]
) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "none"):
        with pytest.raises(LimnerError, match=r"predictions\.json|is not a folder"):
            read_predictions(folder)
    root = pairs({"a": disc(), "b": disc()})
    (root / "masks" / "b.png").write_bytes(b"damaged")
    with pytest.raises(LimnerError, match="limner check"):
        read_predictions(root)


def test_a_new_class_changes_the_identity_and_a_new_name_does_not(tmp_path: Path) -> None:
    """Masks are kept as class indices, which stand for values in their order."""
    colours = np.zeros((24, 24, 3), np.uint8)
    colours[:9, :9], colours[15:, 15:] = (0, 255, 0), (255, 0, 0)
    for name in ("a", "b"):
        for kind in ("images", "masks"):
            (tmp_path / kind).mkdir(exist_ok=True)
            write_png(tmp_path / kind / f"{name}.png", colours)
    before = read_predictions(tmp_path)
    assert before.labels.names == ("background", "#00ff00", "#ff0000")
    (tmp_path / "labels.toml").write_text(
        dump_labels(replace(before.labels, names=("background", "nail", "hair")))
    )
    assert read_predictions(tmp_path).identity == before.identity
    (tmp_path / "labels.toml").unlink()
    colours[:9, 15:] = (0, 0, 255)
    write_png(tmp_path / "masks" / "a.png", colours)
    assert read_predictions(tmp_path).identity != before.identity
