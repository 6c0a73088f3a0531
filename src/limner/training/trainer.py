"""Train or resume a run: build the network, restore, fit, then tune and compare."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch

from limner.data.loader import BatchLoader
from limner.errors import LimnerError
from limner.files import json_sha256
from limner.inference.engines import require_device
from limner.model.bundle import Bundle
from limner.model.encoders import PretrainedEncoder
from limner.model.pretrained import load_pretrained
from limner.model.unet import UNet
from limner.plurals import count_noun
from limner.recipe import Recipe
from limner.recipe_migration import in_old_keys
from limner.training import run_files
from limner.training.checkpoint import LoadedCheckpoint, restore_state
from limner.training.distributed import DistributedContext, convert_sync_batchnorm
from limner.training.events import Event, Note, Stopped
from limner.training.finish import finish_run, training_share
from limner.training.hardware import NO_COMPILER, can_compile, machine_identity
from limner.training.loop import STOP_REQUESTED, fit
from limner.training.recorder import Recorder
from limner.training.run import Run, RunInputs
from limner.training.schedule import Deadline, TrainingContext
from limner.training.state import TrainState, initial_state

AFTER_LAST_STEP = 10**9
"""As the step of an epoch: past its last one, so that the epoch's validation is next."""


def train_run(
    run: Run,
    inputs: RunInputs,
    started: float,
    stop_requested: Callable[[], bool],
    distributed: DistributedContext,
) -> Iterator[Event]:
    """Train a run, or go on from its newest whole checkpoint.

    Every event is logged, and the best model so far is always in the folder. Closing the generator
    saves. Of several processes the first one writes.

    Args:
        run: The run; it is locked meanwhile.
        inputs: What it is trained on.
        started: The moment of the monotonic clock from which a time budget counts.
        stop_requested: Looked at between steps.
        distributed: Which of how many processes this is.

    Raises LimnerError where every checkpoint is damaged, the recipe is not that of the beginning,
    or another process trains this run.
    """
    _require_trainable(run, inputs.recipe, distributed)
    with run.lock() if distributed.is_main else nullcontext():
        checkpoint, origin = run.checkpoints.load(), run.origin
        network = _build_network(inputs, origin, trained=checkpoint is not None)
        convert_sync_batchnorm(network, distributed)
        state = initial_state(network, inputs.recipe.train)
        identity = _identity(inputs, distributed)
        notes: list[Note] = []
        if checkpoint is not None:
            restore_state(state, checkpoint)
            notes += _resume_notes(run, state, checkpoint, identity, distributed)
        fit_inputs = inputs
        if inputs.recipe.train.compile and not can_compile(inputs.recipe.train.device):
            fit_inputs = replace(inputs, recipe=inputs.recipe.replace({"train.compile": False}))
            notes.append(_missing_compiler(run, distributed))
        deadline = _deadline(inputs.recipe, state, started, has_origin=origin is not None)
        if deadline is not None and checkpoint is not None:
            notes.append(_spent_time(run, state, deadline()))
        context = TrainingContext(deadline, stop_requested, distributed)
        events = fit(state, _build_loader(inputs, distributed), fit_inputs, context)
        if not distributed.is_main:
            yield from events
            return
        with Recorder(run, state, inputs, identity) as recorder:
            for note in notes:
                recorder.record(note)
                yield note
            try:
                for event in _with_finish(events, run, inputs, stop_requested):
                    yield from recorder.record(event)
                    yield event
            except GeneratorExit:
                # At a yield the state is whole, as it need not be in the middle of a step
                recorder.save_checkpoint()
                raise


def _require_trainable(run: Run, recipe: Recipe, distributed: DistributedContext) -> None:
    require_device(recipe.train.device)
    if recipe.train.batch_size % distributed.world_size:
        raise LimnerError(
            f"a batch of {recipe.train.batch_size} cannot be shared by {distributed.world_size} "
            "processes. Take a number of them that divides it."
        )
    table = recipe.model_dump()
    # Earlier versions hashed the recipe in their own keys
    if run.receipt["recipe_sha256"] not in {json_sha256(table), json_sha256(in_old_keys(table))}:
        raise LimnerError(
            f"{run.folder} was started with another recipe than {run.folder / run_files.RECIPE} "
            "holds. Put the recipe back as it was."
        )


def _build_network(inputs: RunInputs, origin: Bundle | None, *, trained: bool) -> UNet:
    """The network with its first weights; a `trained` one gets those of a checkpoint later."""
    recipe = inputs.recipe
    model, channels = recipe.model, recipe.data.channels
    torch.manual_seed(recipe.train.seed)
    network = UNet.from_settings(model, channels, inputs.labels.out_channels)
    if origin is not None:
        network.load_state_dict(dict(origin.weights))
    elif isinstance(network.encoder, PretrainedEncoder) and not trained:
        load_pretrained(network.encoder, model.encoder_weights, channels)
    return network


def _build_loader(inputs: RunInputs, distributed: DistributedContext) -> BatchLoader:
    settings = inputs.recipe.train
    device = torch.device(settings.device)
    if settings.device == "cuda":
        device = torch.device("cuda", torch.cuda.current_device())
    return BatchLoader(
        inputs.train,
        settings.batch_size,
        inputs.recipe.augment,
        settings.seed,
        device,
        (distributed.rank, distributed.world_size),
    )


def _identity(inputs: RunInputs, distributed: DistributedContext) -> dict[str, Any]:
    """All that the bits of the result depend on besides the recipe."""
    return {
        **machine_identity(inputs.recipe.train.device),
        "processes": distributed.world_size,
        "training data": inputs.train.key,
        "validation data": inputs.validation.key,
    }


def _deadline(
    recipe: Recipe, state: TrainState, started: float, *, has_origin: bool
) -> Deadline | None:
    """What remains of the time budget for training; None without one."""
    if recipe.train.minutes is None:
        return None
    budget_s = recipe.train.minutes * 60 * training_share(has_origin=has_origin)
    return Deadline(budget_s * (1 - state.progress), started)


def _spent_time(run: Run, state: TrainState, left_s: float) -> Note:
    """Where the minutes went that a resumed run was given, and what is left of them."""
    sessions = run.receipt["sittings"]
    spent_s = sum(session["seconds"] for session in sessions)
    return Note(
        f"of {run.recipe.train.minutes:g} minutes, {count_noun(len(sessions), 'session')} trained "
        f"for {spent_s / 60:.1f}: {state.progress:.0%} of the schedule. It goes on for "
        f"{left_s / 60:.1f}; the rest went into checking and planning, or is for tuning"
    )


def _with_finish(
    events: Iterator[Event], run: Run, inputs: RunInputs, stop_requested: Callable[[], bool]
) -> Iterator[Event]:
    """The events of training; before it ends, the model is tuned and compared."""
    for event in events:
        if isinstance(event, Stopped) and event.finished:
            yield from finish_run(run, inputs, stop_requested)
            if stop_requested():
                yield Stopped(STOP_REQUESTED, finished=False)
                continue
        yield event


def _resume_notes(
    run: Run,
    state: TrainState,
    checkpoint: LoadedCheckpoint,
    identity: Mapping[str, Any],
    distributed: DistributedContext,
) -> list[Note]:
    """What is not as it was when the run was saved; the receipt is marked where that matters."""
    notes = [Note(f"{damage} The checkpoint before it is taken.") for damage in checkpoint.damaged]
    changes = _changes(checkpoint.metadata["identity"], identity)
    if changes:
        text = f"this is not the same run bit for bit any more: {'; '.join(changes)}."
        notes.append(Note(f"{text} {run_files.RECEIPT} says so."))
    lost_model = _forget_lost_model(run, state)
    if lost_model is not None:
        notes.append(Note(f"{lost_model} The next validation writes it anew."))
        changes.append(lost_model)
    if changes and distributed.is_main:
        run.mark_inexact(changes)
    return notes


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{key} was {before.get(key)} and is {now.get(key)}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]


def _forget_lost_model(run: Run, state: TrainState) -> str | None:
    """What is wrong with the best model, if it is gone or damaged.

    The next validation then replaces it: that of this epoch, or one at once.
    """
    if state.best_epoch == 0:
        return None
    try:
        Bundle.load(run.model)
    except LimnerError as error:
        state.best_dice = -1.0
        if state.step == 0:
            state.epoch, state.step = state.epoch - 1, AFTER_LAST_STEP
        return str(error)
    return None


def _missing_compiler(run: Run, distributed: DistributedContext) -> Note:
    if distributed.is_main:
        run.mark_inexact([NO_COMPILER])
    return Note(
        f"{NO_COMPILER}: training goes on without torch.compile, and not bit for bit. "
        f"{run_files.RECEIPT} says so."
    )
