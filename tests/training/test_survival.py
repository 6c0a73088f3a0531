"""What a run survives: values that are not finite, lack of memory, damage, signals, kills."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_run import TINY, hashes, notes_of

from forked_command import ForkedCommand
from limner.errors import LimnerError
from limner.model.unet import UNet
from limner.training import checkpoint, loop, schedule, step, trainer
from limner.training.events import Note, Skipped, Stopped, TrainingStep, Validation
from limner.training.hardware import NO_COMPILER
from limner.training.pipeline import TrainingSession, resume_run, start_run, train
from limner.training.run import Run
from limner.training.state import SCALAR_FIELDS, TrainState, initial_state
from waiting import wait_until


def stopped_after(steps: int, data: Path, folder: Path, recipe: object = TINY) -> Run:
    run, events = start_run(data, recipe, folder)
    seen = 0
    while seen < steps:
        seen += isinstance(next(events), TrainingStep)
    events.close()
    return run


def weights_of(run: Run) -> dict[str, torch.Tensor]:
    loaded = run.checkpoints.load()
    assert loaded is not None
    return dict(loaded.tensors)


def make_logits_nan(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """Let some steps' logits be NaN, as by a fault of the hardware or of arithmetic."""
    calls, forward = iter(range(10**6)), UNet.forward_supervised

    def faulty(self: UNet, images: torch.Tensor) -> list[torch.Tensor]:
        factor = float("nan") if next(calls) in steps else 1.0
        return [logits * factor for logits in forward(self, images)]

    monkeypatch.setattr(UNet, "forward_supervised", faulty)


def test_a_step_that_is_not_finite_leaves_the_weights_as_they_were(
    lesions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, events = start_run(lesions, TINY.replace({"train.epochs": 1}), tmp_path / "run")
    before = {}
    make_logits_nan(monkeypatch, {1})
    seen = []
    for event in events:
        seen.append(event)
        if isinstance(event, TrainingStep):
            run.checkpoints.save(*_state_of(events))
            now = weights_of(run)
            if event.step == 2:
                changed = [
                    name
                    for name in now
                    if name.startswith(("network.", "optimiser."))
                    and not torch.equal(now[name], before[name])
                ]
                assert changed == []
                assert all(value.isfinite().all() for value in now.values())
            before = now
    (skipped,) = [event for event in seen if isinstance(event, Skipped)]
    assert (skipped.step, len(skipped.ids)) == (2, 4)
    assert json.loads((run.folder / "receipt.json").read_text())["skipped_steps"] == 1


def _state_of(events: object) -> tuple[object, dict[str, object]]:
    frame = events.gi_frame
    return frame.f_locals["state"], frame.f_locals["identity"]


def test_several_in_a_row_stop_the_run_and_name_the_images(
    lesions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_logits_nan(monkeypatch, set(range(6, 100)))
    with pytest.raises(
        LimnerError, match=r"not finite in 5 steps in a row.*ISIC_.*The best model so far is kept"
    ):
        train(lesions, TINY.replace({"train.epochs": 9}), tmp_path / "run")
    assert Run.open(tmp_path / "run").model.is_file()


@pytest.mark.parametrize(("method", "most"), [("forward_supervised", 1), ("forward", 2)])
def test_a_batch_that_does_not_fit_goes_through_in_parts(
    method: str, most: int, lesions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In training, and in a validation."""
    forward = getattr(UNet, method)

    def limited(self: UNet, images: torch.Tensor) -> object:
        if len(images) > most:
            raise torch.OutOfMemoryError(f"of more than {most}")
        return forward(self, images)

    monkeypatch.setattr(UNet, method, limited)
    _, events = start_run(lesions, TINY, tmp_path / "run")
    seen = list(events)
    micro_batches = [parts for parts in (2, 4) if 4 // parts >= most]
    assert notes_of(seen) == [
        (
            f"the device's memory does not hold a batch of 4: it goes through in {parts} parts of "
            f"{4 // parts} from here on"
        )
        for parts in micro_batches
    ]
    assert isinstance(seen[-1], Stopped)


def test_without_a_compiler_a_run_goes_on_and_is_marked(
    lesions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "can_compile", lambda device: False)
    run, events = start_run(
        lesions,
        TINY.replace({"train.compile": True}),
        tmp_path / "run",
    )
    notes = [event.text for event in events if isinstance(event, Note)]
    assert any("training goes on without torch.compile" in note for note in notes)
    list(resume_run(Run.open(run.folder)))
    assert run.receipt["exact"] is False and run.receipt["not_exact_because"] == [NO_COMPILER]


def test_what_the_first_step_takes_is_no_measure_of_a_validation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It compiles, or wakes a device."""
    now = [0.0]
    monkeypatch.setattr(schedule.time, "perf_counter", lambda: now[0])
    state = initial_state(step_network(TINY), TINY.train)
    context = schedule.TrainingContext(lambda: 360 - now[0])
    followed = schedule.Schedule(state, TINY.train, context, 500)
    for seconds, reserved in ((22, 0), (0.1, 0), (0.1, 0), (0.1, 0.5 * 0.1 / 4 * 500)):
        now[0] += seconds
        followed.advance(10)
        assert state.progress == pytest.approx((now[0] + reserved) / 360)


@pytest.mark.parametrize("waiting", range(1, 6))
def test_a_step_that_waited_for_other_work_does_not_end_a_training(
    waiting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(schedule.time, "perf_counter", lambda: now[0])
    state = initial_state(step_network(TINY), TINY.train)
    followed = schedule.Schedule(
        state, TINY.train, schedule.TrainingContext(lambda: 300 - now[0]), 176
    )
    for step_count in range(8):
        now[0] += 20 if step_count == waiting else 0.1
        followed.advance(100)
    assert not followed.over and state.progress < 0.1


def test_a_batch_that_does_not_fit_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = UNet.forward_supervised

    def fail_at_last(self: UNet, images: torch.Tensor) -> list[torch.Tensor]:
        # Running statistics move
        forward(self, images)
        raise torch.OutOfMemoryError("behind the network")

    monkeypatch.setattr(UNet, "forward_supervised", fail_at_last)
    state = initial_state(step_network(TINY), TINY.train)
    before = {name: value.clone() for name, value in state.network.state_dict().items()}
    stepper = step.TrainStep(state, step.LOSSES["dice"], TINY.train, step.DistributedContext())
    with pytest.raises(torch.OutOfMemoryError):
        stepper.step(torch.randn(4, 3, 16, 16), torch.zeros(4, 16, 16, dtype=torch.uint8), 1e-3)
    assert all(
        torch.equal(value, before[name]) for name, value in state.network.state_dict().items()
    )


def test_parts_of_a_batch_give_the_gradient_of_the_whole() -> None:
    torch.manual_seed(0)
    images, masks = torch.randn(4, 3, 16, 16), torch.randint(0, 2, (4, 16, 16), dtype=torch.uint8)
    settings = TINY.replace({"model.norm": "none"})
    moved = []
    for parts in (1, 2, 4):
        torch.manual_seed(1)
        state = initial_state(step_network(settings), settings.train)
        state.micro_batches = parts
        stepper = step.TrainStep(
            state, step.LOSSES["dice+cross-entropy"], settings.train, step.DistributedContext()
        )
        stepper.step(images, masks, 1e-3)
        moved.append(
            torch.cat([parameter.grad.flatten() for parameter in state.network.parameters()])
        )
    for other in moved[1:]:
        torch.testing.assert_close(other, moved[0], atol=1e-5, rtol=1e-3)


def step_network(recipe: object) -> UNet:
    return UNet.from_settings(recipe.model, 3, 1)


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(
    lesions: Path, trained: Run, tmp_path: Path
) -> None:
    run = stopped_after(6, lesions, tmp_path / "run")
    older, newer = run.checkpoints.paths()
    newer.write_bytes(newer.read_bytes()[:-100])
    notes = notes_of(resume_run(run))
    assert (
        len(notes) == 1
        and str(newer) in notes[0]
        and "The checkpoint before it is taken" in notes[0]
    )
    assert older != newer
    assert newer.with_suffix(".damaged").is_file()
    assert len(run.checkpoints.paths()) == 2
    assert hashes(run) == hashes(trained)


def test_a_run_whose_checkpoints_are_all_damaged_is_refused_by_name(
    lesions: Path, tmp_path: Path
) -> None:
    run = stopped_after(6, lesions, tmp_path / "run")
    for path in run.checkpoints.paths():
        path.write_bytes(b"nothing")
    with pytest.raises(LimnerError, match="every checkpoint of the run is damaged"):
        list(resume_run(run))


def test_a_lost_best_model_is_written_anew(lesions: Path, tmp_path: Path) -> None:
    run = stopped_after(6, lesions, tmp_path / "run")
    run.model.unlink()
    notes = notes_of(resume_run(run))
    assert len(notes) == 1 and "The next validation writes it anew" in notes[0]
    assert run.model.is_file()
    assert run.receipt["exact"] is False


def test_a_finished_run_that_lost_its_model_gets_it_again(copied: Run) -> None:
    copied.model.unlink()
    seen = list(resume_run(copied))
    assert not any(isinstance(event, TrainingStep) for event in seen)
    assert copied.model.is_file() and copied.read_json("state.json")["best_mean_dice"] >= 0


def test_a_device_that_is_not_there_is_named(lesions: Path, tmp_path: Path) -> None:
    missing = "mps" if torch.cuda.is_available() else "cuda"
    with pytest.raises(LimnerError, match=f"there is no device {missing} here"):
        train(lesions, TINY.replace({"train.device": missing}), tmp_path / "run")


def test_a_run_that_is_seldom_validated_has_a_model_all_the_same(
    lesions: Path, tmp_path: Path
) -> None:
    run = train(
        lesions,
        TINY.replace({"train.epochs": 9, "train.validate_every": 4, "train.patience": 2}),
        tmp_path / "run",
    )
    assert run.model.is_file()


def test_another_machine_is_noted_and_marks_the_run(lesions: Path, tmp_path: Path) -> None:
    # Of one epoch: more threads than processors wait for each other
    run = stopped_after(2, lesions, tmp_path / "run", TINY.replace({"train.epochs": 1}))
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        notes = notes_of(resume_run(run))
    finally:
        torch.set_num_threads(threads)
    assert len(notes) == 1 and f"threads was {threads} and is {threads + 1}" in notes[0]
    assert run.receipt["exact"] is False and run.receipt["not_exact_because"]


def test_a_run_in_use_is_refused(lesions: Path, tmp_path: Path) -> None:
    run, events = start_run(lesions, TINY, tmp_path / "run")
    next(events)
    assert run.in_use()
    with pytest.raises(LimnerError, match="another process is training"):
        list(resume_run(Run.open(run.folder)))
    events.close()
    assert not run.in_use()


def test_a_stop_within_a_validation_is_gone_on_from(
    lesions: Path, trained: Run, tmp_path: Path
) -> None:
    # 4 steps an epoch, then the question during the validation
    answers = iter([False] * 4 + [True] * 100)
    run, events = start_run(
        lesions,
        TINY,
        tmp_path / "run",
        TrainingSession(stop_requested=lambda: next(answers)),
    )
    seen = list(events)
    assert isinstance(seen[-1], Stopped) and not seen[-1].finished
    assert not any(isinstance(event, Validation) for event in seen)
    list(resume_run(Run.open(run.folder)))
    assert hashes(run) == hashes(trained)


def test_one_bit_is_noticed_in_every_file(lesions: Path, tmp_path: Path) -> None:
    """Some bits of large files; test_bundle.py flips every bit of a small one."""
    from limner.model.bundle import read_tensors

    run = stopped_after(6, lesions, tmp_path / "run")
    rng = random.Random(0)
    for path in (run.model, run.checkpoints.paths()[-1]):
        content = path.read_bytes()
        for _ in range(60):
            bit = rng.randrange(8 * len(content))
            flipped = bytearray(content)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            with pytest.raises(LimnerError, match=path.name):
                read_tensors(path)
        for _ in range(20):
            path.write_bytes(content[: rng.randrange(len(content))])
            with pytest.raises(LimnerError, match=path.name):
                read_tensors(path)


def begin(folder: Path, *command: str) -> ForkedCommand:
    """Start a command that runs in a folder and prints into two files of it."""
    return ForkedCommand(
        *command,
        environment=os.environ,
        stdout=folder / "output",
        stderr=folder / "errors",
        cwd=folder,
    )


def test_a_stop_before_training_says_that_there_is_nothing_to_go_on_from(
    lesions: Path, tmp_path: Path
) -> None:
    process = begin(tmp_path, "train", str(lesions), "--minutes", "5")
    said = tmp_path / "output"
    wait_until(lambda: said.is_file() and "measuring how fast" in said.read_text())
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 130
    errors = (tmp_path / "errors").read_text()
    assert errors.strip() == "Stopped before training began: there is nothing to go on from."
    assert not (tmp_path / "runs").exists()


def test_an_interrupted_run_says_how_it_goes_on_and_does(lesions: Path, tmp_path: Path) -> None:
    """SIGTERM ends it with 0, as a scheduler expects, and Ctrl-C with 130."""
    folder = tmp_path / "run"
    log = folder / "events.jsonl"
    settings = {"train.epochs": 100_000, "train.patience": 100_000, "train.compile": "false"}
    settings |= {"data.size_px": [16, 16], "model.widths": [2, 4, 8], "train.batch_size": 4}
    sets = [f"--set={key}={value}" for key, value in settings.items()]
    for number, status, arguments in (
        (signal.SIGTERM, 0, [str(lesions), *sets, "--out", "run"]),
        (signal.SIGINT, 130, ["--resume", "run"]),
    ):
        before = log.read_text() if log.is_file() else ""
        process = begin(tmp_path, "train", *arguments)
        wait_until(lambda before=before: log.is_file() and len(log.read_text()) > len(before) + 200)
        process.send_signal(number)
        ended = process.wait(120)
        output, errors = ((tmp_path / name).read_text() for name in ("output", "errors"))
        assert ended == status, errors
        assert "Traceback" not in errors
        said = "Stopped; everything is saved. Next: limner train --resume run"
        assert said in " ".join(output.split())
        run = Run.open(folder)
        assert run.checkpoints.load() is not None and run.model.is_file()
        assert "epochs = 100000" in (folder / "recipe.toml").read_text()
    epochs = [
        row["epoch"]
        for row in map(json.loads, log.read_text().splitlines())
        if row["event"] == "validation"
    ]
    assert epochs == list(range(1, len(epochs) + 1))


@pytest.mark.heavy
def test_kills_at_any_moment_change_nothing() -> None:
    """The storm of benchmarks/kills.py, a few kills of it."""
    storm = Path(__file__).parent.parent.parent / "benchmarks" / "kills.py"
    done = subprocess.run(
        [sys.executable, str(storm), "--kills", "3", "--epochs", "8"],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 of 3 kills: the same weights" in done.stdout


def test_a_disk_that_fails_leaves_what_was_there() -> None:
    """The storm of benchmarks/faults.py, a few write calls of it."""
    storm = Path(__file__).parent.parent.parent / "benchmarks" / "faults.py"
    done = subprocess.run(
        [sys.executable, str(storm), "--step", "24"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 of 6 failures: status not 0, one line, every checkpoint there whole" in done.stdout


def test_the_numbers_of_a_state_are_all_in_a_checkpoint() -> None:
    tensors = {"network", "ema", "base", "optimiser", "loss_sum", "best_weights"}
    assert set(TrainState.__slots__) == {*SCALAR_FIELDS, *tensors}
    assert checkpoint.KEPT == 2 and loop.MAX_SKIPPED == 5
