"""Images of several files, from training to masks."""

import json
from pathlib import Path

import numpy as np
import tifffile
from tiny_run import TINY

from command_line import limner
from limner.measures.measure import measure
from limner.review.formats.write import write_predicted
from limner.review.sources import read_predictions
from limner.training.pipeline import train


def write_set(root: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for folder in ("images", "masks", "new"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        mask = np.zeros((32, 40), np.uint16)
        top, left = rng.integers(2, 14, 2)
        mask[top : top + 12, left : left + 15] = 1
        for channel, brightness in (("ch00", 900), ("ch01", 0)):
            pixels = (brightness * mask + rng.integers(0, 300, mask.shape)).astype(np.uint16)
            for folder in ("images", "new") if number < 3 else ("images",):
                tifffile.imwrite(root / folder / f"{number}_{channel}.tif", pixels)
        tifffile.imwrite(root / "masks" / f"{number}.tif", mask.astype(np.uint8))


def test_a_model_of_several_files_predicts_and_is_tested(tmp_path: Path) -> None:
    write_set(tmp_path / "set", 16)
    (tmp_path / "set" / "new").rename(tmp_path / "new")
    run = train(tmp_path / "set", TINY, tmp_path / "run")
    done = limner("predict", run.model, tmp_path / "new", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    records = json.loads((tmp_path / "out" / "predictions.json").read_text())["predictions"]
    assert sorted(record["mask"] for record in records) == ["0.png", "1.png", "2.png"]
    assert Path(records[0]["image"]).name.endswith("_{ch00,ch01}.tif")
    predictions = read_predictions(tmp_path / "out")
    write_predicted(predictions, tmp_path / "nnunet", "nnunet")
    write_predicted(predictions, tmp_path / "nifti", "nifti")
    assert len(list((tmp_path / "nifti").glob("*.nii.gz"))) == 3
    images = sorted(path.name for path in (tmp_path / "nnunet" / "imagesTr").iterdir())
    assert images[:2] == ["0_0000.png", "0_0001.png"]
    measure(tmp_path / "out", tmp_path / "measures")
    header = (tmp_path / "measures" / "parts.csv").read_text().splitlines()[0]
    assert "intensity_mean_1" in header and "intensity_mean_2" in header
    done = limner("test", run.model, tmp_path / "set", "--out", tmp_path / "report")
    assert done.returncode == 0, done.stderr
