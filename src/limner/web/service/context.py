"""What the routes of the service share."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from limner.web.limits import Limits
from limner.web.metrics import Metrics
from limner.web.service.admission import Admission
from limner.web.service.models import ModelRepository


@dataclass(frozen=True, slots=True)
class ServiceContext:
    """The state of the application."""

    models: ModelRepository
    admission: Admission
    limits: Limits
    metrics: Metrics


# A coroutine, since FastAPI would run a plain function in a thread
async def _context(request: Request) -> ServiceContext:
    return request.app.state.service


Context = Annotated[ServiceContext, Depends(_context)]
