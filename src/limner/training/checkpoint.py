"""Checkpoints of a run: atomic, with a checksum, the last two kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.errors import LimnerError
from limner.model.bundle import read_tensors, write_tensors
from limner.training.state import SCALAR_FIELDS, TrainState

KEPT = 2
"""Checkpoints that are kept."""
OLD_SCALAR_FIELDS = {"micro_batches": "parts"}
"""Names of scalar fields in checkpoints of earlier versions."""
NETWORK, EMA, BASE, OPTIMISER = "network.", "ema.", "base.", "optimiser."


@dataclass(frozen=True, slots=True)
class LoadedCheckpoint:
    """The newest whole checkpoint."""

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, Any]
    damaged: tuple[str, ...]
    """What was wrong with the ones after it."""


class Checkpoints:
    """The numbered checkpoints of a run, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._damaged = folder, list[Path]()

    def paths(self) -> list[Path]:
        """List the checkpoints from the oldest to the newest."""
        return sorted(self._folder.glob("[0-9]*.safetensors"))

    def save(self, state: TrainState, metadata: Mapping[str, Any]) -> None:
        """Write one more and remove those before the last two.

        Raises LimnerError where the disk does not take it; then nothing has changed.
        """
        existing = self.paths()
        number = int(existing[-1].stem) + 1 if existing else 1
        position = {name: getattr(state, name) for name in SCALAR_FIELDS}
        write_tensors(
            self._folder / f"{number:08}.safetensors",
            _state_tensors(state),
            {**metadata, "position": position},
        )
        while self._damaged:
            damaged = self._damaged.pop()
            damaged.rename(damaged.with_suffix(".damaged"))
        for old in self.paths()[:-KEPT]:
            old.unlink()

    def load(self) -> LoadedCheckpoint | None:
        """Read the newest checkpoint that is whole; None where there is none at all.

        Raises LimnerError where there are some and all are damaged.
        """
        damaged: list[str] = []
        for path in reversed(self.paths()):
            try:
                tensors, metadata = read_tensors(path)
            except LimnerError as error:
                damaged.append(str(error))
                self._damaged.append(path)
                continue
            return LoadedCheckpoint(tensors, metadata, tuple(damaged))
        if damaged:
            raise LimnerError("every checkpoint of the run is damaged:\n  " + "\n  ".join(damaged))
        return None


def restore_state(state: TrainState, checkpoint: LoadedCheckpoint) -> None:
    """Bring a state to where a checkpoint was written."""
    tensors = checkpoint.tensors
    state.network.load_state_dict(_with_prefix(tensors, NETWORK))
    state.ema.load_state_dict(_with_prefix(tensors, EMA))
    for name, base in _named_base(state).items():
        base.data.copy_(tensors[BASE + name])
    _restore_optimiser(state.optimiser, _with_prefix(tensors, OPTIMISER))
    state.loss_sum.copy_(tensors["loss_sum"])
    position = checkpoint.metadata["position"]
    for name in SCALAR_FIELDS:
        old_name = OLD_SCALAR_FIELDS.get(name, name)
        # Earlier versions had no schedule-free training, and count its rates as none
        stored = position.get(name, position.get(old_name, getattr(state, name)))
        setattr(state, name, stored)


def _restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        moments.setdefault(int(index), {})[key] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": moments, "param_groups": groups})
    for parameter, moment in optimiser.state.items():
        for name in ("exp_avg", "exp_avg_sq"):
            # Fused Adam needs the moments in the memory order of the weights
            moment[name] = torch.empty_like(parameter).copy_(moment[name])


def _state_tensors(state: TrainState) -> dict[str, Tensor]:
    tensors = {"loss_sum": state.loss_sum}
    tensors |= {NETWORK + name: value for name, value in state.network.state_dict().items()}
    tensors |= {EMA + name: value for name, value in state.ema.state_dict().items()}
    tensors |= {BASE + name: value.detach() for name, value in _named_base(state).items()}
    for index, moments in state.optimiser.state_dict()["state"].items():
        tensors |= {f"{OPTIMISER}{index}.{name}": value for name, value in moments.items()}
    return tensors


def _named_base(state: TrainState) -> dict[str, Tensor]:
    """The weights that a schedule-free optimiser moves, by the names of the network's."""
    names = [name for name, _ in state.network.named_parameters()]
    return dict(zip(names, state.base, strict=True)) if state.base else {}


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names have a prefix, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
