import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from limner.errors import LimnerError
from limner.inference.prediction_record import PredictionFile, PredictionRecord, review_priority
from limner.labels import Labels

LABELS = Labels.from_values(("background", "foreground"), (0, 255))
RECORD = PredictionRecord(
    image="/photos/a.png",
    page=0,
    mask="a.png",
    uncertainty="uncertainty/a.png",
    predicted_dice=0.912346,
    unusual=False,
    unusualness=0.25,
    mean_entropy=0.1,
    image_sha256="0123",
)
FILE = PredictionFile(("/m.onnx",), LABELS, (RECORD,), ("b.png is not an image.",))
PATH = Path("out/predictions.json")


def test_what_is_written_is_read_back() -> None:
    partly = replace(FILE, records=(RECORD, replace(RECORD, left_out=("fill_holes",))))
    for file in (FILE, partly):
        assert PredictionFile.from_bytes(file.to_bytes(), PATH) == file


def test_the_keys_keep_their_order_and_steps_are_named_only_where_they_were_left_out() -> None:
    assert list(json.loads(FILE.to_bytes())) == [
        "models",
        "classes",
        "labels",
        "predictions",
        "failed",
        "images_gone",
        "settings",
    ]
    keys = [
        "image",
        "page",
        "mask",
        "uncertainty",
        "predicted_dice",
        "unusual",
        "unusualness",
        "mean_entropy",
        "image_sha256",
    ]
    assert list(RECORD.to_json()) == keys
    partly = replace(RECORD, left_out=("fill_holes",)).to_json()
    assert list(partly) == [*keys[:-1], "left_out", "image_sha256"]
    assert partly["left_out"] == ["fill_holes"]


def test_the_lowest_predicted_dice_or_the_highest_entropy_is_reviewed_first() -> None:
    assert RECORD.priority == RECORD.predicted_dice
    assert replace(RECORD, predicted_dice=None).priority == -RECORD.mean_entropy
    assert review_priority(0.4, 0.0) < review_priority(0.5, 1.0)
    assert review_priority(None, 0.9) < review_priority(None, 0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values.pop("labels"), r"predictions\.json is not as limner predict writes"),
        (lambda values: values["predictions"][0].pop("unusual"), "KeyError: 'unusual'"),
        (lambda values: values["predictions"].append("a.png"), "not as limner predict writes"),
        (lambda values: values["predictions"][0].update(mask="../a.png"), "not in its folder"),
        (lambda values: values["predictions"][0].update(mask="/etc/a.png"), "not in its folder"),
        (lambda values: values["predictions"][0].update(mask=7), "not as limner predict writes"),
    ],
)
def test_a_file_in_another_form_is_refused(
    change: Callable[[dict[str, Any]], object], message: str
) -> None:
    values = json.loads(FILE.to_bytes())
    change(values)
    with pytest.raises(LimnerError, match=message):
        PredictionFile.from_bytes(json.dumps(values).encode(), PATH)


def test_a_file_that_is_no_json_is_refused() -> None:
    with pytest.raises(LimnerError, match="Predict again into a new folder"):
        PredictionFile.from_bytes(b"{", PATH)
