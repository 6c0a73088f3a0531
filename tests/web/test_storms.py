"""Small counts of what `benchmarks/serve_storms.py` does at length."""

import json
import random
import re
import runpy
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2 as httpx
import pytest

from browser import chromium
from limner.data.synthetic import write_images
from limner.web.auth import Access
from limner.web.studio.app import create_studio_app
from limner.web.studio.context import StudioContext
from service import Served, Start, png, problem, write_model

IMAGE = {"Content-Type": "application/octet-stream"}


def test_mutated_uploads_are_answered_and_nothing_breaks(server: Served) -> None:
    fuzzer = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "mutate.py"))
    chance = random.Random(0)
    files = list(fuzzer["original_files"]().values())
    uploads = [fuzzer["mutate"](files[trial % len(files)], chance)[0] for trial in range(400)]
    statuses = [
        server.client.post("/v1/segment", content=content, headers=IMAGE).status_code
        for content in uploads
    ]
    assert set(statuses) <= {200, 413, 422} and statuses.count(422) > 200
    assert server.client.get("/healthz").status_code == 200 and server.process.poll() is None


@pytest.mark.alone
def test_requests_beyond_the_queue_are_refused_at_once_and_health_answers(
    start: Start, tmp_path: Path
) -> None:
    served = start(
        write_model(tmp_path / "m" / "model.onnx", widths=(32, 64)),
        "--workers",
        "1",
        "--queue",
        "4",
    )
    slow, until = png(1500, 1500), time.monotonic() + 6
    answers: list[tuple[int, float, str | None]] = []

    def run_client(_: int) -> None:
        with httpx.Client(base_url=served.address, timeout=60) as client:
            while time.monotonic() < until:
                start_s = time.monotonic()
                answer = client.post("/v1/segment", content=slow, headers=IMAGE)
                seconds = time.monotonic() - start_s
                answers.append((answer.status_code, seconds, answer.headers.get("retry-after")))
                time.sleep(0.02 if answer.status_code == 503 else 0)

    health_s = []
    with ThreadPoolExecutor(12) as pool:
        clients = pool.map(run_client, range(12))
        while time.monotonic() < until:
            start_s = time.monotonic()
            assert served.client.get("/healthz").status_code == 200
            health_s.append(time.monotonic() - start_s)
            time.sleep(0.05)
        list(clients)
    refusals = [(seconds, retry) for status, seconds, retry in answers if status == 503]
    assert {status for status, _, _ in answers} == {200, 503}
    assert all(retry and int(retry) >= 1 for _, retry in refusals)
    answered_s = statistics.median(seconds for status, seconds, _ in answers if status == 200)
    assert (
        statistics.median(health_s) < answered_s / 5
        and statistics.median(seconds for seconds, _ in refusals) < answered_s / 5
    ), "they waited in the queue"


def _inside(served: Served) -> int:
    """How many requests the service holds."""
    lines = served.client.get("/metrics").text.splitlines()
    return int(float(next(line for line in lines if line.startswith("limner_inside ")).split()[1]))


def test_what_was_accepted_is_answered_before_the_end(start: Start, tmp_path: Path) -> None:
    served = start(
        write_model(tmp_path / "m" / "model.onnx", widths=(32, 64)),
        "--workers",
        "1",
        "--queue",
        "8",
    )
    statuses: list[int] = []

    large = png(900, 900)

    def ask() -> None:
        statuses.append(
            httpx.post(
                f"{served.address}v1/segment", content=large, headers=IMAGE, timeout=60
            ).status_code
        )

    asking = [threading.Thread(target=ask) for _ in range(6)]
    for thread in asking:
        thread.start()
    # A fast machine has answered one before the last has come
    while len(statuses) + _inside(served) < 6:
        time.sleep(0.01)
    assert served.stop() == 0
    for thread in asking:
        thread.join()
    assert statuses == [200] * 6


@pytest.mark.alone
def test_a_request_that_waits_beyond_its_timeout_is_given_up(start: Start, tmp_path: Path) -> None:
    served = start(write_model(tmp_path / "m" / "model.onnx", widths=(32, 64)), "--workers", "1")
    large = png(1500, 1500)
    with ThreadPoolExecutor(12) as pool:
        slow = [
            pool.submit(served.client.post, "/v1/segment", content=large, headers=IMAGE)
            for _ in range(12)
        ]
        while "limner_inside 12.0" not in served.client.get("/metrics").text and not slow[0].done():
            time.sleep(0.005)
        late = served.client.post(
            "/v1/segment", content=png(), headers={**IMAGE, "X-Timeout-Ms": "100"}
        )
        assert late.status_code == 504 and "did not come in time" in problem(late)
        assert all(answer.result().status_code == 200 for answer in slow)


def test_a_token_lets_in_and_nothing_else_does(start: Start, models: dict[str, Path]) -> None:
    token = "0123456789abcdef0123"
    served = start(f"a={models['lesions']}", LIMNER_TOKEN=token)
    post = served.client.post
    assert post("/v1/segment", content=png(), headers=IMAGE).status_code == 401
    assert (
        post(
            "/v1/segment", content=png(), headers={**IMAGE, "Authorization": f"Bearer {token}"}
        ).status_code
        == 200
    )
    assert (
        post(
            "/v1/segment",
            content=png(),
            headers={**IMAGE, "Authorization": f"Bearer {token}", "Origin": "http://evil.example"},
        ).status_code
        == 403
    )
    assert served.client.get("/", headers={"Host": "evil.example"}).status_code == 400
    assert (
        served.client.get("/docs").status_code
        == served.client.get("/?token=wrong").status_code
        == 401
    )
    assert served.client.get("/healthz").status_code == 200
    let_in = served.client.get(f"/?token={token}")
    assert let_in.status_code == 303 and let_in.headers["location"] == "./"
    assert (
        "HttpOnly" in let_in.headers["set-cookie"]
        and "SameSite=lax" in let_in.headers["set-cookie"]
    )
    # The client keeps the cookie
    assert served.client.get("/docs").status_code == 200
    assert token not in served.log.read_text()


def test_the_description_of_the_api_holds(server: Served) -> None:
    """Requests made from the OpenAPI document, right and wrong ones, are answered as it says, and
    never with a 500.
    """
    checks = [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
    ]
    command = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        "run",
        f"{server.address}openapi.json",
        "--checks",
        ",".join(checks),
        "--max-examples",
        "15",
        "--seed",
        "1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "Tested: 15" in done.stdout


def test_the_studio_answers_whatever_it_is_asked(start: Start, tmp_path: Path) -> None:
    """Right and wrong requests to its JSON routes, made from a document of them."""
    write_images(tmp_path / "photos", count=3, size_px=32, seed=0)
    studio = start("--no-open", verb="studio", HOME=str(tmp_path))
    opened = studio.client.post("/api/projects", json={"folder": str(tmp_path / "photos")})
    document = create_studio_app(StudioContext(tmp_path / "root", "mira", Access())).openapi()
    for path, methods in document["paths"].items():
        for parameter in (each for one in methods.values() for each in one.get("parameters", ())):
            # Of a real project no job is asked for: a training would begin
            if parameter["name"] == "id" and not path.endswith("/jobs"):
                parameter["schema"] = {"enum": [opened.json()["id"]]}
    description = tmp_path / "studio.json"
    description.write_text(json.dumps(document))
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run"),
        *(str(description), "--url", studio.address),
        # The first would draw the sample set, and the second has no end
        *("--exclude-path", "/api/sample", "--exclude-path", "/api/projects/{id}/events"),
        *("--checks", "not_a_server_error", "--max-examples", "10", "--seed", "1"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "Tested: 20" in done.stdout, done.stdout[-2000:]


def test_the_studio_loses_nothing_when_it_is_killed(tmp_path: Path) -> None:
    """A small count of what `benchmarks/studio.py kills` does at length."""
    storm = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "studio.py"))
    assert storm["kills"](tmp_path, 2)


@pytest.mark.alone
def test_a_project_of_10_000_images_answers_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storm = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "studio.py"))
    storm["large"](tmp_path, 10_000)
    said = capsys.readouterr().out
    assert "10000 pairs" in said
    medians_ms = [float(each) for each in re.findall(r": +([\d.]+) ms, at most", said)]
    assert len(medians_ms) == 4 and max(medians_ms) < 200, said
    (memory,) = re.findall(r"peak: (\d+) MiB", said)
    assert int(memory) < 300, said


def test_a_person_drops_an_image_and_sees_its_mask(server: Served, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(png(120, 160))
    with chromium() as browser:
        page = browser.new_page()
        errors: list[str] = []
        page.on(
            "console",
            lambda message: errors.append(message.text) if message.type == "error" else None,
        )
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(server.address)
        page.evaluate(
            """(bytes) => {
              const dataTransfer = new DataTransfer();
              const file = new File([new Uint8Array(bytes)], 'photo.png', { type: 'image/png' });
              dataTransfer.items.add(file);
              const drop = new DragEvent('drop', { bubbles: true, dataTransfer });
              document.getElementById('drop').dispatchEvent(drop);
            }""",
            list((tmp_path / "photo.png").read_bytes()),
        )
        page.wait_for_selector("#classes:not([hidden])")
        assert "160×120 px" in page.inner_text("#status") and "predicted Dice" in page.inner_text(
            "#status"
        )
        assert page.locator("#mask path").count() == 1
        assert page.locator("#mask").get_attribute("viewBox") == "0 0 160 120"
        with page.expect_download() as download:
            page.click("#save")
        assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")
        page.select_option("#model", "scenes")
        page.wait_for_selector("#mask path:nth-child(3)", state="attached")
        page.set_input_files(
            "#file", {"name": "x.png", "mimeType": "image/png", "buffer": b"broken"}
        )
        page.wait_for_selector("#status.bad")
        assert "not an image that can be read" in page.inner_text("#status")
        assert [text for text in errors if "422" not in text] == []
