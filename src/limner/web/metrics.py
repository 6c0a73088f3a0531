"""Counts and times, for Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The metrics of one application. `in_flight` gives how many requests are in its work queue."""

    def __init__(self, in_flight: Callable[[], float] | None = None) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "limner_requests",
            "answers by route and status",
            ["route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "limner_request_seconds",
            "from a request's head to its answer",
            ["route"],
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self.stages = Histogram(
            "limner_stage_seconds",
            "waiting, and decoding with all that follows",
            ["stage"],
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        if in_flight is not None:
            gauge = Gauge(
                "limner_inside", "requests that wait or are worked on", registry=self.registry
            )
            gauge.set_function(in_flight)
