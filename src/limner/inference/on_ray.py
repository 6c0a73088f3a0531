"""Predictions spread over the workers of a Ray cluster (Ray Data); the same `folder_predictions.Work`, elsewhere."""

import json
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from limner.errors import LimnerError
from limner.inference.folder_predictions import Record, Work
from limner.inference.predictor import Predictor


class Worker:
    """One actor: it holds the models, and predicts what it is given. Files and results lie where all machines reach them."""

    def __init__(self, models: Sequence[tuple[str, bytes]], tta: str | None, work: Work) -> None:
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for number, (name, content) in enumerate(models):
                paths.append(Path(folder) / f"{number}-{name}")
                paths[-1].write_bytes(content)
            self._work = Work(Predictor.load(*(path for path in paths if path.suffix != ".bin"), tta=tta), work.images, work.out, work.targets)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        return {"line": [json.dumps(self._work(str(name))) for name in batch["name"]]}


def spread_on_ray(models: Sequence[Path], tta: str | None, workers: int) -> Callable[[Callable[[str], Record], Iterable[str]], Iterator[Record]]:
    """What `predict_folder` takes as `spread`; the cluster is that of the environment, or one begun on this machine.

    A worker that dies is begun again, and what it had under way is done once more. Raises LimnerError where Ray is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise LimnerError(f"--engine ray needs {error.name}: pip install 'limner[ray]'.") from error

    def spread(work: Callable[[str], Record], names: Iterable[str]) -> Iterator[Record]:
        assert isinstance(work, Work)
        parts = [path for model in models for path in (model, model.with_suffix(".bin")) if path.suffix != ".bin" or (model.suffix == ".xml" and path.exists())]
        contents = [(path.name, path.read_bytes()) for path in parts]
        away = Work(None, work.images, work.out, work.targets)  # type: ignore[arg-type]  # each worker opens the models itself
        if not ray.is_initialized():
            ray.init(logging_level=logging.ERROR, include_dashboard=False)
        done = ray.data.from_items([{"name": name} for name in names]).map_batches(
            Worker,
            fn_constructor_args=(contents, tta, away),
            batch_size=1,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=workers),
            max_restarts=-1,
            max_task_retries=-1,
        )
        for row in done.iter_rows():
            yield json.loads(row["line"])

    return spread
