"""docker/kubernetes.yaml: by Kubernetes' own schemas, and with the paths that the service has."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from service import Served

MANIFEST = Path(__file__).parent.parent / "docker" / "kubernetes.yaml"


def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(MANIFEST.read_text()))


def test_kubernetes_accepts_it() -> None:
    for document in documents():
        kubernetes_validate.validate(document, "1.33", strict=True)


def test_its_probes_and_its_metric_are_there(server: Served) -> None:
    deployment, _, scaler, _ = documents()
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert server.client.get(container[probe]["httpGet"]["path"]).status_code == 200
    (metric,) = scaler["spec"]["metrics"]
    assert f"\n{metric['pods']['metric']['name']} " in server.client.get("/metrics").text
