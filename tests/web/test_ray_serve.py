import subprocess
import sys
from pathlib import Path

import pytest

from service import Served, png
from waiting import free_port

pytestmark = pytest.mark.heavy

SCRIPT = """
import sys, time
from pathlib import Path
import httpx2 as httpx
import ray
from ray import serve
from limner.web.service.ray_serve import deployment

ray.init(include_dashboard=False, logging_level="ERROR")
serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[4])})
serve.run(deployment({"m": Path(sys.argv[1])}, replicas=2), name="limner")
with httpx.Client(base_url=f"http://127.0.0.1:{sys.argv[4]}", timeout=60) as client:
    body = Path(sys.argv[2]).read_bytes()
    post = lambda body: client.post(
        "/v1/segment", content=body, headers={"Content-Type": "image/png"}
    )
    answers = [post(body) for _ in range(6)]
    print([answer.status_code for answer in answers], len({answer.content for answer in answers}))
    print(post(b"broken").status_code, client.get("/readyz").status_code)
    Path(sys.argv[3]).write_bytes(answers[0].content)
serve.shutdown()
ray.shutdown()
"""


def test_replicas_under_ray_serve_answer_as_one_server_does(
    models: dict[str, Path], server: Served, tmp_path: Path
) -> None:
    (tmp_path / "photo.png").write_bytes(png())
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        SCRIPT,
        str(models["lesions"]),
        str(tmp_path / "photo.png"),
        str(tmp_path / "mask.png"),
        str(free_port()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert "[200, 200, 200, 200, 200, 200] 1\n422 200\n" in done.stdout, done.stderr[-3000:]
    answer = server.client.post("/v1/segment", content=png(), headers={"Content-Type": "image/png"})
    assert (tmp_path / "mask.png").read_bytes() == answer.content
