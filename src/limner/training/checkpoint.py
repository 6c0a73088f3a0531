"""Checkpoints: what a run goes on from. Each is whole or not there, holds a SHA-256 of itself, and
the last two are kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.errors import LimnerError
from limner.model.bundle import read_tensors, write_tensors
from limner.training.step import POSITION, TrainState

KEPT = 2


@dataclass(frozen=True, slots=True)
class LoadedCheckpoint:
    """What the newest whole checkpoint holds, and what was wrong with the ones after it."""

    tensors: Mapping[str, Tensor]
    about: Mapping[str, Any]
    damaged: tuple[str, ...]


class Checkpoints:
    """The numbered checkpoints of a run, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._damaged = folder, list[Path]()

    def paths(self) -> list[Path]:
        """From the oldest to the newest."""
        return sorted(self._folder.glob("[0-9]*.safetensors"))

    def save(self, state: TrainState, about: Mapping[str, Any]) -> None:
        """Write one more and remove those before the last two. Raises LimnerError where the disk
        does not take it; then nothing has changed.
        """
        there = self.paths()
        number = int(there[-1].stem) + 1 if there else 1
        position = {name: getattr(state, name) for name in POSITION}
        write_tensors(
            self._folder / f"{number:08}.safetensors",
            _tensors(state),
            {**about, "position": position},
        )
        while self._damaged:
            damaged = self._damaged.pop()
            damaged.rename(damaged.with_suffix(".damaged"))
        for old in self.paths()[:-KEPT]:
            old.unlink()

    def load(self) -> LoadedCheckpoint | None:
        """The newest that is whole; None where there is none at all. Raises LimnerError where there
        are some and all are damaged.
        """
        damaged: list[str] = []
        for path in reversed(self.paths()):
            try:
                tensors, about = read_tensors(path)
            except LimnerError as error:
                damaged.append(str(error))
                self._damaged.append(path)
                continue
            return LoadedCheckpoint(tensors, about, tuple(damaged))
        if damaged:
            raise LimnerError("every checkpoint of the run is damaged:\n  " + "\n  ".join(damaged))
        return None


def restore_state(state: TrainState, loaded: LoadedCheckpoint) -> None:
    """Bring a state to where a checkpoint was written."""
    state.network.load_state_dict(_part(loaded.tensors, "network."))
    state.ema.load_state_dict(_part(loaded.tensors, "average."))
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in _part(loaded.tensors, "optimiser.").items():
        index, _, key = name.partition(".")
        moments.setdefault(int(index), {})[key] = value
    state.optimiser.load_state_dict(
        {"state": moments, "param_groups": state.optimiser.state_dict()["param_groups"]}
    )
    for (
        parameter,
        moment,
    ) in (
        state.optimiser.state.items()
        # Fused Adam reads memory as it lies, so it must lie as the weights do
    ):
        for name in ("exp_avg", "exp_avg_sq"):
            moment[name] = torch.empty_like(parameter).copy_(moment[name])
    state.loss_sum.copy_(loaded.tensors["lost"])
    for name in POSITION:
        setattr(state, name, loaded.about["position"][name])


def _tensors(state: TrainState) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {
        "lost": state.loss_sum,
        **{f"network.{name}": value for name, value in state.network.state_dict().items()},
    }
    tensors |= {f"average.{name}": value for name, value in state.ema.state_dict().items()}
    for index, moments in state.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": value for name, value in moments.items()}
    return tensors


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
