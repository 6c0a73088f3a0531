"""Several processes on this machine, as torchrun starts them, over gloo."""

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from command_line import limner
from forked_command import ForkedCommand
from limner.data.synthetic import write_synthetic
from limner.model.bundle import Bundle

pytestmark = pytest.mark.heavy

SETS = (
    "data.size_px=[16,16]",
    "model.widths=[2,4,8]",
    "train.epochs=3",
    "train.batch_size=4",
    "train.device=cpu",
    "train.precision=float32",
    "train.compile=false",
    "train.trackers=[]",
)
TORCHRUN = (
    sys.executable,
    "-m",
    "torch.distributed.run",
    "--nproc-per-node",
    "2",
    "--master-port",
    "0",
    "--rdzv-backend",
    "c10d",
    "--rdzv-endpoint",
    "localhost:0",
)


GRADIENT = """
import sys

import torch
from safetensors.torch import save_file

from limner.losses import LOSSES
from limner.model.unet import UNet
from limner.recipe import TrainSettings
from limner.training.distributed import (
    context_from_environment,
    convert_sync_batchnorm,
    process_group,
)
from limner.training.state import initial_state
from limner.training.step import TrainStep

context, settings = context_from_environment(), TrainSettings(max_grad_norm=1e9)
torch.manual_seed(0)
with process_group(context):
    network = UNet(3, 3, widths=(4, 8, 16), deep_supervision=True)
    images, masks = torch.randn(4, 3, 20, 28), torch.randint(0, 3, (4, 20, 28), dtype=torch.uint8)
    # More void pixels in one part than in the other
    masks[:2, :10] = 255
    convert_sync_batchnorm(network, context)
    state = initial_state(network, settings)
    rank, world_size = context.rank, context.world_size
    part = slice(rank * 4 // world_size, (rank + 1) * 4 // world_size)
    train_step = TrainStep(state, LOSSES["dice+cross-entropy"], settings, context)
    train_step.step(images[part], masks[part], 1e-3)
    tensors = {name: value.grad.contiguous() for name, value in state.network.named_parameters()}
    for name, value in state.network.named_buffers():
        if value.is_floating_point():
            tensors[name] = value
    save_file(tensors, f"{sys.argv[1]}-{rank}")
"""


STUCK = """
import signal
import sys
import time

import torch.distributed as dist

from limner.training.distributed import context_from_environment, process_group

context = context_from_environment()
# As a trainer does that is still at its step
signal.signal(signal.SIGTERM, lambda *_: None)
with process_group(context, stop_patience_s=0.5):
    if context.is_main:
        print("waits", flush=True)
        dist.barrier()
    time.sleep(600)
"""


def arguments(data: Path, out: Path, *sets: str) -> list[str]:
    settings = [f"--set={value}" for value in (*SETS, *sets)]
    return ["train", str(data), *settings, "--out", str(out)]


def command(data: Path, out: Path, *sets: str) -> list[str]:
    return [*TORCHRUN, "-m", "limner", *arguments(data, out, *sets)]


def run_by_two(folder: Path, *command: str) -> None:
    """Run a command in two processes, which find what torchrun says and have their imports."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [
        ForkedCommand(
            *command,
            environment={**os.environ, **group, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=folder / f"output-{rank}",
            stderr=folder / f"errors-{rank}",
        )
        for rank in range(2)
    ]
    statuses = [process.wait(120) for process in processes]
    assert statuses == [0, 0], [(folder / f"errors-{rank}").read_text() for rank in range(2)]


def validations(folder: Path) -> list[dict[str, float]]:
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return [event for event in events if event["event"] == "validation"]


@pytest.mark.parametrize(
    ("count", "sets"),
    [
        # Five of them to validate on, in two batches and one: they cannot be shared evenly
        (32, ("train.batch_size=2", "train.epochs=2")),
        (24, ("train.loss=lovasz", "model.deep_supervision=true", "model.norm=group")),
        (
            24,
            (
                "model.encoder=tf_efficientnet_lite0",
                "model.widths=[2,4,6,8,10]",
                "train.freeze_encoder=0.4",
                "train.epochs=2",
            ),
        ),
    ],
)
def test_two_processes_train_as_one(tmp_path: Path, count: int, sets: tuple[str, ...]) -> None:
    """One is this process."""
    write_synthetic(tmp_path / "set", count=count, size_px=32, seed=1)
    alone = limner(*arguments(tmp_path / "set", tmp_path / "1", *sets))
    assert alone.returncode == 0, alone.stderr
    run_by_two(tmp_path, *arguments(tmp_path / "set", tmp_path / "2", *sets))
    single, double = validations(tmp_path / "1"), validations(tmp_path / "2")
    assert len(single) == len(double) > 1
    for by_one, by_two in zip(single, double, strict=True):
        assert by_two["loss"] == pytest.approx(by_one["loss"], abs=2e-4)
        assert by_two["mean_dice"] == pytest.approx(by_one["mean_dice"], abs=2e-2)
    assert double[0]["loss"] == pytest.approx(single[0]["loss"], abs=2e-5)
    weights = [Bundle.load(tmp_path / name / "model.safetensors").weights for name in ("1", "2")]
    assert weights[0].keys() == weights[1].keys()


def test_two_processes_have_the_gradient_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "gradient.py"
    script.write_text(GRADIENT)
    monkeypatch.setattr(sys, "argv", ["gradient.py", str(tmp_path / "alone")])
    runpy.run_path(str(script))
    done = subprocess.run(
        [*TORCHRUN, str(script), str(tmp_path / "both")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    single, first, second = (load_file(tmp_path / name) for name in ("alone-0", "both-0", "both-1"))
    for name, gradient in single.items():
        torch.testing.assert_close(first[name], gradient, atol=1e-6, rtol=1e-3)
        assert torch.equal(first[name], second[name]), "the processes differ"


def test_two_processes_are_stopped_and_resumed_together(lesions: Path, tmp_path: Path) -> None:
    whole = subprocess.run(
        command(lesions, tmp_path / "whole", "train.epochs=12", "train.patience=99"),
        capture_output=True,
        text=True,
    )
    assert whole.returncode == 0, whole.stderr
    with subprocess.Popen(
        command(lesions, tmp_path / "run", "train.epochs=12", "train.patience=99"),
        stderr=subprocess.PIPE,
    ) as process:
        wait_for(process, tmp_path / "run" / "events.jsonl")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    resumed = subprocess.run(
        [*TORCHRUN, "-m", "limner", "train", "--resume", str(tmp_path / "run")],
        capture_output=True,
        text=True,
    )
    assert resumed.returncode == 0, resumed.stderr
    whole_weights, weights = (
        Bundle.load(tmp_path / name / "model.safetensors").weights for name in ("whole", "run")
    )
    assert all(torch.equal(value, weights[name]) for name, value in whole_weights.items())


def test_a_process_that_is_lost_ends_all_with_one_message(lesions: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        command(
            lesions,
            tmp_path / "run",
            "train.epochs=5000",
            "train.patience=9999",
        ),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        wait_for(process, tmp_path / "run" / "events.jsonl")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[1]), signal.SIGKILL)
        output = process.communicate(timeout=300)[1]
    assert process.returncode != 0
    assert output.count("error: ") == 1, output
    # Torchrun's SIGTERM may come before the lost connection is seen
    assert "another process of this training ended" in output.replace("\n", " ")
    assert "limner/training" not in output, "a traceback through our own code"


def test_a_process_that_waits_for_a_lost_one_stops_with_a_message(tmp_path: Path) -> None:
    script = tmp_path / "stuck.py"
    script.write_text(STUCK)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [
        subprocess.Popen(
            [sys.executable, str(script)],
            env={**os.environ, **group, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        main = processes[0]
        assert main.stdout is not None and main.stdout.readline() == "waits\n"
        main.send_signal(signal.SIGTERM)
        errors = main.communicate(timeout=60)[1]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert main.returncode == 1
    assert "error: after SIGTERM the step did not end within 0.5 s" in errors


def test_two_processes_train_a_fold_each_as_one_trains_both_and_are_resumed(
    lesions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    options = ("--set=train.epochs=12", "--set=train.patience=99", "--folds", "2")
    alone, together = tmp_path / "1", tmp_path / "2"
    single = limner(*arguments(lesions, alone), *options)
    assert single.returncode == 0, single.stderr
    with subprocess.Popen(
        [*TORCHRUN, "-m", "limner", *arguments(lesions, together), *options], stderr=subprocess.PIPE
    ) as process:
        wait_for(process, together / "fold-2" / "events.jsonl")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert not (together / "model.safetensors").exists()
    resumed = subprocess.run(
        [*TORCHRUN, "-m", "limner", "train", "--resume", str(together)],
        capture_output=True,
        text=True,
    )
    assert resumed.returncode == 0, resumed.stderr
    assert "2 at once" in resumed.stdout and resumed.stdout.count("Mean Dice") == 1
    scores = [(folder / "out-of-fold.csv").read_text() for folder in (alone, together)]
    assert scores[0] == scores[1]


def test_a_mistake_is_reported_once(lesions: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        command(lesions, tmp_path / "run", "train.batch_size=3"),
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert done.stderr.count("which 2 processes cannot share") == 1


def wait_for(process: subprocess.Popen[str] | subprocess.Popen[bytes], path: Path) -> None:
    while process.poll() is None and not (
        path.is_file() and path.read_text().count("validation") > 2
    ):
        time.sleep(0.05)
