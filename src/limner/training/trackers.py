"""Experiment trackers: TensorBoard, MLflow and Weights & Biases see the events of a run.

Each is imported only where the recipe names it.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from jaxtyping import UInt8
from numpy import ndarray

from limner.errors import LimnerError
from limner.recipe import Recipe
from limner.training.events import Event, Skipped, Validation

PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}
"""The package that each tracker needs."""


@runtime_checkable
class Tracker(Protocol):
    """Sees the events of a run and the picture of each validation; it is closed at the end."""

    def log_event(self, event: Event) -> None: ...
    def log_image(self, epoch: int, pixels: UInt8[ndarray, "h w 3"]) -> None: ...
    def close(self) -> None: ...


def is_installed(name: str) -> bool:
    """Tell whether a tracker's package is installed."""
    return find_spec(PACKAGES[name]) is not None


def require_trackers(recipe: Recipe) -> None:
    """Raise LimnerError where the recipe names a tracker whose package is not installed."""
    for name in recipe.train.trackers:
        if not is_installed(name):
            raise LimnerError(
                f"train.trackers names {name}, which is not installed: pip install "
                f"{PACKAGES[name]}, or leave it out."
            )


def open_trackers(recipe: Recipe, folder: Path) -> list[Tracker]:
    """Open the trackers that the recipe names. Raises LimnerError as `require_trackers` does."""
    require_trackers(recipe)
    return [TRACKERS[name](recipe, folder) for name in recipe.train.trackers]


def event_metrics(event: Event) -> dict[str, float]:
    """Give the numbers of an event by name; none for most events."""
    if isinstance(event, Validation):
        loss = {} if event.loss is None else {"training loss": event.loss}
        return {"validation Dice": event.mean_dice, **loss, "validation seconds": event.seconds}
    return {"skipped steps": 1.0} if isinstance(event, Skipped) else {}


class TensorBoard:
    """Write scalars and pictures into the run's folder."""

    def __init__(self, _recipe: Recipe, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def log_event(self, event: Event) -> None:
        for name, value in event_metrics(event).items():
            # Only events with an epoch have metrics
            self._writer.add_scalar(name, value, event.epoch)  # type: ignore[union-attr]
        self._writer.flush()

    def log_image(self, epoch: int, pixels: UInt8[ndarray, "h w 3"]) -> None:
        self._writer.add_image("validation", pixels, epoch, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class MLflow:
    """Log to the experiment "limner", where MLFLOW_TRACKING_URI says, or at MLflow's default."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        import mlflow

        self._mlflow: Any = mlflow
        mlflow.set_experiment("limner")
        mlflow.start_run(run_name=folder.resolve().name)
        values = recipe.model_dump()
        mlflow.log_params(
            {
                f"{section}.{key}": value
                for section, keys in values.items()
                for key, value in keys.items()
            }
        )

    def log_event(self, event: Event) -> None:
        metrics = {name.replace(" ", "_"): value for name, value in event_metrics(event).items()}
        if metrics:
            # Only events with an epoch have metrics
            self._mlflow.log_metrics(metrics, step=event.epoch)  # type: ignore[union-attr]

    def log_image(self, epoch: int, pixels: UInt8[ndarray, "h w 3"]) -> None:
        self._mlflow.log_image(pixels, artifact_file=f"validation/{epoch:05}.png")

    def close(self) -> None:
        self._mlflow.end_run()


class WandB:
    """Log to the project "limner", as WANDB_MODE and the other WANDB_ variables say."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        import wandb

        self._wandb: Any = wandb
        self._run: Any = wandb.init(
            project="limner",
            name=folder.resolve().name,
            dir=str(folder),
            config=recipe.model_dump(),
        )

    def log_event(self, event: Event) -> None:
        if metrics := event_metrics(event):
            # Only events with an epoch have metrics
            self._run.log({**metrics, "epoch": event.epoch})  # type: ignore[union-attr]

    def log_image(self, epoch: int, pixels: UInt8[ndarray, "h w 3"]) -> None:
        self._run.log({"validation": self._wandb.Image(pixels), "epoch": epoch})

    def close(self) -> None:
        self._run.finish()


TRACKERS: dict[str, Callable[[Recipe, Path], Tracker]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WandB,
}
