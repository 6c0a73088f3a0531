"""What is counted, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from limner.web.service.work_queue import WorkQueue

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """What is counted, for Prometheus."""

    def __init__(self, queue: WorkQueue | None = None) -> None:
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
        if queue is not None:
            Gauge(
                "limner_inside", "requests that wait or are worked on", registry=self.registry
            ).set_function(lambda: queue.in_flight)
