"""The recorder: log, checkpoints, best model, pictures and receipt of a run while it trains."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import UInt8
from numpy import ndarray

from limner.data.overlays import contact_sheet, draw_overlay, shrink_pair
from limner.data.writers.jpeg import write_jpeg
from limner.files import json_sha256
from limner.model.bundle import Bundle
from limner.training import run_files
from limner.training.event_log import EventLog, write_learning_curve
from limner.training.events import (
    Event,
    Note,
    Stopped,
    TrainingStep,
    TuningProgress,
    Validation,
    ValidationProgress,
)
from limner.training.run import Run, RunInputs
from limner.training.state import TrainState
from limner.training.trackers import Tracker, open_trackers

MODEL_RECEIPT_KEYS = (
    "data_sha256",
    "split_sha256",
    "recipe_sha256",
    "seed",
    "torch",
    "python",
    "limner",
    "processor",
    "device",
    "threads",
    "continues",
    "skipped",
    "earlier",
    "class_shares",
)
"""Keys of the receipt that the model holds too: all that is equal when the run is made again."""


class Recorder:
    """Write down what happens in a run. Of several processes the first one has it.

    Args:
        run: Where it is written.
        state: What is trained; checkpoints hold it.
        inputs: What it is trained on.
        identity: Machine and data, which a resumed run is compared with.
    """

    def __init__(
        self, run: Run, state: TrainState, inputs: RunInputs, identity: Mapping[str, Any]
    ) -> None:
        self._run, self._state, self._inputs, self._identity = run, state, inputs, identity
        self._trackers: list[Tracker] = open_trackers(inputs.recipe, run.folder)
        self._log = EventLog(run.folder)
        self._earlier_sessions = run.receipt["sittings"]
        self._started, self._saved, self._images = time.time(), time.monotonic(), 0
        keys = [inputs.train.key, inputs.validation.key]
        run.update_receipt(lambda _: {"data_sha256": json_sha256(keys)})

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()
        self._notify(lambda tracker: tracker.close())

    def record(self, event: Event) -> list[Note]:
        """Write what an event asks for. Returns notes on what went wrong in that."""
        if isinstance(event, TrainingStep):
            self._images += event.images
            interval_s = self._inputs.recipe.train.checkpoint_seconds
            if time.monotonic() - self._saved > interval_s:
                self.save_checkpoint()
            return []
        if isinstance(event, (ValidationProgress, TuningProgress)):
            return []
        self._log.append(event)
        notes = self._notify(lambda tracker: tracker.log_event(event))
        if isinstance(event, Validation):
            notes += self._record_validation(event)
        if isinstance(event, (Validation, Stopped)):
            self.save_checkpoint()
        if isinstance(event, Stopped) and event.finished:
            best = {"best_epoch": self._state.best_epoch, "best_mean_dice": self._state.best_dice}
            self._run.write_json(run_files.STATE, {"finished": True, **best})
        return notes

    def save_checkpoint(self) -> None:
        """Write a checkpoint, and in the receipt what was done since the run was started or
        resumed.
        """
        self._run.checkpoints.save(self._state, {"identity": self._identity})
        self._saved, seconds = time.monotonic(), time.time() - self._started
        session = {
            "began": self._started,
            "seconds": round(seconds, 1),
            "images": self._images,
            "images_per_second": round(self._images / max(seconds, 1e-9), 1),
        }
        self._run.update_receipt(
            lambda _: {
                "sittings": [*self._earlier_sessions, session],
                "skipped_steps": self._state.skipped,
            }
        )

    def _record_validation(self, event: Validation) -> list[Note]:
        if event.best:
            self._save_best_model()
        write_learning_curve(self._run.folder)
        picture = self._draw_previews(event)
        write_jpeg(self._run.folder / run_files.VALIDATION_IMAGES, picture)
        return self._notify(lambda tracker: tracker.log_image(event.epoch, picture))

    def _save_best_model(self) -> None:
        inputs, receipt = self._inputs, self._run.receipt
        Bundle(
            recipe=inputs.recipe,
            labels=inputs.labels,
            preprocessing=inputs.preprocessing,
            weights=self._state.best_weights,
            scores={"validation_mean_dice": self._state.best_dice},
            split=inputs.split,
            contents=self._run.contents,
            fingerprints=self._run.fingerprints,
            receipt={key: receipt[key] for key in MODEL_RECEIPT_KEYS if key in receipt},
        ).save(self._run.model)

    def _draw_previews(self, event: Validation) -> UInt8[ndarray, "h w 3"]:
        """Some validation images, each with its true mask and with the one that is predicted."""
        data, labels = self._inputs.validation, self._inputs.labels
        pictures, captions = [], []
        for row, mask in sorted(event.previews.items()):
            name = data.ids[int(data.sample_index[row])]
            for drawn, caption in ((data.masks[row], "truth"), (mask, "predicted")):
                pictures.append(draw_overlay(*shrink_pair(data.images[row], drawn), labels))
                captions.append((name, caption))
        return contact_sheet(pictures, captions)

    def _notify(self, call: Callable[[Tracker], None]) -> list[Note]:
        """Call every tracker, and drop one that fails: training does not depend on it."""
        notes = []
        for tracker in list(self._trackers):
            try:
                call(tracker)
            # A service elsewhere may fail in any way
            except Exception as error:  # noqa: BLE001
                self._trackers.remove(tracker)
                notes.append(
                    Note(
                        f"{type(tracker).__name__} failed ({error}) and gets no more events; "
                        "training goes on."
                    )
                )
        return notes
