import json
from pathlib import Path

import pytest

from dataset_folders import ids_and_splits, save_image, save_images
from limner.data.check import check
from limner.data.scan import scan
from limner.errors import LimnerError
from shapes import disc


@pytest.mark.parametrize(
    "labels",
    [{"background": 0, "cell": 1, "ignore": 2}, {"0": "background", "1": "cell", "2": "ignore"}],
)
def test_both_versions_of_nnunet_are_recognised(tmp_path: Path, labels: dict[str, object]) -> None:
    for path in ("imagesTr/a_0000.png", "labelsTr/a.png", "imagesTs/b_0000.png", "labelsTs/b.png"):
        save_image(tmp_path / path, disc(value=1))
    description = {"labels": labels, "channel_names": {"0": "R"}}
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    dataset = scan(tmp_path)
    assert dataset.layout == "nnU-Net raw"
    assert ids_and_splits(tmp_path) == [("a", "train"), ("b", "test")]
    detected = check(dataset).labels
    assert detected is not None and detected.names == ("background", "cell")


@pytest.mark.parametrize(
    ("description", "shown"),
    [({"labels": {"whole": [1, 2]}}, r"\{'whole': \[1, 2\]\}"), ({"name": "x"}, "None")],
)
def test_regions_and_missing_class_names_are_refused(
    tmp_path: Path, description: dict[str, object], shown: str
) -> None:
    save_images(tmp_path, "imagesTr/a_0000.png", "labelsTr/a.png")
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    with pytest.raises(LimnerError, match=rf"no class names .*\(labels is {shown}\)\. Regions"):
        scan(tmp_path)
