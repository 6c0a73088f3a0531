"""The run folder: recipe, receipt, events, checkpoint and model; begin and resume."""

import hashlib
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.data.batches import Batches
from limner.data.cache import Standardised
from limner.data.preprocess import Preprocessing
from limner.errors import LimnerError
from limner.labels import Labels
from limner.model.bundle import Bundle, read_tensors, write_tensors
from limner.model.encoders import TimmEncoder, load_pretrained
from limner.model.presets import build
from limner.recipe import Recipe, dump_recipe, load_recipe
from limner.training.loop import Event, State, Step, Stopped, Validation, begin, fit

CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What a run is made of, all settled before its first step."""

    recipe: Recipe
    labels: Labels
    preprocessing: Preprocessing
    train: Standardised
    validation: Standardised
    split: Mapping[str, Sequence[str]]


class Run:
    """A folder that holds one training run; what is in it is valid at any moment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = folder / "model.safetensors"
        self.checkpoint = folder / "last" / "checkpoint.safetensors"

    @classmethod
    def create(cls, folder: Path, recipe: Recipe, reasons: Mapping[str, str], data: Path, split: Mapping[str, Sequence[str]]) -> "Run":
        """A new run folder with its recipe. Raises LimnerError where the folder is in use or cannot be made."""
        run = cls(folder)
        try:
            run.checkpoint.parent.mkdir(parents=True)
            (folder / "recipe.toml").write_text(dump_recipe(recipe, reasons), encoding="utf-8")
            run._write_json("split.json", split)
            run._write_json("receipt.json", {"data": str(data.resolve()), "recipe_sha256": _sha256(recipe), **_machine()})
        except FileExistsError as error:
            raise LimnerError(f"{folder} is there already. Nothing is overwritten: name another folder with --out, or go on with --resume {folder}.") from error
        except OSError as error:
            raise LimnerError(f"{folder} cannot be made: {error.strerror}. Name another folder with --out.") from error
        return run

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """An existing run. Raises LimnerError where there is none."""
        if not (folder / "recipe.toml").is_file() or not (folder / "receipt.json").is_file():
            raise LimnerError(f"{folder} is no run: it has no recipe.toml and receipt.json. Runs lie in the runs/ folder.")
        return cls(folder)

    @property
    def recipe(self) -> Recipe:
        return load_recipe(self.folder / "recipe.toml")

    @property
    def split(self) -> dict[str, list[str]]:
        """The ids of each side, settled when the run began."""
        return json.loads((self.folder / "split.json").read_text(encoding="utf-8"))

    @property
    def data(self) -> Path:
        """The dataset that the run was begun with."""
        return Path(json.loads((self.folder / "receipt.json").read_text(encoding="utf-8"))["data"])

    def train(self, ingredients: Ingredients, began: float) -> Iterator[Event]:
        """Train, or go on from the checkpoint; every event is logged, and the best model so far is always in the folder.

        `began` is the moment of the monotonic clock from which a time budget counts. Closing the generator saves.
        Raises LimnerError where the checkpoint is damaged or belongs to another recipe.
        """
        recipe = ingredients.recipe
        torch.manual_seed(recipe.train.seed)
        network = build(recipe.model, recipe.data.channels, ingredients.labels.logits)
        if isinstance(network.encoder, TimmEncoder) and not self.checkpoint.exists():
            load_pretrained(network.encoder, recipe.model.encoder, recipe.model.encoder_weights, recipe.data.channels)
        state = begin(network, recipe.train)
        if self.checkpoint.exists():
            self._restore(state, recipe)
        batches = Batches(ingredients.train, recipe.train.batch_size, recipe.augment, recipe.train.seed, torch.device(recipe.train.device))
        minutes = recipe.train.minutes
        seconds_left = SecondsLeft(minutes * 60 * (1 - state.progress), began) if minutes else None
        events = fit(state, batches, ingredients.validation, ingredients.preprocessing, ingredients.labels, recipe, seconds_left)
        saved = time.monotonic()
        with (self.folder / "events.jsonl").open("a", encoding="utf-8") as log:
            try:
                for event in events:
                    if not isinstance(event, Step):
                        log.write(json.dumps({"event": type(event).__name__.lower(), "time": time.time(), **_fields(event)}) + "\n")
                        log.flush()
                    if isinstance(event, Validation) and event.best:
                        self._save_best(state, ingredients)
                    if not isinstance(event, Step) or time.monotonic() - saved > CHECKPOINT_SECONDS:
                        self._save(state, recipe)
                        saved = time.monotonic()
                    yield event
            except GeneratorExit:  # at a yield the state is whole, as it need not be in the middle of a step
                self._save(state, recipe)
                raise
        self._write_json("state.json", {"finished": True, "best_epoch": state.best_epoch, "best_mean_dice": state.best_dice})

    def _save_best(self, state: State, ingredients: Ingredients) -> None:
        scores = {"validation_mean_dice": state.best_dice}
        made_of = ingredients.recipe, ingredients.labels, ingredients.preprocessing, state.best_weights
        Bundle(*made_of, scores, ingredients.split, state.best_threshold).save(self.model)

    def _save(self, state: State, recipe: Recipe) -> None:
        tensors: dict[str, Tensor] = {f"network.{name}": value for name, value in state.network.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in state.average.state_dict().items()}
        for index, moments in state.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value for name, value in moments.items()}
        position = {name: getattr(state, name) for name in ("epoch", "step", "progress", "updates", "best_dice", "best_epoch", "best_threshold")}
        write_tensors(self.checkpoint, tensors, {"position": position, "recipe_sha256": _sha256(recipe)})

    def _restore(self, state: State, recipe: Recipe) -> None:
        tensors, about = read_tensors(self.checkpoint)
        if about["recipe_sha256"] != _sha256(recipe):
            raise LimnerError(f"{self.checkpoint} was written under another recipe than {self.folder / 'recipe.toml'}. Put the recipe back as it was.")
        state.network.load_state_dict(_part(tensors, "network."))
        state.average.load_state_dict(_part(tensors, "average."))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _part(tensors, "optimiser.").items():
            index, _, key = name.partition(".")
            moments.setdefault(int(index), {})[key] = value
        state.optimiser.load_state_dict({"state": moments, "param_groups": state.optimiser.state_dict()["param_groups"]})
        for parameter, moment in state.optimiser.state.items():  # fused Adam reads memory as it lies, so it must lie as the weights do
            for name in ("exp_avg", "exp_avg_sq"):
                moment[name] = torch.empty_like(parameter).copy_(moment[name])
        for name, value in about["position"].items():
            setattr(state, name, value)

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        temporary = self.folder / (name + ".part")
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        os.replace(temporary, self.folder / name)


class SecondsLeft:
    """What remains of a time budget that began at a moment of the monotonic clock."""

    def __init__(self, seconds: float, began: float) -> None:
        self._ends = began + seconds

    def __call__(self) -> float:
        return self._ends - time.monotonic()


def new_folder(parent: Path, data: Path) -> Path:
    """runs/<dataset>, or runs/<dataset>-2 and so on where that is taken."""
    name = data.resolve().name or "run"
    numbered = (parent / (name if number == 1 else f"{name}-{number}") for number in range(1, 100_000))
    return next(folder for folder in numbered if not folder.exists())


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _fields(event: Validation | Stopped) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__slots__}


def _sha256(recipe: Recipe) -> str:
    return hashlib.sha256(json.dumps(recipe.model_dump(), sort_keys=True).encode()).hexdigest()


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "began": time.time(),
    }
