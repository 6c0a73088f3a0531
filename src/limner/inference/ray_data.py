"""Predict a folder on the workers of a Ray cluster (Ray Data)."""

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from limner.errors import requires_extra
from limner.inference.batch import MapFiles
from limner.inference.predict_file import PredictFile
from limner.inference.prediction_job import FileResult, PredictionJob
from limner.inference.predictor import Predictor


class Worker:
    """One Ray actor, which holds the models and predicts files.

    Args:
        models: the files of each model, by name; the first is the one to open.
        tta: another test-time augmentation than the models' own.
        device: where the networks run.
        job: images and masks, which lie where all machines reach them.
    """

    def __init__(
        self,
        models: Sequence[Mapping[str, bytes]],
        tta: str | None,
        device: str,
        job: PredictionJob,
    ) -> None:
        with tempfile.TemporaryDirectory() as root:
            paths = []
            for number, files in enumerate(models):
                # A folder for each model, since two may have the same name
                folder = Path(root) / str(number)
                folder.mkdir()
                for name, content in files.items():
                    (folder / name).write_bytes(content)
                paths.append(folder / next(iter(files)))
            self._predict_file = PredictFile(Predictor.load(*paths, device=device, tta=tta), job)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Predict a batch of files: a column of names becomes a column of results."""
        results = [self._predict_file(str(name)) for name in batch["name"]]
        return {"result": [result.to_json() for result in results]}


def map_on_ray(
    models: Sequence[Path], tta: str | None, workers: int, device: str = "cpu"
) -> MapFiles:
    """Create what `predict_folder` takes as `map_files`.

    It connects to the cluster that the environment names, or starts one on this machine. A worker
    that dies is started again, and its file is predicted once more.

    Args:
        models: the files of the models; they are sent to the workers.
        tta: another test-time augmentation than the models' own.
        workers: how many actors predict at once.
        device: where the networks run; each worker on "cuda" takes a GPU.

    Raises LimnerError where Ray is not installed.
    """
    with requires_extra("--engine ray", "ray"):
        import ray
        import ray.data

    contents = [_read_model(path) for path in models]

    def map_files(work: Callable[[str], FileResult], names: Iterable[str]) -> Iterator[FileResult]:
        # Each worker opens the models itself
        assert isinstance(work, PredictFile)
        # The workers' own working folder is that of who began the cluster
        job = replace(work.job, images=work.job.images.absolute(), out=work.job.out.absolute())
        if not ray.is_initialized():
            ray.init(logging_level=logging.ERROR, include_dashboard=False)
        results = ray.data.from_items([{"name": name} for name in names]).map_batches(
            Worker,
            fn_constructor_args=(contents, tta, device, job),
            batch_size=1,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_gpus=int(device == "cuda"),
            max_restarts=-1,
            max_task_retries=-1,
        )
        for row in results.iter_rows():
            yield FileResult.from_json(row["result"])

    return map_files


def _read_model(path: Path) -> dict[str, bytes]:
    """The files of a model by name. OpenVINO keeps the weights in a second file."""
    files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    return {file.name: file.read_bytes() for file in files if file.is_file()}
