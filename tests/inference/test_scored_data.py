import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.data.scan import scan
from limner.data.split_record import SplitRecord, read_contents
from limner.errors import LimnerError
from limner.inference.report_folder import comparison_folder, report_folder
from limner.inference.scored_data import ScoredData, choose_scored_data

IDS = {"train": ["0", "1"], "val": ["2"], "test": ["3", "4"]}


def write_images(folder: Path, seed: int, count: int = 5) -> Path:
    """Images and masks of the names that every folder has."""
    rng = np.random.default_rng(seed)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for index in range(count):
        for name in ("images", "masks"):
            pixels = rng.integers(0, 255, (8, 8), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_images(tmp_path / "here", 0)


@pytest.fixture
def record(folder: Path) -> SplitRecord:
    return SplitRecord(IDS, read_contents(scan(folder).samples))


def choose(folder: Path, *records: SplitRecord, split: str | None = None) -> ScoredData:
    dataset = scan(folder)
    return choose_scored_data(records, dataset, read_contents(dataset.samples), split)


def ids(scored: ScoredData) -> list[str]:
    return [sample.id for sample in scored.samples]


def test_the_test_images_of_the_training_are_scored(folder: Path, record: SplitRecord) -> None:
    scored = choose(folder, record)
    assert ids(scored) == ["3", "4"] and scored.title == scored.key == "test" and not scored.notes
    assert ids(choose(folder, record, split="all")) == ["0", "1", "2", "3", "4"]


def test_the_data_may_lie_elsewhere_and_bear_other_names(
    folder: Path, record: SplitRecord, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "moved")
    for name in ("images", "masks"):
        (tmp_path / "moved" / name / "3.png").rename(tmp_path / "moved" / name / "x.png")
    scored = choose(tmp_path / "moved", record)
    assert ids(scored) == ["4", "x"] and not scored.notes
    assert scored.sha256 == choose(folder, record).sha256


def test_another_folder_of_the_same_names_is_other_data_and_scored_whole(
    record: SplitRecord, tmp_path: Path
) -> None:
    scored = choose(write_images(tmp_path / "hospital-b", 1), record)
    assert ids(scored) == ["0", "1", "2", "3", "4"] and scored.title == "hospital-b"
    assert scored.key.startswith("hospital-b ") and "other content" in scored.notes[0]
    with pytest.raises(LimnerError, match=r"has no test split\. Leave --split out: all of them"):
        choose(tmp_path / "hospital-b", record, split="test")


def test_images_that_are_new_or_gone_are_named(folder: Path, record: SplitRecord) -> None:
    for name in ("images", "masks"):
        shutil.copy(folder / "masks" / "0.png", folder / name / "x.png")
        (folder / name / "3.png").unlink()
    scored = choose(folder, record)
    assert ids(scored) == ["4"]
    assert "1 images were not there when the model was trained" in scored.notes[0]
    assert "1 of the 2 test images of the training are not in" in scored.notes[1]
    assert ids(choose(folder, record, split="new")) == ["x"]


def test_a_test_image_that_was_damaged_since_is_not_missed_in_silence(
    folder: Path, record: SplitRecord
) -> None:
    path = folder / "images" / "3.png"
    path.write_bytes(path.read_bytes()[:60])
    scored = choose(folder, record)
    assert ids(scored) == ["3", "4"]
    (note,) = scored.notes
    assert "1 images of test have other content than in the training, such as 3" in note


def test_a_model_that_knows_names_alone_says_so(folder: Path) -> None:
    assert "by name alone" in choose(folder, SplitRecord(IDS)).notes[0]


def test_a_split_that_is_none_or_empty_is_refused(folder: Path, record: SplitRecord) -> None:
    with pytest.raises(
        LimnerError, match=r"--split tset is not a split\. Choose train, val, test, new"
    ):
        choose(folder, record, split="tset")
    with pytest.raises(LimnerError, match=r"has no test split. There are train \(3\), val \(2\)"):
        choose(folder, SplitRecord({"train": ["0", "1", "3"], "val": ["2", "4"]}))


def test_models_are_not_compared_on_what_one_was_trained_on(
    folder: Path, record: SplitRecord
) -> None:
    other = SplitRecord({"train": ["3", "4"], "val": ["2"], "test": ["0"]}, record.contents)
    with pytest.raises(LimnerError, match="2 images of test, such as 3, were among the training"):
        choose(folder, record, other)


def test_every_way_of_scoring_has_a_report_of_its_own(tmp_path: Path) -> None:
    models = [tmp_path / name / "model.safetensors" for name in ("first", "second")]
    for model in models:
        model.parent.mkdir()
    test, val, other = (
        ScoredData("test", ()),
        ScoredData("val", ()),
        ScoredData("all", (), {}, "hospital-b", "5f"),
    )
    names = [
        report_folder(models, test).name,
        report_folder(models, val).name,
        report_folder(models, other).name,
        report_folder(models, test, tta="flips").name,
        report_folder(models, test, ensemble=True).name,
        report_folder(models, other, tta="flips", ensemble=True).name,
    ]
    assert names == [
        "report",
        "report-val",
        "report-hospital-b",
        "report-tta-flips",
        "report-ensemble-second",
        "report-hospital-b-tta-flips-ensemble-second",
    ]
    assert comparison_folder(models, test) == models[1].parent / "comparison-test"


def test_two_folders_of_one_name_have_two_reports(tmp_path: Path) -> None:
    model = tmp_path / "run" / "model.safetensors"
    first = tmp_path / "run" / "report-b"
    first.mkdir(parents=True)
    (first / "report.json").write_text('{"data_sha256": "aa"}')
    assert report_folder([model], ScoredData("all", (), {}, "b", "aa")) == first
    assert report_folder([model], ScoredData("all", (), {}, "b", "bb")).name == "report-b-2"


def test_a_run_that_cannot_be_written_has_its_report_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = report_folder([Path("/proc/model.safetensors")], ScoredData("test", ()))
    assert folder == tmp_path / "report"
