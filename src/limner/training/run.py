"""The run folder: recipe, receipt, events, checkpoints and model; begin and resume."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.cache import PreparedDataset
from limner.data.loader import BatchLoader
from limner.data.overlays import contact_sheet, draw_overlay, shrink_pair
from limner.data.preprocess import Preprocessing
from limner.data.sample import Sample
from limner.data.writers.jpeg import write_jpeg
from limner.errors import LimnerError
from limner.files import atomic_file, atomic_folder, write_atomic
from limner.inference.engines import require_device
from limner.inference.predictor import Predictor
from limner.inference.tune import tune
from limner.labels import Labels
from limner.model.bundle import Bundle
from limner.model.encoders import TimmEncoder, load_pretrained
from limner.model.unet import UNet
from limner.recipe import Recipe
from limner.recipe_file import dump_recipe, load_recipe
from limner.recipe_migration import in_old_keys
from limner.training import warm_start
from limner.training.checkpoint import Checkpoints, restore_state
from limner.training.distributed import DistributedContext, convert_sync_batchnorm
from limner.training.event_log import write_learning_curve
from limner.training.hardware import NO_COMPILER, can_compile, machine_identity, processor_name
from limner.training.loop import (
    Event,
    Note,
    Stopped,
    TrainingContext,
    TrainingStep,
    Tuned,
    TuningProgress,
    Validation,
    ValidationProgress,
    fit,
)
from limner.training.step import TrainState, initial_state
from limner.training.trackers import Tracker, open_trackers

CHOOSING = 0.05
"""The share of a time budget that is kept for choosing how the model is used."""
IN_MODEL = (
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
)
"""What of the receipt stands in the model too: all that is the same when the same run is made
again.
"""
WORSE = "worse.safetensors"
"""A model that did not take the place of the one before."""
LOOKS = 10
"""How often a lock that is held is looked at, a fiftieth of a second apart, before its holder is
taken for a process that trains.
"""
VALIDATE = 10**9
"""As the step of an epoch: past its last one, so that its validation is next."""


@dataclass(frozen=True, slots=True)
class RunInputs:
    """What a run is made of, all settled before its first step."""

    recipe: Recipe
    labels: Labels
    preprocessing: Preprocessing
    train: PreparedDataset
    validation: PreparedDataset
    split: Mapping[str, Sequence[str]]
    validation_samples: Sequence[Sample]


class Run:
    """A folder that holds one training run; what is in it is valid at any moment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = folder / "model.safetensors"
        self.checkpoints = Checkpoints(folder / "last")
        self._origin = folder / "origin.safetensors"

    @classmethod
    def create(
        cls,
        folder: Path,
        recipe: Recipe,
        reasons: Mapping[str, str],
        data: Path,
        labels: Labels,
        split: Mapping[str, Sequence[str]],
        origin: Bundle | None = None,
    ) -> "Run":
        """A new run folder with its recipe, and the model that it goes on from, if any. Raises
        LimnerError where the folder is in use or cannot be made.
        """
        receipt = {
            "data": str(data.resolve()),
            "recipe_sha256": json_sha256(recipe.model_dump()),
            "split_sha256": json_sha256(split),
            "seed": recipe.train.seed,
            "began": time.time(),
            "processor": processor_name(),
            **machine_identity(recipe.train.device),
            "exact": True,
            **(
                {"continues": origin.receipt.get("split_sha256", "yes")}
                if origin is not None
                else {}
            ),
            "sittings": [],
        }
        try:
            with atomic_folder(folder) as part:
                (part / "last").mkdir()
                write_atomic(part / "recipe.toml", dump_recipe(recipe, reasons), durable=True)
                if origin is not None:
                    origin.save(cls(part)._origin)
                for name, content in (
                    ("split.json", split),
                    ("labels.json", asdict(labels)),
                    ("receipt.json", receipt),
                ):
                    write_atomic(part / name, json.dumps(content, indent=2) + "\n", durable=True)
        except FileExistsError as error:
            raise LimnerError(
                f"{folder} is there already. Nothing is overwritten: name another folder with "
                f"--out, or go on with --resume {folder}."
            ) from error
        except OSError as error:
            raise LimnerError(
                f"{folder} cannot be made: {error.strerror}. Name another folder with --out."
            ) from error
        return cls(folder)

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """An existing run. Raises LimnerError where there is none."""
        if not (folder / "recipe.toml").is_file() or not (folder / "receipt.json").is_file():
            raise LimnerError(
                f"{folder} is no run: it has no recipe.toml and receipt.json. Runs lie in the "
                "runs/ folder."
            )
        return cls(folder)

    @property
    def recipe(self) -> Recipe:
        return load_recipe(self.folder / "recipe.toml")

    @property
    def split(self) -> dict[str, list[str]]:
        """The ids of each side, settled when the run began."""
        return self.read_json("split.json")

    @property
    def labels(self) -> Labels:
        """The classes, settled when the run began."""
        return Labels.from_dict(self.read_json("labels.json"))

    @property
    def origin(self) -> Bundle | None:
        """The model that the run goes on from, if any."""
        return Bundle.load(self._origin) if self._origin.is_file() else None

    @property
    def receipt(self) -> dict[str, Any]:
        """What the run is made of and where it ran."""
        return self.read_json("receipt.json")

    @property
    def data(self) -> Path:
        """The dataset that the run was begun with."""
        return Path(self.receipt["data"])

    def train(
        self,
        ingredients: RunInputs,
        began: float,
        stop_asked: Callable[[], bool],
        mine: DistributedContext,
    ) -> Iterator[Event]:
        """Train, or go on from the newest whole checkpoint; every event is logged, and the best
        model so far is always in the folder.

        `began` is the moment of the monotonic clock from which a time budget counts. Closing the
        generator saves. Of several processes the first one writes. Raises LimnerError where every
        checkpoint is damaged, the recipe is not that of the beginning, or another process trains
        this run.
        """
        recipe = ingredients.recipe
        require_device(recipe.train.device)
        if recipe.train.batch_size % mine.world_size:
            raise LimnerError(
                f"a batch of {recipe.train.batch_size} cannot be shared by {mine.world_size} "
                "processes. Take a number of them that divides it."
            )
        if self.receipt["recipe_sha256"] not in {
            json_sha256(recipe.model_dump()),
            json_sha256(in_old_keys(recipe.model_dump())),
        }:
            raise LimnerError(
                f"{self.folder} was begun with another recipe than "
                f"{self.folder / 'recipe.toml'} holds. Put the recipe back as it was."
            )
        with self._locked() if mine.is_main else nullcontext():
            torch.manual_seed(recipe.train.seed)
            network = UNet.from_settings(
                recipe.model, recipe.data.channels, ingredients.labels.out_channels
            )
            loaded = self.checkpoints.load()
            before = self.origin
            if before is not None:
                network.load_state_dict(dict(before.weights))
            elif isinstance(network.encoder, TimmEncoder) and loaded is None:
                load_pretrained(
                    network.encoder,
                    recipe.model.encoder,
                    recipe.model.encoder_weights,
                    recipe.data.channels,
                )
            convert_sync_batchnorm(network, mine)
            state, notes = initial_state(network, recipe.train), list[Note]()
            made_by = {
                **machine_identity(recipe.train.device),
                "processes": mine.world_size,
                "training data": ingredients.train.key,
            }
            made_by |= {"validation data": ingredients.validation.key}
            if loaded is not None:
                restore_state(state, loaded)
                notes = [
                    Note(f"{damage} The checkpoint before it is taken.")
                    for damage in loaded.damaged
                ]
                notes += self._differences(loaded.about["identity"], made_by, mine)
                notes += self._lost_best(state, mine)
            if recipe.train.compile and not can_compile(recipe.train.device):
                recipe = recipe.replace({"train.compile": False})
                if mine.is_main:
                    self._not_exact([NO_COMPILER])
                notes.append(
                    Note(
                        f"{NO_COMPILER}: training goes on without torch.compile, and not bit "
                        "for bit. receipt.json says so."
                    )
                )
            device = (
                torch.device("cuda", torch.cuda.current_device())
                if recipe.train.device == "cuda"
                else torch.device(recipe.train.device)
            )
            batches = BatchLoader(
                ingredients.train,
                recipe.train.batch_size,
                recipe.augment,
                recipe.train.seed,
                device,
                (mine.rank, mine.world_size),
            )
            minutes = recipe.train.minutes
            share = 1 - CHOOSING * (
                1 if before is None else 2
                # What is chosen and judged afterwards has its own time
            )
            left = Deadline(minutes * 60 * share * (1 - state.progress), began) if minutes else None
            outside = TrainingContext(left, stop_asked, mine)
            events = fit(
                state,
                batches,
                ingredients.validation,
                ingredients.preprocessing,
                ingredients.labels,
                recipe,
                outside,
            )
            if not mine.is_main:
                yield from events
                return
            with Recorder(self, state, ingredients, made_by) as desk:
                for note in notes:
                    desk.log(note)
                    yield note
                try:
                    for event in events:
                        if isinstance(event, Stopped) and event.finished:
                            yield from desk.choose(stop_asked)
                            yield from desk.judge(stop_asked)
                            if stop_asked():
                                event = Stopped("a stop was asked for", finished=False)
                        yield from desk.see(event)
                        yield event
                except (
                    GeneratorExit
                    # At a yield the state is whole, as it need not be in the middle of a step
                ):
                    desk.save()
                    raise

    def _differences(
        self, then: Mapping[str, Any], now: Mapping[str, Any], mine: DistributedContext
    ) -> list[Note]:
        """A note, and a mark in the receipt, where the machine or the data are not those that the
        run began with.
        """
        changed = [
            f"{key} was {then.get(key)} and is {now.get(key)}"
            for key in sorted({*then, *now})
            if then.get(key) != now.get(key)
        ]
        if not changed:
            return []
        if mine.is_main:
            self._not_exact(changed)
        return [
            Note(
                f"this is not the same run bit for bit any more: {'; '.join(changed)}. "
                "receipt.json says so."
            )
        ]

    def _lost_best(self, state: TrainState, mine: DistributedContext) -> list[Note]:
        """A note where the best model is gone or damaged; a validation at once, or that of this
        epoch, then replaces it.
        """
        if state.best_epoch == 0:
            return []
        try:
            Bundle.load(self.model)
        except LimnerError as error:
            state.best_dice = -1.0
            if state.step == 0:
                state.epoch, state.step = state.epoch - 1, VALIDATE
            if mine.is_main:
                self._not_exact([str(error)])
            return [Note(f"{error} The next validation writes it anew.")]
        return []

    def _not_exact(self, causes: Sequence[str]) -> None:
        """Write down why the run is not the same bit for bit any more; each cause once, however
        often the run goes on.
        """
        self.amend(
            lambda receipt: {
                "exact": False,
                "not_exact_because": list(
                    dict.fromkeys([*receipt.get("not_exact_because", ()), *causes])
                ),
            }
        )

    def in_use(self) -> bool:
        """Whether a process trains this run now."""
        try:
            with self._locked():
                return False
        except LimnerError:
            return True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes out while this one trains."""
        try:
            import fcntl
        except ImportError:
            # Windows has none
            yield
            return
        with (self.folder / "lock").open("w") as lock:
            for tries in range(
                LOOKS,
                -1,
                -1,
                # Who only asks whether it is in use holds the lock as well, for a moment
            ):
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if not tries:
                        raise LimnerError(
                            f"another process is training {self.folder}. Wait for it, or stop "
                            "it first."
                        ) from error
                    time.sleep(0.02)
            yield

    def read_json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        write_atomic(self.folder / name, json.dumps(content, indent=2) + "\n", durable=True)

    def amend(self, changes: Callable[[dict[str, Any]], Mapping[str, Any]]) -> dict[str, Any]:
        """Change the receipt by what `changes` makes of it, in one step, since others (`limner
        test`) may write into it as well; as it is then.
        """
        path = self.folder / "receipt.json"
        with atomic_file(path, durable=True) as part:
            receipt = self.receipt
            receipt |= changes(receipt)
            part.write_text(json.dumps(receipt, indent=2) + "\n", encoding="utf-8")
        return receipt


class Recorder:
    """Where the first process writes down what happens: the log, the checkpoints, the best model,
    pictures and receipt.
    """

    def __init__(
        self, run: Run, state: TrainState, ingredients: RunInputs, made_by: Mapping[str, Any]
    ) -> None:
        self._run, self._state, self._ingredients, self._made_by = run, state, ingredients, made_by
        self._trackers: list[Tracker] = open_trackers(ingredients.recipe, run.folder)
        path = run.folder / "events.jsonl"
        torn = (
            path.is_file() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
            # A kill or a full disk cut the last line off
        )
        self._log = path.open("a", encoding="utf-8")
        self._log.write("\n" * torn)
        self._before = run.receipt["sittings"]
        self._began, self._saved, self._images = time.time(), time.monotonic(), 0
        run.amend(
            lambda _: {
                "data_sha256": json_sha256([ingredients.train.key, ingredients.validation.key])
            }
        )

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()
        self._tell(lambda tracker: tracker.close())

    def see(self, event: Event) -> list[Note]:
        """Write what an event asks for, and say what a person should know of that."""
        if isinstance(event, TrainingStep):
            self._images += event.images
            if time.monotonic() - self._saved > self._ingredients.recipe.train.checkpoint_seconds:
                self.save()
            return []
        if isinstance(event, (ValidationProgress, TuningProgress)):
            return []
        notes = self.log(event)
        if isinstance(event, Validation):
            if event.best:
                self._save_best()
            write_learning_curve(self._run.folder)
            picture = self._picture(event)
            write_jpeg(self._run.folder / "validation.jpg", picture)
            notes += self._tell(lambda tracker: tracker.log_image(event.epoch, picture))
        if isinstance(event, (Validation, Stopped)):
            self.save()
        if isinstance(event, Stopped) and event.finished:
            self._run.write_json(
                "state.json",
                {
                    "finished": True,
                    "best_epoch": self._state.best_epoch,
                    "best_mean_dice": self._state.best_dice,
                },
            )
        return notes

    def log(self, event: Event) -> list[Note]:
        fields = {name: getattr(event, name) for name in event.__slots__ if name != "previews"}
        self._log.write(
            json.dumps({"event": type(event).__name__.lower(), "time": time.time(), **fields})
            + "\n"
        )
        self._log.flush()
        return self._tell(lambda tracker: tracker.log_event(event))

    def _tell(self, call: Callable[[Tracker], None]) -> list[Note]:
        """Tell every tracker; one that fails is left out from then on, since training does not
        depend on it.
        """
        notes = []
        for tracker in list(self._trackers):
            try:
                call(tracker)
            except Exception as error:  # noqa: BLE001
                # What serves elsewhere may fail in any way
                self._trackers.remove(tracker)
                notes.append(
                    Note(
                        f"{type(tracker).__name__} failed ({error}) and is told nothing any "
                        "more; training goes on."
                    )
                )
        return notes

    def save(self) -> None:
        """A checkpoint, and in the receipt what this sitting has done."""
        self._run.checkpoints.save(self._state, {"identity": self._made_by})
        self._saved, seconds = time.monotonic(), time.time() - self._began
        sitting = {
            "began": self._began,
            "seconds": round(seconds, 1),
            "images": self._images,
            "images_per_second": round(self._images / max(seconds, 1e-9), 1),
        }
        self._run.amend(
            lambda _: {"sittings": [*self._before, sitting], "skipped_steps": self._state.skipped}
        )

    def choose(self, stop_asked: Callable[[], bool]) -> Iterator[Event]:
        """Let validation choose how the best model is used, and save it so; where a stop is asked
        for, leave it as it is.
        """
        bundle, made, minutes = (
            Bundle.load(self._run.model),
            self._ingredients,
            self._ingredients.recipe.train.minutes,
        )
        if bundle.confidence:
            # Chosen before this sitting
            return
        left = Deadline(minutes * 60 * CHOOSING, time.monotonic()) if minutes else lambda: math.inf
        choosing = tune(
            bundle,
            made.validation_samples,
            made.train.images,
            made.recipe.train.device,
            seconds_left=left,
        )
        looked = 0
        try:
            while not stop_asked():
                event = TuningProgress(*next(choosing))
                looked = event.count // 2
                yield event
        except StopIteration as finished:
            bundle, gains = finished.value
            bundle.save(self._run.model)
            if looked < len(made.validation_samples):
                note = Note(
                    f"the time allowed a look at {looked} of {len(made.validation_samples)} "
                    "validation images, from which the following is chosen"
                )
                self.log(note)
                yield note
            for gain in gains:
                chosen = Tuned(gain.name, gain.before, gain.gain, gain.low, gain.high, gain.taken)
                self.log(chosen)
                yield chosen

    def judge(self, stop_asked: Callable[[], bool]) -> Iterator[Event]:
        """Keep the model that the run goes on from, where the new one is worse on validation by the
        interval of the paired difference.
        """
        before, receipt = self._run.origin, self._run.receipt
        if before is None or "judged" in receipt or stop_asked():
            return
        made, minutes, aside = (
            self._ingredients,
            self._ingredients.recipe.train.minutes,
            self._run.folder / WORSE,
        )
        after = Bundle.load(
            aside if aside.exists() else self._run.model
            # A kill came between putting the old one in its place and writing that down
        )
        old, new = (
            Predictor.from_models(bundle, device=made.recipe.train.device)
            for bundle in (before, after)
        )
        left = Deadline(minutes * 60 * CHOOSING, time.monotonic()) if minutes else lambda: math.inf
        judging = warm_start.compare_on_validation(
            old, new, made.validation_samples, made.labels, left
        )
        try:
            while not stop_asked():
                yield TuningProgress(next(judging), len(made.validation_samples))
            return
        except StopIteration as finished:
            judged: warm_start.ModelComparison = finished.value
        worse = judged.interval[1] < 0
        if worse:
            after.save(aside)
            before.save(self._run.model)
        self._run.amend(
            lambda _: {"judged": {**asdict(judged), "kept": "before" if worse else "after"}}
        )
        low, high = judged.interval
        note = Note(
            f"validation Dice {judged.before:.4f} before and {judged.after:.4f} after on {judged.images} images "
            f"(95 % of the difference {low:+.4f} to {high:+.4f}): "
            + (
                (
                    "the new model is worse, so model.safetensors is the one before, and the new "
                    f"one is {WORSE}"
                )
                if worse
                else "the new model takes its place"
            )
        )
        self.log(note)
        yield note

    def _save_best(self) -> None:
        made, receipt = self._ingredients, self._run.receipt
        scores = {"validation_mean_dice": self._state.best_dice}
        known = {name: receipt[name] for name in IN_MODEL if name in receipt}
        bundle = Bundle(
            recipe=made.recipe,
            labels=made.labels,
            preprocessing=made.preprocessing,
            weights=self._state.best_weights,
            scores=scores,
            split=made.split,
            receipt=known,
        )
        bundle.save(self._run.model)

    def _picture(self, event: Validation) -> UInt8[ndarray, "h w 3"]:
        data = self._ingredients.validation
        return contact_sheet(
            [
                draw_overlay(*shrink_pair(data.images[row], mask), self._ingredients.labels)
                for row, mask in sorted(event.previews.items())
            ]
        )


def count_test(model: Path, split: str) -> int | None:
    """Write into the receipt of a model's run that a split was scored once more; how often that was
    so far, or None where it lies in no run.
    """
    run = Run(model.parent)
    if not (run.folder / "receipt.json").is_file():
        return None

    def once_more(receipt: dict[str, Any]) -> Mapping[str, Any]:
        scored = receipt.get("scored", {})
        return {"scored": {**scored, split: scored.get(split, 0) + 1}}

    return int(run.amend(once_more)["scored"][split])


def learning_curve_svg(model: Path) -> str:
    """The learning curve of a model's run as SVG; nothing where there is none."""
    curve = model.parent / "curve.svg"
    return curve.read_text(encoding="utf-8") if curve.is_file() else ""


class Deadline:
    """What remains of a time budget that began at a moment of the monotonic clock."""

    def __init__(self, seconds: float, began: float) -> None:
        self._ends = began + seconds

    def __call__(self) -> float:
        return self._ends - time.monotonic()


def next_run_folder(parent: Path, data: Path) -> Path:
    """runs/<dataset>, or runs/<dataset>-2 and so on where that is taken."""
    name = data.resolve().name or "run"
    numbered = (
        parent / (name if number == 1 else f"{name}-{number}") for number in range(1, 100_000)
    )
    return next(folder for folder in numbered if not folder.exists())


def json_sha256(content: Any) -> str:
    """The hash of what JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
