import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import TINY, notes_of

from limner.errors import LimnerError
from limner.training import trackers
from limner.training.event_log import write_learning_curve
from limner.training.events import Stopped
from limner.training.pipeline import start_run, train
from limner.training.run import Run
from limner.training.run_list import list_runs
from limner.training.run_record import validations

TRAIN_AND_PRINT_MLFLOW_RUN = """
import json
import sys

import mlflow

from limner.cli import app

app(sys.argv[1:], standalone_mode=False)
client = mlflow.MlflowClient()
(run,) = client.search_runs([client.get_experiment_by_name("limner").experiment_id])
history = client.get_metric_history(run.info.run_id, "validation_Dice")
values = [metric.value for metric in history]
print(json.dumps([run.info.status, run.data.params["train.seed"], values]))
"""


def test_tensorboard_has_scalars_and_pictures(lesions: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train(lesions, TINY.replace({"train.trackers": ("tensorboard",)}), tmp_path / "run")
    logged = EventAccumulator(str(run.folder / "tensorboard"))
    logged.Reload()
    dices = [row["mean_dice"] for row in validations(run.folder)]
    assert [event.value for event in logged.Scalars("validation Dice")] == pytest.approx(dices)
    assert len(logged.Scalars("training loss")) == len(logged.Images("validation")) == 3


def test_mlflow_sees_the_same_events(lesions: Path, tmp_path: Path) -> None:
    """In a process of its own, since MLflow's libraries warn of each other."""
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    sets = [
        "data.size_px=[16,16]",
        "model.widths=[2,4,8]",
        "train.epochs=3",
        "train.batch_size=4",
        "train.seed=5",
        "train.compile=false",
        'train.trackers=["mlflow"]',
    ]
    command = [
        sys.executable,
        "-c",
        TRAIN_AND_PRINT_MLFLOW_RUN,
        "train",
        str(lesions),
        *(f"--set={key}" for key in sets),
        "--out",
        str(tmp_path / "run"),
    ]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    status, seed, history = json.loads(done.stdout.splitlines()[-1])
    assert (status, seed) == ("FINISHED", "5")
    assert history == pytest.approx([row["mean_dice"] for row in validations(tmp_path / "run")])


def test_weights_and_biases_sees_them_offline(
    lesions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = train(lesions, TINY.replace({"train.trackers": ("wandb",)}), tmp_path / "run")
    # Another process writes a finished run; it is waited for only here, as at a command's end
    wandb.teardown()
    (written,) = run.folder.glob("wandb/offline-run-*/run-*.wandb")
    assert b"validation Dice" in written.read_bytes()


def test_a_tracker_that_is_not_installed_is_named(
    lesions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(trackers.PACKAGES, "wandb", "no_such_package")
    with pytest.raises(
        LimnerError,
        match=r"train\.trackers names wandb, which is not installed: pip install no_such_package",
    ):
        train(lesions, TINY.replace({"train.trackers": ("wandb",)}), tmp_path / "run")


def test_a_run_draws_its_curve_and_what_it_sees(trained: Run) -> None:
    best = max(row["mean_dice"] for row in validations(trained.folder))
    assert f"best {best:.4f}" in (trained.folder / "curve.svg").read_text()
    assert (trained.folder / "validation.jpg").read_bytes().startswith(b"\xff\xd8")


def test_the_curve_leaves_out_what_a_kill_cut_off_and_counts_an_epoch_once(tmp_path: Path) -> None:
    rows = [
        {"event": "validation", "epoch": epoch, "mean_dice": dice, "loss": None}
        for epoch, dice in ((1, 0.2), (2, 0.3), (2, 0.5))
    ]
    (tmp_path / "events.jsonl").write_text("\n".join(map(json.dumps, rows)) + '\n{"event": "valid')
    assert [row["mean_dice"] for row in validations(tmp_path)] == [0.2, 0.5]
    write_learning_curve(tmp_path)
    assert "best 0.5000 in epoch 2" in (tmp_path / "curve.svg").read_text()


def test_runs_are_listed_with_state_and_scores(lesions: Path, trained: Run, tmp_path: Path) -> None:
    shutil.copytree(trained.folder, tmp_path / "runs" / "whole")
    _, events = start_run(lesions, TINY, tmp_path / "runs" / "half")
    next(events)
    training, whole = list_runs(tmp_path / "runs")
    assert (training["run"], training["state"], training["epoch"], training["validation_dice"]) == (
        "half",
        "training",
        "0 of 3",
        None,
    )
    events.close()
    assert list_runs(tmp_path / "runs")[0]["state"] == "stopped"
    assert (whole["state"], whole["epoch"], whole["network"]) == (
        "finished: the schedule is complete",
        "3 of 3",
        "limner",
    )
    assert 0 <= whole["validation_dice"] <= 1 and whole["images_per_second"] > 0
    with pytest.raises(LimnerError, match="is not a folder"):
        list_runs(tmp_path / "nowhere")


def test_the_receipt_records_what_a_run_is_made_of(trained: Run) -> None:
    receipt = trained.receipt
    assert {
        "data",
        "data_sha256",
        "split_sha256",
        "recipe_sha256",
        "seed",
        "torch",
        "python",
        "limner",
        "processor",
        "instructions",
        "threads",
    } < receipt.keys()
    assert receipt["exact"] is True
    (session,) = receipt["sittings"]
    assert session["images"] == 3 * 16 and session["images_per_second"] > 0


def test_a_tracker_that_fails_is_dropped_and_training_goes_on(
    lesions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(trackers.TensorBoard, "log_event", fail)
    recipe = TINY.replace({"train.trackers": ("tensorboard",)})
    _, events = start_run(lesions, recipe, tmp_path / "run")
    received = list(events)
    assert notes_of(received) == [
        "TensorBoard failed (no route to host) and gets no more events; training goes on."
    ]
    assert isinstance(received[-1], Stopped) and received[-1].finished
