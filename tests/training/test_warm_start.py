import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_run import TINY, hashes

from limner.data.scan import scan
from limner.data.synthetic import draw_lesion, write_synthetic
from limner.errors import LimnerError
from limner.model.bundle import Bundle
from limner.model.ensemble import join_weights
from limner.training.events import Note, TrainingStep, TuningProgress
from limner.training.pipeline import resume_run, start_run, train
from limner.training.run import Run
from limner.training.run_files import WORSE
from shared_folder import shared_folder


@pytest.fixture
def more(lesions: Path, tmp_path: Path) -> Path:
    """The sample set with four more images."""
    folder = Path(shutil.copytree(lesions, tmp_path / "more"))
    for index in range(4):
        image, mask = draw_lesion(7, index, 32)
        Image.fromarray(image).save(
            folder / "ISIC2018_Task1-2_Training_Input" / f"ISIC_900000{index}.jpg", quality=95
        )
        Image.fromarray(mask).save(
            folder / "ISIC2018_Task1_Training_GroundTruth" / f"ISIC_900000{index}_segmentation.png"
        )
    return folder


@pytest.fixture(scope="module")
def large_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of which more than ten images are validated on: fewer judge no model."""

    def make(folder: Path) -> None:
        write_synthetic(folder / "set", count=72, size_px=32, seed=1)

    return shared_folder(tmp_path_factory, "large", make) / "set"


@pytest.fixture(scope="module")
def good(large_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of a model that is hard to beat."""

    def make(folder: Path) -> None:
        recipe = TINY.replace({"train.epochs": 12, "train.learning_rate": 0.02})
        train(large_set, recipe, folder / "run")

    return Run.open(shared_folder(tmp_path_factory, "good", make) / "run")


def test_it_goes_on_from_the_weights_the_split_and_the_recipe_of_the_run(
    trained: Run, more: Path, tmp_path: Path
) -> None:
    old = Bundle.load(trained.model)
    after = train(
        more,
        TINY.replace({"train.epochs": 1, "train.learning_rate": 1e-9}),
        tmp_path / "after",
        trained.folder,
    )
    new = Bundle.load(after.model)
    assert new.preprocessing == old.preprocessing and new.recipe.model == old.recipe.model
    assert all(
        torch.allclose(value, old.weights[name], atol=1e-4)
        for name, value in new.weights.items()
        if "num_batches" not in name and "running" not in name
    )
    assert {side: set(ids) for side, ids in old.split.items()} == {
        "val": set(after.split["val"]),
        "test": set(after.split["test"]),
        "train": {id for id in after.split["train"] if "_900" not in id},
    }
    assert len(after.split["train"]) == len(old.split["train"]) + 4
    recipe = (after.folder / "recipe.toml").read_text()
    assert "as the run that it goes on from" in recipe
    judged = after.receipt["judged"]
    assert judged["kept"] == "after" and judged["interval"][0] <= judged["interval"][1]


def test_a_model_that_goes_on_records_what_the_one_before_was_trained_on(
    trained: Run, more: Path, tmp_path: Path
) -> None:
    gone = trained.read_json("split.json")["train"][0]
    for path in more.rglob(f"{gone}*"):
        path.unlink()
    after = train(more, TINY.replace({"train.epochs": 1}), tmp_path / "run", trained.folder)
    assert Bundle.load(after.model).split_record.earlier == [trained.contents[gone]]


def test_the_learning_rate_is_gentler_unless_it_was_chosen(
    trained: Run, more: Path, tmp_path: Path
) -> None:
    after = train(more, TINY.replace({"train.epochs": 1}), tmp_path / "after", trained.model)
    assert after.recipe.train.learning_rate == pytest.approx(trained.recipe.train.learning_rate / 3)


def test_a_new_model_that_is_worse_does_not_take_the_place_of_the_old_one(
    good: Run, large_set: Path, tmp_path: Path
) -> None:
    run, events = start_run(
        large_set,
        TINY.replace({"train.epochs": 1, "train.learning_rate": 100.0}),
        tmp_path / "bad",
        origin=good.folder,
    )
    notes = [event.text for event in events if isinstance(event, Note)]
    assert any("the new model is worse" in note for note in notes), notes
    assert run.receipt["judged"]["kept"] == "before" and run.receipt["judged"]["interval"][1] < 0
    kept, old = Bundle.load(run.model), Bundle.load(good.model)
    assert (
        all(torch.equal(value, old.weights[name]) for name, value in kept.weights.items())
        and (run.folder / WORSE).is_file()
    )


def test_few_validation_images_judge_no_model(trained: Run, more: Path, tmp_path: Path) -> None:
    """Four of them: the new model takes the place of the old one, which is kept beside it."""
    run, events = start_run(
        more,
        TINY.replace({"train.epochs": 1, "train.learning_rate": 100.0}),
        tmp_path / "bad",
        origin=trained.folder,
    )
    notes = [event.text for event in events if isinstance(event, Note)]
    assert any("4 images are too few to tell the two apart" in note for note in notes), notes
    assert any("so only what helps on other sets is taken" in note for note in notes)
    assert run.receipt["judged"]["kept"] == "after" and not (run.folder / WORSE).exists()
    origin = run.origin
    assert origin is not None and origin.weights.keys() == Bundle.load(trained.model).weights.keys()


def test_an_image_that_was_renamed_stays_where_it_was(
    trained: Run, more: Path, tmp_path: Path
) -> None:
    renamed = trained.split["test"][0]
    for path in more.rglob(f"{renamed}*"):
        path.rename(path.with_name(path.name.replace(renamed, "ISIC_7777777")))
    after = train(more, TINY.replace({"train.epochs": 1}), tmp_path / "after", trained.model)
    assert "ISIC_7777777" in after.split["test"] and renamed not in after.split["test"]


def test_a_copy_of_an_image_that_is_tested_on_is_not_trained_on(
    trained: Run, more: Path, tmp_path: Path
) -> None:
    test_sample = next(sample for sample in scan(more).samples if sample.split == "test")
    for path, name in (
        (test_sample.image, "ISIC_8000000.jpg"),
        (test_sample.mask, "ISIC_8000000_segmentation.png"),
    ):
        assert isinstance(path, Path)
        shutil.copy(path, path.with_name(name))
    after = train(more, TINY.replace({"train.epochs": 1}), tmp_path / "after", trained.folder)
    assert any("ISIC_8000000" in id for id in after.split["test"])


def test_a_copy_of_an_image_that_was_trained_on_is_not_tested_on(
    trained: Run, more: Path, tmp_path: Path
) -> None:
    train_sample = next(sample for sample in scan(more).samples if sample.split == "train")
    for path, name in (
        (train_sample.image, "ISIC_8000000.jpg"),
        (train_sample.mask, "ISIC_8000000_segmentation.png"),
    ):
        assert isinstance(path, Path)
        shutil.copy(path, Path(str(path.parent).replace("Training", "Test")) / name)
    assert next(sample.split for sample in scan(more).samples if "8000000" in sample.id) == "test"
    after = train(more, TINY.replace({"train.epochs": 1}), tmp_path / "after", trained.folder)
    assert any("ISIC_8000000" in id for id in after.split["train"])


@pytest.mark.parametrize("at", ["judging", "writing it down"])
def test_judging_that_was_stopped_is_done_when_the_run_goes_on(
    at: str, good: Run, large_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worse = TINY.replace({"train.epochs": 1, "train.learning_rate": 100.0})
    run, events = start_run(large_set, worse, tmp_path / "bad", origin=good.folder)
    if at == "judging":
        last_scored = (
            event
            for event in events
            if isinstance(event, TuningProgress) and event.count == len(run.split["val"])
        )
        next(last_scored)
        events.close()
    else:
        update = Run.update_receipt

        def cut_off(self: Run, changes: Callable[[dict], Mapping]) -> dict:
            if "judged" in changes({}):
                raise KeyboardInterrupt
            return update(self, changes)

        monkeypatch.setattr(Run, "update_receipt", cut_off)
        with pytest.raises(KeyboardInterrupt):
            list(events)
        monkeypatch.undo()
    assert "judged" not in run.receipt
    list(resume_run(Run.open(run.folder)))
    assert run.receipt["judged"]["kept"] == "before" and run.receipt["judged"]["images"] == len(
        run.split["val"]
    )


def test_a_run_that_goes_on_is_the_same_when_it_was_stopped(
    copied: Run, more: Path, tmp_path: Path
) -> None:
    whole = train(more, TINY, tmp_path / "whole", copied.folder)
    run, events = start_run(more, TINY, tmp_path / "stopped", origin=copied.folder)
    for _ in range(2):
        while not isinstance(next(events), TrainingStep):
            pass
    events.close()
    shutil.rmtree(copied.folder)
    for _ in resume_run(Run.open(run.folder)):
        pass
    assert hashes(run) == hashes(whole)


def test_another_network_or_other_classes_are_refused(
    trained: Run, more: Path, pairs, tmp_path: Path
) -> None:
    with pytest.raises(LimnerError, match=r"model\.widths would be another"):
        train(more, TINY.replace({"model.widths": [3, 4, 8]}), tmp_path / "a", trained.folder)
    values = np.arange(16, dtype=np.uint8)[None].repeat(16, 0) // 6
    scenes = pairs({f"{index}": values for index in range(8)})
    with pytest.raises(LimnerError, match="must be the same"):
        train(scenes, TINY, tmp_path / "b", trained.folder)
    with pytest.raises(LimnerError, match="is not a file"):
        train(more, TINY, tmp_path / "c", tmp_path / "nowhere")
    small = pairs(
        {
            "a": np.eye(16, dtype=np.uint8) * 255,
            "b": np.eye(16, dtype=np.uint8)[::-1] * np.uint8(255),
        },
        "other",
    )
    with pytest.raises(LimnerError, match="none of the samples"):
        train(small, TINY, tmp_path / "d", trained.folder)


def test_an_ensemble_is_not_gone_on_from(trained: Run, more: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(trained.model)
    normalisation = (bundle.preprocessing.mean, bundle.preprocessing.std)
    copy = {name: tensor.clone() for name, tensor in bundle.weights.items()}
    weights = join_weights([bundle.weights, copy], [normalisation] * 2)
    replace(bundle, weights=weights).save(tmp_path / "ensemble.safetensors")
    with pytest.raises(LimnerError, match=r"holds 2 networks, and --from goes on with one"):
        train(more, folder=tmp_path / "run", origin=tmp_path / "ensemble.safetensors")


def test_what_was_judged_is_said_once(trained: Run, more: Path, tmp_path: Path) -> None:
    run = train(more, TINY.replace({"train.epochs": 1}), tmp_path / "after", trained.folder)
    for _ in resume_run(Run.open(run.folder)):
        pass
    logged = [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]
    assert sum("validation Dice" in line.get("text", "") for line in logged) == 1
