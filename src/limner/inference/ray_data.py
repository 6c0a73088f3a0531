"""Predictions spread over the workers of a Ray cluster (Ray Data); the same
`folder_predictions.Work`, elsewhere.
"""

import json
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from limner.errors import LimnerError
from limner.inference.batch import PredictFile, Record
from limner.inference.predictor import Predictor


class Worker:
    """One actor: it holds the models, and predicts what it is given. Files and results lie where
    all machines reach them.
    """

    def __init__(
        self, models: Sequence[Mapping[str, bytes]], tta: str | None, device: str, work: PredictFile
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for number, files in enumerate(
                models
                # Each in a folder of its own, since two may bear one name
            ):
                (Path(folder) / str(number)).mkdir()
                for name, content in files.items():
                    (Path(folder) / str(number) / name).write_bytes(content)
                paths.append(Path(folder) / str(number) / next(iter(files)))
            self._work = PredictFile(
                Predictor.load(*paths, device=device, tta=tta), work.images, work.out, work.targets
            )

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        return {"line": [json.dumps(self._work(str(name))) for name in batch["name"]]}


def map_on_ray(
    models: Sequence[Path], tta: str | None, workers: int, device: str = "cpu"
) -> Callable[[Callable[[str], Record], Iterable[str]], Iterator[Record]]:
    """What `predict_folder` takes as `spread`; the cluster is that of the environment, or one begun
    on this machine.

    A worker that dies is begun again, and what it had under way is done once more. Raises
    LimnerError where Ray is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise LimnerError(f"--engine ray needs {error.name}: pip install 'limner[ray]'.") from error

    parts = [
        [model, model.with_suffix(".bin")] if model.suffix == ".xml" else [model]
        for model in models
    ]
    contents = [
        {path.name: path.read_bytes() for path in files if path.is_file()} for files in parts
    ]

    def spread(work: Callable[[str], Record], names: Iterable[str]) -> Iterator[Record]:
        assert isinstance(work, PredictFile)
        # Each worker opens the models itself
        away = PredictFile(None, work.images, work.out, work.targets)  # type: ignore[arg-type]
        if not ray.is_initialized():
            ray.init(logging_level=logging.ERROR, include_dashboard=False)
        done = ray.data.from_items([{"name": name} for name in names]).map_batches(
            Worker,
            fn_constructor_args=(contents, tta, device, away),
            batch_size=1,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_gpus=int(device == "cuda"),
            max_restarts=-1,
            max_task_retries=-1,
        )
        for row in done.iter_rows():
            yield json.loads(row["line"])

    return spread
