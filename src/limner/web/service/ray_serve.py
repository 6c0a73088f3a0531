"""The same service as replicas under Ray Serve."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limner.web.auth import Access
from limner.web.limits import Limits
from limner.web.service.models import ModelRepository
from limner.web.service.work_queue import WorkQueue


def deployment(
    models: Mapping[str, Path],
    *,
    replicas: int = 1,
    workers: int = 1,
    waiting: int = 64,
    access: Access | None = None,
) -> Any:
    """What `ray.serve.run` takes: replicas of the service over models that each of them opens for
    itself, so their paths must be known on all machines.

    Each replica works on `workers` requests at a time, and `waiting` may wait in it; past that it
    answers 503. Ray's proxy stands before them, with its own address and limits; give `access` a
    token and the names that it is called by.
    """
    from ray import serve

    def build() -> Any:
        from limner.web.service.app import create_app

        return create_app(ModelRepository(models), WorkQueue(workers, waiting), access, Limits())

    class Limner:
        """One replica."""

    ready = serve.deployment(
        name="limner", num_replicas=replicas, max_ongoing_requests=workers + waiting + 8
    )
    return ready(serve.ingress(build)(Limner)).bind()
