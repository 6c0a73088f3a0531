import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.data.check_sample import inspect_sample
from limner.data.fingerprints import read_thumbnails
from limner.data.scan import scan
from limner.data.split_record import SplitRecord, known_fingerprints, read_contents
from limner.errors import LimnerError
from limner.inference.report_folder import comparison_folder, report_folder
from limner.inference.scored_data import ScoredData, choose_scored_data, unknown_samples

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


def record_of(folder: Path, ids: dict[str, list[str]]) -> SplitRecord:
    """The record of a training on the images of a folder."""
    samples = scan(folder).samples
    infos = {sample.id: info for sample in samples if (info := inspect_sample(sample)[1])}
    return SplitRecord(ids, read_contents(samples), known_fingerprints(ids, infos))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_images(tmp_path / "here", 0)


@pytest.fixture
def record(folder: Path) -> SplitRecord:
    return record_of(folder, IDS)


def choose(folder: Path, *records: SplitRecord, split: str | None = None) -> ScoredData:
    dataset = scan(folder)
    contents = read_contents(dataset.samples)
    thumbnails = read_thumbnails(unknown_samples(records, dataset.samples, contents))
    return choose_scored_data(records, dataset, contents, split, thumbnails)


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
    assert "1 image was not there when the model was trained" in scored.notes[0]
    assert "1 of the 2 test images of the training is not in" in scored.notes[1]
    assert ids(choose(folder, record, split="new")) == ["x"]


def test_a_test_image_that_was_damaged_since_is_not_missed_in_silence(
    folder: Path, record: SplitRecord
) -> None:
    path = folder / "images" / "3.png"
    path.write_bytes(path.read_bytes()[:60])
    scored = choose(folder, record)
    assert ids(scored) == ["3", "4"]
    (note,) = scored.notes
    assert "1 image of test has other content than in the training, such as 3" in note


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
    assert folder == tmp_path / "report-proc"


def test_two_runs_of_one_name_that_cannot_be_written_have_two_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = Path("/proc/model.safetensors"), Path("/proc/../proc/other.safetensors")
    test = ScoredData("test", ())
    folder = report_folder([first], test)
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps({"model_files": ["/proc/model.safetensors"]}))
    assert report_folder([first], test) == folder
    assert report_folder([second], test) == tmp_path / "report-proc-2"
    assert comparison_folder([second, first], test) == tmp_path / "comparison-proc-test"


def resave(folder: Path, target: Path, names: str, size: tuple[int, int], suffix: str) -> Path:
    """Save images of a folder anew, with their masks, at another size and under other names."""
    for name in names:
        for kind in ("images", "masks"):
            (target / kind).mkdir(parents=True, exist_ok=True)
            with Image.open(folder / kind / f"{name}.png") as image:
                ending = suffix if kind == "images" else ".png"
                image.resize(size).save(target / kind / f"scan-{name}{ending}")
    return target


@pytest.fixture
def smooth(tmp_path: Path) -> Path:
    """Images that a JPEG holds well, unlike noise."""
    rng = np.random.default_rng(3)
    for index in range(5):
        small = Image.fromarray(rng.integers(20, 230, (7, 8, 3), np.uint8))
        for name in ("images", "masks"):
            (tmp_path / "smooth" / name).mkdir(parents=True, exist_ok=True)
            pixels = small.resize((96, 80), Image.Resampling.BICUBIC)
            pixels.save(tmp_path / "smooth" / name / f"{index}.png")
    return tmp_path / "smooth"


def test_training_images_that_were_saved_anew_are_not_scored_as_new(
    smooth: Path, tmp_path: Path
) -> None:
    other = resave(smooth, write_images(tmp_path / "b", 1), "012", (70, 60), ".jpg")
    scored = choose(other, record_of(smooth, IDS))
    assert ids(scored) == ["0", "1", "2", "3", "4"] and scored.title == "b"
    assert "3 images are known from training or validation, 3 of them by" in scored.notes[-1]
    assert "near copies, such as scan-0 (was 0), scan-1 (was 1)" in scored.notes[-1]
    everything = choose(other, record_of(smooth, IDS), split="all")
    assert len(everything.samples) == 8 and "The scores flatter the model" in everything.notes[-1]


def test_a_folder_that_was_saved_anew_is_split_as_it_was(smooth: Path, tmp_path: Path) -> None:
    scored = choose(
        resave(smooth, tmp_path / "b", "01234", (70, 60), ".jpg"), record_of(smooth, IDS)
    )
    assert ids(scored) == ["scan-3", "scan-4"] and scored.title == "b"
    assert any("2 images of the test split are known by their looks" in n for n in scored.notes)


def test_training_images_alone_leave_nothing_to_score(smooth: Path, tmp_path: Path) -> None:
    other = resave(smooth, tmp_path / "b", "01", (70, 60), ".jpg")
    with pytest.raises(LimnerError, match=r"2 of them are known by their looks: near copies") as e:
        choose(other, record_of(smooth, IDS))
    assert "Say --split train" in str(e.value)
    assert len(choose(other, record_of(smooth, IDS), split="train").samples) == 2


def test_a_model_without_fingerprints_says_that_it_knows_exact_copies_alone(
    smooth: Path, tmp_path: Path
) -> None:
    record = SplitRecord(IDS, read_contents(scan(smooth).samples))
    scored = choose(resave(smooth, tmp_path / "b", "012", (70, 60), ".jpg"), record)
    assert len(scored.samples) == 3 and "Only exact copies of its training" in scored.notes[-1]


def test_new_images_beside_a_few_of_the_training_are_other_data(
    folder: Path, record: SplitRecord, tmp_path: Path
) -> None:
    other = write_images(tmp_path / "b", 1)
    for kind in ("images", "masks"):
        shutil.copy(folder / kind / "0.png", other / kind / "x.png")
    scored = choose(other, record)
    assert ids(scored) == ["0", "1", "2", "3", "4"] and scored.key.startswith("b ")
    assert "1 image is known from training or validation, such as x" in scored.notes[-1]


def test_two_models_of_two_data_sets_are_compared_in_any_order(
    folder: Path, record: SplitRecord, tmp_path: Path
) -> None:
    other = record_of(write_images(tmp_path / "other", 1), IDS)
    for records in ((record, other), (other, record)):
        assert ids(choose(folder, *records)) == ["3", "4"]
        assert choose(folder, *records).title == "test"


def test_an_image_that_the_training_skipped_is_said_to_be_so(
    folder: Path, record: SplitRecord
) -> None:
    for kind in ("images", "masks"):
        shutil.copy(folder / "masks" / "0.png", folder / kind / "x.png")
    skipped = SplitRecord(IDS, record.contents, record.fingerprints, ("x",))
    scored = choose(folder, skipped)
    assert ids(scored) == ["3", "4"]
    assert "1 new image has the name of what the training left out as broken" in scored.notes[1]
