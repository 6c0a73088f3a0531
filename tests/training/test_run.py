import json
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from tiny_run import TINY, hashes

from limner.data.images import read_image
from limner.errors import LimnerError
from limner.files import write_atomic
from limner.inference.predictor import Predictor
from limner.model.bundle import Bundle
from limner.training.events import Stopped, TrainingStep, TuningProgress, Validation
from limner.training.pipeline import resume_run, start_run, train
from limner.training.run import Run, next_run_folder, record_test
from limner.training.run_record import validations
from shapes import disc


def test_the_same_seed_gives_the_same_weights_bit_for_bit(
    lesions: Path, trained: Run, tmp_path: Path
) -> None:
    again = train(lesions, TINY, tmp_path / "again")
    other = train(lesions, TINY.replace({"train.seed": 6}), tmp_path / "other")
    assert hashes(trained) == hashes(again) != hashes(other)


def test_a_schedule_free_run_that_was_stopped_is_resumed_bit_for_bit(
    lesions: Path, tmp_path: Path
) -> None:
    recipe = TINY.replace({"train.lr_schedule": "schedule-free"})
    whole = train(lesions, recipe, tmp_path / "whole")
    run, events = start_run(lesions, recipe, tmp_path / "stopped")
    seen = 0
    while seen < 3:
        seen += isinstance(next(events), TrainingStep)
    events.close()
    for _ in resume_run(Run.open(run.folder)):
        pass
    assert hashes(run) == hashes(whole)


@pytest.mark.parametrize("steps", [1, 4, 7])
def test_a_run_that_was_stopped_and_resumed_is_the_run_that_was_not(
    lesions: Path, trained: Run, tmp_path: Path, steps: int
) -> None:
    run, events = start_run(lesions, TINY, tmp_path / "stopped")
    seen = 0
    while seen < steps:
        seen += isinstance(next(events), TrainingStep)
    events.close()
    for _ in resume_run(Run.open(run.folder)):
        pass
    assert hashes(run) == hashes(trained)
    assert [event["loss"] for event in validations(run.folder)] == [
        event["loss"] for event in validations(trained.folder)
    ]


def test_a_run_that_is_stopped_while_it_tunes_tunes_when_it_is_resumed(
    lesions: Path, trained: Run, tmp_path: Path
) -> None:
    run, events = start_run(lesions, TINY, tmp_path / "stopped")
    while not isinstance(next(events), TuningProgress):
        pass
    events.close()
    assert not Bundle.load(run.model).confidence
    assert [type(event) for event in resume_run(Run.open(run.folder))][-1] is Stopped
    assert hashes(run) == hashes(trained)


def test_training_lowers_the_loss_and_logs_its_events(lesions: Path, tmp_path: Path) -> None:
    run = train(lesions, TINY.replace({"train.epochs": 12}), tmp_path / "run")
    events = [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]
    scored = validations(run.folder)
    assert len(scored) == 12
    assert scored[-1]["loss"] < scored[0]["loss"]
    assert events[-1]["event"] == "stopped"
    assert json.loads((run.folder / "state.json").read_text())["best_mean_dice"] == max(
        event["mean_dice"] for event in scored
    )


def test_a_finished_run_that_is_resumed_stays_as_it_is(copied: Run) -> None:
    before = hashes(copied)
    assert [type(event) for event in resume_run(copied)] == [Stopped]
    assert hashes(copied) == before


def test_a_run_that_is_stopped_while_its_folder_is_made_leaves_nothing(
    lesions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(path: Path, content: str, **options: bool) -> None:
        if path.name == "receipt.json":
            raise KeyboardInterrupt
        write_atomic(path, content, **options)

    monkeypatch.setattr("limner.training.run.write_atomic", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start_run(lesions, TINY, tmp_path / "run")
    assert not [path for path in tmp_path.iterdir() if "run" in path.name]


def test_asking_whether_a_run_is_in_use_keeps_nobody_out(copied: Run) -> None:
    stop_asking = threading.Event()

    def ask() -> None:
        # Within one process the lock would else be held whenever the other thread runs
        while not stop_asking.wait(0.001):
            copied.in_use()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(20):
            assert [type(event) for event in resume_run(copied)] == [Stopped]
    finally:
        stop_asking.set()
        asking.join()


def test_scorings_are_counted_though_several_run_at_once(copied: Run) -> None:
    with ThreadPoolExecutor(8) as pool:
        counts = [
            count
            for count in pool.map(lambda _: record_test(copied.model, "test"), range(24))
            if count
        ]
    assert sorted(counts) == list(range(1, 25)) and copied.receipt["scored"] == {"test": 24}


def test_patience_ends_a_run_that_does_not_improve(lesions: Path, tmp_path: Path) -> None:
    recipe = TINY.replace(
        {
            "train.epochs": 50,
            "train.patience": 2,
            "train.learning_rate": 1e-9,
            "train.ema_decay": 0.0,
        }
    )
    _, events = start_run(lesions, recipe, tmp_path / "run")
    seen = list(events)
    assert sum(isinstance(event, Validation) for event in seen) < 50
    assert isinstance(seen[-1], Stopped) and "no better" in seen[-1].reason


@pytest.mark.alone
def test_a_time_budget_is_kept_and_the_decay_completed(lesions: Path, tmp_path: Path) -> None:
    import time

    began = time.monotonic()
    _, events = start_run(
        lesions,
        TINY.replace({"train.minutes": 0.15}),
        tmp_path / "run",
    )
    rates = [event.learning_rate for event in events if isinstance(event, TrainingStep)]
    assert 0.9 * 9 < time.monotonic() - began < 1.1 * 9
    assert rates[-1] < 0.05 * max(rates)


def test_a_run_folder_in_use_is_not_overwritten(lesions: Path, tmp_path: Path) -> None:
    with pytest.raises(LimnerError, match="Nothing is overwritten"):
        train(lesions, TINY, tmp_path)


def test_a_changed_recipe_is_not_resumed(copied: Run) -> None:
    recipe = copied.folder / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("epochs = 3", "epochs = 4"))
    with pytest.raises(LimnerError, match="another recipe"):
        list(resume_run(copied))


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(LimnerError, match="is not a run"):
        Run.open(tmp_path)


def test_new_runs_are_numbered(tmp_path: Path) -> None:
    assert next_run_folder(tmp_path, Path("data/cars")).name == "cars"
    (tmp_path / "cars").mkdir()
    assert next_run_folder(tmp_path, Path("data/cars")).name == "cars-2"


def test_a_diverging_run_stops_and_says_why(lesions: Path, tmp_path: Path) -> None:
    with pytest.raises(LimnerError, match=r"Lower train\.learning_rate"):
        train(
            lesions,
            TINY.replace({"train.learning_rate": 1e30, "train.warmup": 0.0, "model.norm": "none"}),
            tmp_path / "run",
        )


def test_classes_beyond_two_are_trained_with_void(pairs, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    masks = {
        f"i{n}": np.kron(rng.choice([0, 1, 2, 255], (4, 4)), np.ones((4, 4))).astype(np.uint8)
        for n in range(12)
    }
    run = train(pairs(masks), TINY, tmp_path / "run")

    assert Bundle.load(run.model).labels.void_values == ((255, 255),)


def test_a_run_prints_no_warning(lesions: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from limner.training.pipeline import train; from limner.recipe_file import "
        "load_recipe; from pathlib import Path;"
    ) + (
        "train(sys.argv[1], load_recipe(None, ['train.epochs=1', 'model.widths=[2,4,8]', "
        "'data.size_px=[16,16]']), sys.argv[2])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(lesions), str(tmp_path / "run")],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("resize_mode", ["letterbox", "tile"])
def test_every_resize_mode_is_trained_and_predicts_at_the_image_s_size(
    lesions: Path, tmp_path: Path, resize_mode: str
) -> None:
    run = train(
        lesions,
        TINY.replace({"data.resize_mode": resize_mode, "data.size_px": (16, 24)}),
        tmp_path / "run",
    )
    assert Predictor.load(run.model).predict(np.zeros((45, 70, 3), np.uint8)).mask.shape == (45, 70)


def test_a_set_whose_test_images_are_trained_on_is_refused_unless_allowed(
    lesions: Path, tmp_path: Path
) -> None:
    import shutil

    leaking = tmp_path / "set"
    shutil.copytree(lesions, leaking)
    source, target = (
        sorted(leaking.glob(f"*{side}_Input/*.jpg"))[0] for side in ("Training", "Test")
    )
    shutil.copy(source, target)
    with pytest.raises(LimnerError, match=r"data\.allow_leaks=true"):
        train(leaking, TINY, tmp_path / "run")
    assert train(leaking, TINY.replace({"data.allow_leaks": True}), tmp_path / "run").model.exists()


def test_dropout_draws_the_same_after_a_stop(lesions: Path, tmp_path: Path) -> None:
    recipe = TINY.replace({"model.dropout": 0.3})
    whole = train(lesions, recipe, tmp_path / "whole")
    run, events = start_run(lesions, recipe, tmp_path / "stopped")
    while not isinstance(next(events), TrainingStep):
        pass
    events.close()
    for _ in resume_run(Run.open(run.folder)):
        pass
    assert hashes(run) == hashes(whole)


@pytest.mark.parametrize(
    "keys",
    [
        {"model.preset": "unet++", "model.widths": (2, 4, 6, 8, 10)},
        {"model.preset": "resunet", "model.widths": (2, 4, 6, 8)},
        {"model.deep_supervision": True, "model.skip": "attention"},
        {"data.channels": 1},
        {
            "train.loss": "hausdorff",
            "train.class_weights": "balanced",
            "train.label_smoothing": 0.1,
        },
        {"train.class_weights": (1.0, 3.0)},
    ],
)
def test_what_a_recipe_names_is_trained_and_can_be_used(
    lesions: Path, tmp_path: Path, keys: dict[str, object]
) -> None:
    run = train(lesions, TINY.replace({"model.widths": (2, 4, 8), **keys}), tmp_path / "run")
    assert Predictor.load(run.model).predict(np.zeros((20, 30, 3), np.uint8)).mask.shape == (20, 30)


def test_class_weights_must_be_as_many_as_classes(lesions: Path, tmp_path: Path) -> None:
    with pytest.raises(LimnerError, match="3 numbers for 2 classes: background, foreground"):
        train(lesions, TINY.replace({"train.class_weights": (1.0, 2.0, 3.0)}), tmp_path / "run")


@pytest.mark.parametrize("frozen", [1.0, 0.0])
def test_a_frozen_encoder_keeps_its_weights_and_its_normalisation(
    lesions: Path, tmp_path: Path, frozen: float
) -> None:
    import torch

    from limner.model.pretrained import build_pretrained, load_pretrained

    name = "tf_efficientnet_lite0"
    keys = {
        "model.encoder": name,
        "model.widths": (2, 4, 6, 8, 10),
        "train.freeze_encoder": frozen,
        "train.epochs": 1,
    }
    bundle = Bundle.load(train(lesions, TINY.replace(keys), tmp_path / "run").model)
    pretrained = build_pretrained(name, 3)
    load_pretrained(pretrained, "hub", 3)
    same = all(
        torch.equal(value, bundle.weights[f"encoder.{key}"])
        for key, value in pretrained.state_dict().items()
        if value.is_floating_point()
    )
    assert same == (frozen == 1.0)
    assert bundle.preprocessing.mean == (0.5, 0.5, 0.5)


def test_tuned_settings_are_kept_and_logged(trained: Run) -> None:
    from limner.inference.confidence import ConfidenceModel

    bundle = Bundle.load(trained.model)
    assert 0.05 <= bundle.inference.threshold <= 0.95
    assert ConfidenceModel.from_dict(bundle.confidence)
    assert bundle.receipt["data_sha256"] == trained.receipt["data_sha256"]
    logged = [
        event["name"]
        for event in map(json.loads, (trained.folder / "events.jsonl").read_text().splitlines())
        if event["event"] == "tuned"
    ]
    assert logged == [
        "threshold",
        "augmentation flips",
        "augmentation turns",
        "augmentation scales",
        "remove_small",
        "fill_holes",
        "keep_largest",
    ]


def test_images_of_five_channels_are_trained_on_and_others_refused(
    pairs: Callable[..., Path], tmp_path: Path
) -> None:
    data = pairs({f"{i:02}": disc(radius=3 + i % 4) for i in range(12)})
    for mask in (data / "masks").iterdir():
        (data / "images" / mask.name).unlink()
        planes = (
            np.random.default_rng(int(mask.stem)).integers(0, 4000, (5, 16, 16)).astype(np.uint16)
        )
        tifffile.imwrite(
            data / "images" / f"{mask.stem}.tif", planes, imagej=True, metadata={"axes": "CYX"}
        )
    run = train(data, TINY.replace({"train.epochs": 1}), tmp_path / "run")
    predictor = Predictor.load(run.model)
    assert "channels = 5  # the images have so many" in (run.folder / "recipe.toml").read_text()
    assert predictor.predict(read_image(data / "images" / "00.tif")).mask.shape == (16, 16)
    with pytest.raises(
        LimnerError, match="the image has 3 channels, and this model was trained on 5"
    ):
        predictor.predict(np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(LimnerError, match=r"data\.channels is 3, and the images have 5"):
        train(data, TINY.replace({"data.channels": 3}), tmp_path / "other")
    assert Predictor.load(
        train(data, TINY.replace({"data.channels": 1, "train.epochs": 1}), tmp_path / "grey").model
    )


def test_a_run_finds_the_samples_of_its_splits(
    lesions: Path, pairs: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = TINY.replace({"train.epochs": 1})
    run = train(lesions, recipe, tmp_path / "run")
    assert [sample.id for sample in run.test_samples()] == run.split["test"]
    assert [sample.id for sample in run.samples("val")] == run.split["val"]
    with pytest.raises(LimnerError, match=r"no samples in the split 'new'; it has train \d+, val"):
        run.samples("new")
    # A layout without splits of its own is cut
    data = pairs({f"{i:02}": disc(radius=3 + i % 4) for i in range(12)})
    cut = train(data, recipe, tmp_path / "cut")
    assert [sample.id for sample in cut.test_samples()] == cut.split["test"] != []
    next((data / "images").glob(f"{cut.split['test'][0]}*")).unlink()
    with pytest.raises(
        LimnerError, match=r"the run .* was started with 1 sample that is no longer in"
    ):
        cut.test_samples()
    untested = train(
        pairs({f"{i:02}": disc(radius=3 + i % 4) for i in range(12)}, "other"),
        recipe.replace({"data.test_fraction": 0.0}),
        tmp_path / "untested",
    )
    with pytest.raises(LimnerError, match=r"no samples in the split 'test'.*data\.test_fraction"):
        untested.test_samples()
