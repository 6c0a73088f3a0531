"""Predict a folder on the workers of a Ray cluster (Ray Data).

A large image is spread over the workers, in strips of its rows (`strips`).
"""

import logging
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from limner.data.large_images import open_large_image
from limner.errors import LimnerError, requires_extra
from limner.inference.batch import MapFiles
from limner.inference.predict_file import PredictFile
from limner.inference.prediction_job import FileResult, PredictionJob
from limner.inference.predictor import Predictor
from limner.inference.strips import PredictStrip, StripResult, join_strips
from limner.inference.tile_grid import Strip


class Worker:
    """One Ray actor, which holds the models and predicts files.

    Args:
        models: the files of each model, by name; the first is the one to open.
        tta: another test-time augmentation than the models' own.
        device: where the networks run.
        job: images and masks, which lie where all machines reach them.
        most_strips: in how many strips an image may be cut.
    """

    def __init__(
        self,
        models: Sequence[Mapping[str, bytes]],
        tta: str | None,
        device: str,
        job: PredictionJob,
        most_strips: int,
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
            predictor = Predictor.load(*paths, device=device, tta=tta)
        self._predict_file = PredictFile(predictor, job)
        self._predict_strip = PredictStrip(predictor, job)
        self._most_strips = most_strips

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Predict a batch of files, or of strips of files.

        Args:
            batch: the columns `name`, `index` and `count`. A count of 0 stands for a whole file.

        Returns the columns `name`, `result` and `count`. A file that is better predicted in strips
        has no result, and a count of more than 1.
        """
        name = str(batch["name"][0])
        strip = Strip(int(batch["index"][0]), int(batch["count"][0]))
        if strip.count:
            result, count = self._predict_strip(name, strip).to_json(), 0
        elif (count := self._count_strips(name)) > 1:
            result = ""
        else:
            result = self._predict_file(name).to_json()
        return {"name": [name], "result": [result], "count": [count]}

    def _count_strips(self, name: str) -> int:
        """In how many strips a file is predicted; 1 for all but large images."""
        job, predictor = self._predict_file.job, self._predict_file.predictor
        try:
            with job.images.local_file(name) as path:
                image = open_large_image(path, predictor.channels)
                most = 1 if image is None else predictor.most_strips(image.size_px)
        except LimnerError:
            # Said where it is predicted
            return 1
        return min(most, self._most_strips)


def map_on_ray(
    models: Sequence[Path], tta: str | None, workers: int, device: str = "cpu"
) -> MapFiles:
    """Create what `predict_folder` takes as `map_files`.

    It connects to the cluster that the environment names, or starts one on this machine. A worker
    that dies is started again, and its file or strip is predicted once more. Of a large image each
    worker predicts a strip.

    Args:
        models: the files of the models; they are sent to the workers.
        tta: another test-time augmentation than the models' own.
        workers: how many actors predict at once.
        device: where the networks run; each worker on "cuda" takes a GPU.

    Raises LimnerError where Ray is not installed.
    """
    with requires_extra("--engine ray", "ray"):
        import ray
        import ray.data  # noqa: F401

    return _Cluster([_read_model(path) for path in models], tta, workers, device)


@dataclass(frozen=True, slots=True)
class _Cluster:
    """Predicts the files of a job on workers, which open the models themselves."""

    models: Sequence[Mapping[str, bytes]]
    tta: str | None
    workers: int
    device: str

    def __call__(
        self, work: Callable[[str], FileResult], names: Iterable[str]
    ) -> Iterator[FileResult]:
        """Yield the results of files, large images last."""
        assert isinstance(work, PredictFile)
        # The workers' own working folder is that of who began the cluster
        job = replace(work.job, images=work.job.images.absolute(), out=work.job.out.absolute())
        large: dict[str, int] = {}
        for row in self._run(job, [(name, Strip(0, 0)) for name in names]):
            if row["count"] > 1:
                large[row["name"]] = row["count"]
            else:
                yield FileResult.from_json(row["result"])
        strips = [
            (name, Strip(index, count)) for name, count in large.items() for index in range(count)
        ]
        done = defaultdict[str, list[StripResult]](list)
        for row in self._run(job, strips) if strips else ():
            name = row["name"]
            done[name].append(StripResult.from_json(row["result"]))
            if len(done[name]) == large[name]:
                yield join_strips(work.predictor, work.job, done.pop(name))

    def _run(
        self, job: PredictionJob, items: Sequence[tuple[str, Strip]]
    ) -> Iterator[Mapping[str, Any]]:
        """Yield the rows that workers give for files and strips of them."""
        import ray
        import ray.data

        if not ray.is_initialized():
            ray.init(logging_level=logging.ERROR, include_dashboard=False)
        rows = [{"name": name, "index": strip.index, "count": strip.count} for name, strip in items]
        results = ray.data.from_items(rows).map_batches(
            Worker,
            fn_constructor_args=(self.models, self.tta, self.device, job, self.workers),
            batch_size=1,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=self.workers),
            num_gpus=int(self.device == "cuda"),
            max_restarts=-1,
            max_task_retries=-1,
        )
        yield from results.iter_rows()


def _read_model(path: Path) -> dict[str, bytes]:
    """The files of a model by name. OpenVINO keeps the weights in a second file."""
    files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    return {file.name: file.read_bytes() for file in files if file.is_file()}
