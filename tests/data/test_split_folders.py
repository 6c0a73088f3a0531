import json
from pathlib import Path

import numpy as np
import pytest

from command_line import limner
from dataset_folders import ids_and_splits, save_image
from limner.data.check import check
from limner.data.scan import scan
from limner.recipe import Recipe
from limner.recipe_file import dump_recipe
from limner.training.pipeline import TrainingSession, resume_run, start_run
from limner.training.run import Run
from shapes import disc

TINY = Recipe().replace(
    {
        "data.size_px": (16, 16),
        "model.widths": (2, 4),
        "train.epochs": 1,
        "train.device": "cpu",
        "train.compile": False,
    }
)


def save_pairs(root: Path, *folders: str, count: int = 6) -> None:
    """Write pairs of images of noise and masks into the images/ and masks/ of each folder."""
    for seed, folder in enumerate(folders):
        noise = np.random.default_rng(seed)
        for number in range(count):
            image = noise.integers(0, 255, (16, 16, 3)).astype(np.uint8)
            save_image(root / folder / f"images/{number}.png", image)
            save_image(root / folder / f"masks/{number}.png", disc(radius=3 + number / 2))


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        ("Train TestSet", {"Train": "train", "TestSet": "test"}),
        ("train test_A testB", {"train": "train", "test_A": "test", "testB": "test"}),
        ("train eval", {"train": "train", "eval": "test"}),
        ("train eval test", {"train": "train", "eval": "val", "test": "test"}),
        ("train dev holdout", {"train": "train", "dev": "val", "holdout": "test"}),
        ("TrainDataset TestDataset", {"TrainDataset": "train", "TestDataset": "test"}),
    ],
)
def test_folders_that_announce_a_split_in_other_words_are_one(
    tmp_path: Path, folders: str, splits: dict[str, str]
) -> None:
    save_pairs(tmp_path, *folders.split(), count=1)
    found = {id.partition("/")[0]: split for id, split in ids_and_splits(tmp_path)}
    assert found == splits


def test_camvid_s_folders_may_have_other_names_of_a_split(tmp_path: Path) -> None:
    for folder in ("TrainSet", "testA", "testB"):
        save_image(tmp_path / folder / "a.png")
        save_image(tmp_path / f"{folder}_labels" / "a_L.png")
    assert scan(tmp_path).layout == "CamVid"
    assert ids_and_splits(tmp_path) == [
        ("TrainSet/a", "train"),
        ("testA/a", "test"),
        ("testB/a", "test"),
    ]


def test_every_command_prints_how_many_images_each_split_has_and_where_they_lie(
    tmp_path: Path,
) -> None:
    save_pairs(tmp_path / "set", "Train", "TestSet", count=10)
    checked = limner("check", tmp_path / "set", "--out", tmp_path / "check").stdout
    assert (
        "Images: train 10 (in Train/images), validation none, test 10 (in TestSet/images). "
        "Training keeps 10% for validation, from train." in checked
    )
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(dump_recipe(TINY, {}))
    trained = limner(
        "train", tmp_path / "set", "--recipe", recipe, "--out", tmp_path / "run"
    ).stdout
    counts = "train 9 (in Train/images), validation 1 (in Train/images), test 10 (in TestSet/images"
    assert f"Images: {counts})." in trained
    notes: list[str] = []
    resume_run(Run.open(tmp_path / "run"), TrainingSession(note=notes.append))
    assert notes == [f"Images: {counts})."]


def test_a_set_without_splits_says_what_training_will_cut(tmp_path: Path) -> None:
    save_pairs(tmp_path / "set", *(f"clinic{number}" for number in range(5)), count=2)
    checked = limner("check", tmp_path / "set", "--out", tmp_path / "check").stdout
    assert (
        "Images: undivided 10 (2 in clinic0/images, 2 in clinic1/images, 2 in clinic2/images and 2 "
        "more folders). No split is taken from a folder, table or list: training keeps 10% for "
        "validation and 20% for the test." in checked
    )
    record = json.loads((tmp_path / "check/findings.json").read_text())
    assert record["splits"]["undivided"]["images"] == 10


def test_a_name_that_begins_like_a_split_is_asked_about_before_training(tmp_path: Path) -> None:
    save_pairs(tmp_path / "set", "train", "Testdaten")
    doubt = (
        "the name of Testdaten/images begins like that of a split, and is none that is known. Its "
        "6 images are trained on. If it is a split, name it train, val or test."
    )
    (finding,) = check(scan(tmp_path / "set")).findings
    assert (finding.code, finding.severity, finding.message) == ("split-name", "warning", doubt)
    notes: list[str] = []
    start_run(tmp_path / "set", TINY, tmp_path / "run", TrainingSession(note=notes.append))
    assert notes == [
        f"warning: {doubt}",
        "Images: train 11 (6 in Testdaten/images, 5 in train/images), validation 1 (in "
        "train/images), test none.",
    ]
    # The cure
    (tmp_path / "set/Testdaten").rename(tmp_path / "set/test")
    assert check(scan(tmp_path / "set")).findings == ()
    assert {split for id, split in ids_and_splits(tmp_path / "set") if "test" in id} == {"test"}


def test_training_says_that_lists_are_not_taken(tmp_path: Path) -> None:
    save_pairs(tmp_path / "set", ".", count=10)
    (tmp_path / "set/train_ids.txt").write_text("0\n1\n")
    notes: list[str] = []
    start_run(tmp_path / "set", TINY, tmp_path / "run", TrainingSession(note=notes.append))
    assert notes[0].startswith(
        f"warning: {tmp_path}/set/train_ids.txt looks like a split list, and is not taken."
    )


def test_folders_beside_a_split_that_have_none_are_told(tmp_path: Path) -> None:
    save_pairs(tmp_path, "train", "centre_b")
    (finding,) = check(scan(tmp_path)).findings
    assert (finding.code, finding.severity) == ("no-split-name", "note")
    assert finding.message == (
        "6 images are in no split, though others are. They lie in 1 folder, such as "
        "centre_b/images, and are trained on. If they are for something else, name the folder val "
        "or test."
    )


@pytest.mark.parametrize(("link", "target"), [("test", "val"), ("val", "test"), ("test", "train")])
def test_a_split_that_is_a_link_to_another_is_named_and_none_is_lost(
    tmp_path: Path, link: str, target: str
) -> None:
    folders = [name for name in ("train", "val", "test") if name != link]
    save_pairs(tmp_path, *folders)
    (tmp_path / link).symlink_to(target)
    assert {split for _, split in ids_and_splits(tmp_path)} == set(folders)
    (finding,) = check(scan(tmp_path)).findings
    assert (finding.code, finding.severity) == ("split-link", "warning")
    assert finding.message == (
        f"{tmp_path}/{link} is a link to {tmp_path}/{target}, and would make {link} of the same "
        f"images. They are read once, from {tmp_path}/{target}. Remove the link, or put a folder "
        "of other images in its place."
    )
    # The cure
    (tmp_path / link).unlink()
    assert check(scan(tmp_path)).findings == ()


def test_images_of_a_split_that_are_a_link_are_named(tmp_path: Path) -> None:
    save_pairs(tmp_path, "train", "test")
    (tmp_path / "val/masks").mkdir(parents=True)
    (tmp_path / "val/images").symlink_to(tmp_path / "test/images")
    codes = [finding.code for finding in scan(tmp_path).findings]
    assert codes == ["split-link"]
