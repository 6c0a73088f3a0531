"""The service as replicas under Ray Serve."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limner.web.auth import Access
from limner.web.limits import Limits
from limner.web.service.models import ModelRepository
from limner.web.service.work_queue import WorkQueue

SPARE_REQUESTS = 8
"""How many requests beyond its capacity a replica takes, so that it can refuse them itself."""


def deployment(
    models: Mapping[str, Path],
    *,
    replicas: int = 1,
    workers: int = 1,
    waiting: int = 64,
    access: Access | None = None,
) -> Any:
    """Make what `ray.serve.run` takes.

    Ray's proxy stands before the replicas, with its own address and limits: give `access` a token
    and the names that the service is called by.

    Args:
        models: the model files by name. Every replica opens them, so that all machines need them.
        replicas: how many there are.
        workers: how many requests a replica works on at a time.
        waiting: how many more may wait in it; any others are answered 503.
        access: who may call; by default only this machine.
    """
    from ray import serve

    def build() -> Any:
        from limner.web.service.app import create_app

        return create_app(ModelRepository(models), WorkQueue(workers, waiting), access, Limits())

    class Limner:
        """One replica."""

    replica = serve.deployment(
        name="limner",
        num_replicas=replicas,
        max_ongoing_requests=workers + waiting + SPARE_REQUESTS,
    )
    return replica(serve.ingress(build)(Limner)).bind()
