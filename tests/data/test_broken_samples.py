import json
from pathlib import Path

import numpy as np
import pytest
from test_split_folders import TINY

from command_line import Output, limner
from dataset_folders import save_image
from limner.data.broken_samples import leave_out_broken
from limner.data.check import check
from limner.data.scan import scan
from limner.recipe_file import dump_recipe
from shapes import disc


@pytest.fixture
def broken_set(tmp_path: Path) -> Path:
    """Twelve pairs: a damaged image, a mask that is missing, one of another size; 9 remain."""
    root = tmp_path / "set"
    for number in range(12):
        noise = np.random.default_rng(number).integers(0, 255, (16, 16, 3)).astype(np.uint8)
        save_image(root / f"images/{number:02}.png", noise)
        save_image(root / f"masks/{number:02}.png", disc(radius=2 + number / 3))
    content = (root / "images/03.png").read_bytes()
    (root / "images/03.png").write_bytes(content[:300])
    (root / "masks/05.png").unlink()
    save_image(root / "masks/07.png", disc(20))
    return root


def train(data: Path, out: Path, *options: str) -> Output:
    recipe = out.with_suffix(".toml")
    recipe.write_text(dump_recipe(TINY, {}))
    return limner("train", data, "--recipe", recipe, *options, "--out", out)


def test_broken_samples_are_left_out_and_named(broken_set: Path) -> None:
    dataset = scan(broken_set)
    usable = leave_out_broken(dataset.samples, check(dataset).findings)
    assert [sample.id for sample in usable.samples] == [
        f"{number:02}" for number in range(12) if number not in {3, 5, 7}
    ]
    head, *lines = usable.describe().splitlines()
    assert head == "3 problems left out, 9 pairs remain:"
    for name in ("images/03.png is damaged", "images/05.png has no mask", "masks/07.png is 20x20"):
        assert any(f"{broken_set}/{name}" in line for line in lines)


def test_check_says_how_to_train_without_broken_files(broken_set: Path, tmp_path: Path) -> None:
    hint = "limner train --skip-broken leaves out the files with errors, and trains on the others."
    assert hint in limner("check", broken_set, cwd=tmp_path).stdout
    # Two files of one name stop training all the same
    (broken_set / "images/01.jpg").write_bytes((broken_set / "images/01.png").read_bytes())
    assert "skip-broken" not in limner("check", broken_set, cwd=tmp_path).stdout


def test_training_goes_on_without_broken_files_where_it_is_told_to(
    broken_set: Path, tmp_path: Path
) -> None:
    refused = train(broken_set, tmp_path / "run")
    assert refused.returncode == 1
    assert "the dataset has 3 errors" in refused.stderr
    assert "Or leave these files out: limner train … --skip-broken (of other" in refused.stderr
    done = train(broken_set, tmp_path / "run", "--skip-broken")
    assert done.returncode == 0, done.stderr
    assert "3 problems left out, 9 pairs remain:\n" in done.stdout
    receipt = json.loads((tmp_path / "run/receipt.json").read_text())
    assert len(receipt["left_out"]) == 3 and receipt["skipped"] == ["03", "05", "07"]
    split = json.loads((tmp_path / "run/split.json").read_text())
    assert sum(map(len, split.values())) == 9
    assert "skip_broken = true" in (tmp_path / "run/recipe.toml").read_text()

    # A file that breaks later
    test_id = split["test"][0]
    (broken_set / f"masks/{test_id}.png").write_bytes(b"")
    model, report = tmp_path / "run/model.safetensors", tmp_path / "report"
    command = ["test", model, broken_set, "--split", "all", "--out", report]
    tested = limner(*command)
    assert tested.returncode == 1, "some images were not scored"
    counts = "train 6 (in images), validation 1 (in images), test 2 (in images), new 2 (in images)"
    assert f"Images: {counts}." in tested.stdout
    assert "note: 1 problem of files that are in no pair, and are not scored" in tested.stderr
    assert (
        f"masks/{test_id}.png is not an image that can be read: it is an empty file"
        in tested.stderr
    )
    left_out = "2 new images have names of what the training left out as broken (--skip-broken)"
    assert f"note: {left_out}, such as 03, 07. " in tested.stderr
    record = json.loads((report / "report.json").read_text())
    assert record["images"] == 8
    assert len(record["left_out"]) == 1 and len(record["failed"]) == 3


def test_a_set_of_which_nothing_remains_is_refused(broken_set: Path, tmp_path: Path) -> None:
    for path in broken_set.glob("images/*"):
        path.write_bytes(b"")
    done = train(broken_set, tmp_path / "run", "--skip-broken")
    assert done.returncode == 1
    assert f"all pairs of {broken_set} are broken. 12 problems left out, 0 pairs" in done.stderr


def test_other_errors_stop_training_all_the_same(broken_set: Path, tmp_path: Path) -> None:
    save_image(broken_set / "images/01.jpg")
    done = train(broken_set, tmp_path / "run", "--skip-broken")
    assert done.returncode == 1
    assert "stands beside" in done.stderr
    assert "skip-broken" not in done.stderr


def test_stacks_of_another_number_of_images_are_left_out_whole(tmp_path: Path) -> None:
    import tifffile

    stack = np.random.default_rng(0).integers(0, 255, (3, 16, 16)).astype(np.uint8)
    for name in ("a", "b"):
        for folder in ("images", "masks"):
            (tmp_path / folder).mkdir(exist_ok=True)
            pages = stack if folder == "images" or name == "a" else stack[:2]
            tifffile.imwrite(tmp_path / folder / f"{name}.tif", pages, photometric="minisblack")
    dataset = scan(tmp_path)
    usable = leave_out_broken(dataset.samples, check(dataset).findings)
    assert [sample.id for sample in usable.samples] == ["a#1", "a#2", "a#3"]
