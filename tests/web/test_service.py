import http.client
import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx2 as httpx
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from dicom_files import dicom_dataset, save_dicom
from limner.inference.contours import trace_outlines
from limner.inference.predictor import Predictor
from limner.measures.image_parts import measure_mask
from service import Served, Start, png, problem, write_model
from waiting import free_port, wait_until

IMAGE = {"Content-Type": "image/png"}
JSON = {"Accept": "application/json", **IMAGE}


def predicted_mask(models: dict[str, Path], name: str = "lesions") -> np.ndarray:
    return Predictor.load(models[name]).predict(np.asarray(Image.open(io.BytesIO(png())))).mask


def test_an_image_comes_back_as_its_mask(server: Served, models: dict[str, Path]) -> None:
    answer = server.client.post("/v1/segment", content=png(), headers=IMAGE)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(answer.content))), predicted_mask(models) * 255
    )
    assert (
        0 <= float(answer.headers["x-predicted-dice"]) <= 1
        and "work;dur=" in answer.headers["server-timing"]
    )


def test_dicom_is_segmented_whatever_its_name(
    server: Served, models: dict[str, Path], tmp_path: Path
) -> None:
    pixels = np.asarray(Image.open(io.BytesIO(png())))
    path = save_dicom(tmp_path / "IM1", dicom_dataset(pixels, colour=True))
    for kind in ("application/dicom", "application/octet-stream"):
        answer = server.client.post(
            "/v1/segment", content=path.read_bytes(), headers={"Content-Type": kind}
        )
        assert answer.status_code == 200
        np.testing.assert_array_equal(
            np.asarray(Image.open(io.BytesIO(answer.content))), predicted_mask(models) * 255
        )


def test_json_holds_areas_boxes_run_lengths_and_trace_outlines(
    server: Served, models: dict[str, Path]
) -> None:
    body = server.client.post("/v1/segment", content=png(), headers=JSON).json()
    (lesion,) = body["classes"]
    inside = predicted_mask(models) == 1
    assert (body["width"], body["height"], body["model"]) == (60, 40, "lesions")
    assert (
        lesion["class"] == "lesion"
        and lesion["area_px"] == inside.sum()
        and lesion["share"] == pytest.approx(inside.mean())
    )
    run_lengths = {**lesion["rle"], "counts": lesion["rle"]["counts"].encode()}
    np.testing.assert_array_equal(coco.decode(run_lengths), inside)
    assert lesion["bbox"] == coco.toBbox(run_lengths).tolist()
    assert lesion["polygons"] and all(len(ring) >= 3 for ring in lesion["polygons"])
    assert set(body["timing_ms"]) == {"wait", "work"} and body["predicted_dice"] is not None


def test_json_holds_the_objects_that_limner_measure_finds(
    server: Served, models: dict[str, Path]
) -> None:
    address = "/v1/segment?objects=true"
    answer = server.client.post(address, content=png(), headers=JSON).json()
    table = measure_mask(predicted_mask(models), Predictor.load(models["lesions"]).labels)
    assert len(answer["objects"]) == len(table["part"]) > 0
    for name, values in table.items():
        got = [np.nan if row[name] is None else row[name] for row in answer["objects"]]
        np.testing.assert_array_equal(np.array(got), values)
    assert "objects" not in server.client.post("/v1/segment", content=png(), headers=JSON).json()
    assert problem(server.client.post(address, content=png(), headers=IMAGE), 406)
    only = server.client.post(f"{address}&class=background", content=png(), headers=JSON).json()
    assert only["objects"] == []


def test_objects_need_a_package_which_is_named(
    start: Start, models: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "skimage").mkdir()
    (tmp_path / "skimage" / "__init__.py").write_text("raise ImportError('not installed')")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    served = start(models["lesions"], PYTHONPATH=path)
    answer = served.client.post("/v1/segment?objects=true", content=png(), headers=JSON)
    assert "limner[measure]" in problem(answer, 501)


def test_polygons_run_along_the_outline_and_around_holes() -> None:
    inside = np.zeros((20, 30), bool)
    inside[4:14, 6:20] = True
    inside[7:10, 9:12] = False
    hole, outer = sorted(trace_outlines(inside), key=lambda ring: np.ptp(np.array(ring)[:, 0]))
    assert np.array(hole).min(0).tolist() == [9.0, 7.0] and np.array(hole).max(0).tolist() == [
        12.0,
        10.0,
    ]
    assert trace_outlines(np.zeros((3, 3), bool)) == []
    points = np.array(outer)
    assert points.min(0).tolist() == [6.0, 4.0] and points.max(0).tolist() == [20.0, 14.0]


def test_threshold_and_class_are_options(server: Served, models: dict[str, Path]) -> None:
    everything = server.client.post("/v1/segment?threshold=0.000001", content=png(), headers=IMAGE)
    assert np.asarray(Image.open(io.BytesIO(everything.content))).min() == 255
    road = server.client.post("/v1/segment?model=scenes&class=road", content=png(), headers=IMAGE)
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(road.content))),
        (predicted_mask(models, "scenes") == 1) * np.uint8(255),
    )
    body = server.client.post("/v1/segment?model=scenes", content=png(), headers=JSON).json()
    assert [item["class"] for item in body["classes"]] == ["sky", "road", "car"]
    assert body["threshold"] is None


@pytest.mark.parametrize(
    ("address", "content", "headers", "status", "message"),
    [
        ("/v1/segment", b"nonsense", IMAGE, 422, "the image is not an image that can be read"),
        ("/v1/segment", b"", IMAGE, 422, "body is empty"),
        ("/v1/segment", png()[:-100], IMAGE, 422, "the image is damaged"),
        (
            "/v1/segment",
            png(),
            {"Content-Type": "multipart/form-data; boundary=x"},
            400,
            "the form",
        ),
        ("/v1/segment", png(), {"Content-Type": "multipart/form-data"}, 400, "no boundary"),
        ("/v1/segment", png(), {"Content-Type": "text/html"}, 415, "the body is the image"),
        ("/v1/preview", b"nonsense", IMAGE, 422, "the image is not an image that can be read"),
        (
            "/v1/segment",
            png(),
            {**IMAGE, "Accept": "text/html"},
            406,
            "image/png and application/json",
        ),
        ("/v1/segment", bytes(1_000_001), IMAGE, 413, "more than 1,000,000 bytes"),
        ("/v1/segment?model=other", png(), IMAGE, 404, "There are: lesions, scenes"),
        ("/v1/segment?model=../../etc/passwd", png(), IMAGE, 404, "no model of that name"),
        ("/v1/segment?threshold=2", png(), IMAGE, 422, "threshold"),
        ("/v1/segment?threshold=nan", png(), IMAGE, 422, "threshold"),
        ("/v1/segment?model=scenes&threshold=0.5", png(), IMAGE, 422, "for two classes"),
        ("/v1/segment?class=tree", png(), IMAGE, 422, "There are: background, lesion"),
        ("/v1/segment", png(), {**IMAGE, "X-Timeout-Ms": "soon"}, 422, "X-Timeout-Ms"),
        ("/v1/nothing", png(), IMAGE, 404, "Not Found"),
        ("/static/..%2fapp.py", None, {}, 404, ""),
        ("/v1/segment", None, {}, 405, "Method Not Allowed"),
    ],
)
def test_an_error_says_how_to_mend_it(
    server: Served,
    address: str,
    content: bytes | None,
    headers: dict[str, str],
    status: int,
    message: str,
) -> None:
    answer = (
        server.client.get(address)
        if content is None
        else server.client.post(address, content=content, headers=headers)
    )
    assert answer.status_code == status
    assert message in problem(answer)


def bomb(width: int, height: int) -> bytes:
    """A small PNG of very many pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + width // 8)) for _ in range(height)) + packer.flush()
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
        + chunk(b"IDAT", rows)
        + chunk(b"IEND", b"")
    )


@pytest.mark.alone
@pytest.mark.parametrize("side", [12_000, 30_000])
def test_a_bomb_is_refused_by_its_header(server: Served, side: int) -> None:
    content = bomb(side, side)
    assert len(content) < 250_000
    before, start_s = memory(server), time.monotonic()
    answer = server.client.post("/v1/segment", content=content, headers=IMAGE)
    assert answer.status_code == 413 and "pixels" in problem(answer)
    assert time.monotonic() - start_s < 1 and memory(server) - before < 50e6


def memory(server: Served) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return (
        float(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
        * 1024
    )


def test_curl_needs_no_content_type(server: Served, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(png())
    command = [
        "curl",
        "-s",
        "--fail",
        "--data-binary",
        f"@{tmp_path / 'photo.png'}",
        f"{server.address}v1/segment",
        "-o",
        str(tmp_path / "mask.png"),
    ]
    assert subprocess.run(command).returncode == 0
    with Image.open(tmp_path / "mask.png") as mask:
        assert mask.size == (60, 40)


def test_health_and_metrics(server: Served) -> None:
    for path in (
        "/healthz",
        "/readyz",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2",
        "/docs",
        "/openapi.json",
        "/",
    ):
        assert server.client.get(path).status_code == 200, path
    server.client.post("/v1/segment", content=png(), headers=IMAGE)
    metrics = server.client.get("/metrics").text
    assert (
        'limner_requests_total{route="/v1/segment",status="200"}' in metrics
        and "limner_inside 0.0" in metrics
    )
    assert "/v1/segment" in server.client.get("/docs").text


def test_every_answer_has_security_headers_and_keeps_its_id(server: Served) -> None:
    for answer in (
        server.client.get("/", headers={"X-Request-Id": "abc-1"}),
        server.client.get("/nothing", headers={"X-Request-Id": "a b\tc"}),
    ):
        assert (
            answer.headers["x-content-type-options"] == "nosniff"
            and "default-src 'none'" in answer.headers["content-security-policy"]
        )
    assert (
        server.client.get("/", headers={"X-Request-Id": "abc-1"}).headers["x-request-id"] == "abc-1"
    )
    assert server.client.get("/", headers={"X-Request-Id": "a b"}).headers["x-request-id"] != "a b"
    lines = [
        json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")
    ]
    assert any(
        line["id"] == "abc-1" and line["route"] == "/" and line["status"] == 200 for line in lines
    )


def test_the_open_inference_protocol(server: Served, models: dict[str, Path]) -> None:
    metadata = server.client.get("/v2/models/lesions").json()
    version = metadata["versions"][0]
    assert metadata["inputs"][0]["datatype"] == "UINT8" and metadata["parameters"]["classes"] == [
        "background",
        "lesion",
    ]
    assert server.client.get(f"/v2/models/lesions/versions/{version}").status_code == 200
    assert server.client.get(f"/v2/models/lesions/versions/{version}/ready").json()["ready"] is True
    assert (
        server.client.get("/v2/models/lesions/versions/9").status_code
        == server.client.get("/v2/models/x/ready").status_code
        == 404
    )
    image = np.asarray(Image.open(io.BytesIO(png())))
    request = {
        "id": "7",
        "inputs": [
            {
                "name": "image",
                "shape": [1, *image.shape],
                "datatype": "UINT8",
                "data": image.ravel().tolist(),
            }
        ],
    }
    answer = server.client.post("/v2/models/lesions/infer", json=request).json()
    assert answer["id"] == "7" and answer["outputs"][0]["shape"] == [1, 40, 60]
    np.testing.assert_array_equal(
        np.reshape(answer["outputs"][0]["data"], (40, 60)), predicted_mask(models)
    )
    by_version = f"/v2/models/lesions/versions/{version}/infer"
    assert server.client.post(by_version, json=request).json() == answer
    assert (
        server.client.post("/v2/models/lesions/versions/9/infer", json=request).status_code == 404
    )


def test_images_of_one_size_come_in_one_request(server: Served, models: dict[str, Path]) -> None:
    image = np.asarray(Image.open(io.BytesIO(png())))
    images = np.stack([image, image[::-1], image[:, ::-1]])
    tensor = {"name": "image", "shape": images.shape, "datatype": "UINT8", "data": images.tolist()}
    answer = server.client.post("/v2/models/lesions/infer", json={"inputs": [tensor]}).json()
    mask, dice = answer["outputs"]
    assert (mask["shape"], dice["shape"]) == ([3, 40, 60], [3])
    masks = np.reshape(mask["data"], mask["shape"])
    for one, drawn, expected in zip(images, masks, dice["data"], strict=True):
        prediction = Predictor.load(models["lesions"]).predict(np.ascontiguousarray(one))
        np.testing.assert_array_equal(drawn, prediction.mask)
        assert expected == pytest.approx(prediction.predicted_dice, abs=1e-4)
    too_many = {**tensor, "shape": [10_000, 100, 100, 3], "data": []}
    refused = server.client.post("/v2/models/lesions/infer", json={"inputs": [too_many]})
    assert "the images have more than" in problem(refused, 413)


def test_arrays_of_many_numbers_are_not_read(start: Start, models: dict[str, Path]) -> None:
    answer = start(f"lesions={models['lesions']}").client.post(
        "/v2/models/lesions/infer",
        content=b" " * 16_000_001,
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 413 and "16,000,000 bytes" in problem(answer)
    assert "the image's file to /v1/segment" in problem(answer)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[" * 100_000,
        b"[]",
        b"{}",
        b'{"inputs": []}',
        b'{"inputs": [{"name": "a", "shape": [1, 2, 2, 3], "datatype": "FP32", "data": [1]}]}',
        b'{"inputs": [{"name": "a", "shape": [1, 2, 2, 3], "datatype": "UINT8", "data": [1]}]}',
        (
            b'{"inputs": [{"name": "a", "shape": [1, 1, 1, 3], "datatype": "UINT8", "data": [1, '
            b"2, 300]}]}"
        ),
        (
            b'{"inputs": [{"name": "a", "shape": [1, 1, 1, 3], "datatype": "UINT8", "data": [1, '
            b"2, [3]]}]}"
        ),
        (
            b'{"inputs": [{"name": "a", "shape": [1, 1, 1, 3], "datatype": "UINT8", "data": '
            b'["%b", 2, 3]}]}'
        )
        % (b"9" * 100_000),
        (
            b'{"inputs": [{"name": "a", "shape": [1, 1, 1, 3], "datatype": "UINT8", "data": '
            b"[[[[1, 2, 3, 4]]]]}]}"
        ),
        (
            b'{"inputs": [{"name": "a", "shape": [1, 1, 1, 3], "datatype": "UINT8", "data": '
            b"[[[[[[[[[1]]]]]]]], 2, 3]}]}"
        ),
        (
            b'{"inputs": [{"name": "a", "shape": [1, 1, 1, 3], "datatype": "UINT8", "data": '
            b"[true, 2, 3]}]}"
        ),
        b'{"inputs": [{"name": "a", "shape": [1, 0, 1, 3], "datatype": "UINT8", "data": []}]}',
        (
            b'{"inputs": [{"name": "a", "shape": [1, 1, 1, 3], "datatype": "UINT8", "data": '
            b"[1e400, 2, 3]}]}"
        ),
        (
            b'{"id": "\\ud800", "inputs": [{"name": "a", "shape": [1, 1, 1, 3], "datatype": '
            b'"UINT8", "data": [1, 2, 3]}]}'
        ),
    ],
)
def test_malformed_infer_requests_are_refused(server: Served, body: bytes) -> None:
    answer = server.client.post(
        "/v2/models/lesions/infer", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400 and problem(answer)


def test_a_new_version_is_loaded_and_a_broken_one_is_not(start: Start, tmp_path: Path) -> None:
    path = write_model(tmp_path / "m" / "model.onnx")
    served = start(f"m={path}")
    before = served.client.get("/v2/models/m").json()["versions"]
    write_model(path, seed=1)
    assert served.client.post("/v2/repository/models/m/load").json()["before"] == before[0]
    after = served.client.get("/v2/models/m").json()["versions"]
    assert after != before
    path.write_bytes(b"broken")
    refused = served.client.post("/v2/repository/models/m/load")
    assert refused.status_code == 422 and "served on" in problem(refused)
    assert served.client.get("/v2/models/m").json()["versions"] == after
    assert served.client.post("/v1/segment", content=png(), headers=IMAGE).status_code == 200


def test_a_version_is_swapped_without_a_dropped_request(start: Start, tmp_path: Path) -> None:
    path = write_model(tmp_path / "m" / "model.onnx")
    served = start(f"m={path}")
    answers, swapped = list[httpx.Response](), threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=served.address, timeout=60) as client:
            while True:
                last = swapped.is_set()
                answers.append(client.post("/v1/segment", content=png(), headers={**IMAGE, **JSON}))
                if last:
                    return

    callers = [threading.Thread(target=ask) for _ in range(2)]
    for caller in callers:
        caller.start()
    for seed in (1, 2):
        write_model(path, seed=seed)
        assert served.client.post("/v2/repository/models/m/load").status_code == 200
    swapped.set()
    for caller in callers:
        caller.join()
    assert {answer.status_code for answer in answers} == {200}
    assert answers[-1].json()["version"] == served.client.get("/v2/models/m").json()["versions"][0]
    assert len({answer.json()["version"] for answer in answers}) > 1


@pytest.mark.skipif(
    not Path("/proc/self/maps").exists(),
    reason="the system does not tell what a process has loaded",
)
def test_the_service_needs_no_torch(server: Served) -> None:
    assert server.client.post("/v1/segment", content=png(), headers=IMAGE).status_code == 200
    loaded = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "onnxruntime" in loaded and "libtorch" not in loaded


def raw(served: Served, content: bytes, wait_s: float) -> tuple[bytes, float]:
    """The answer over a bare connection, and after how many seconds it is closed."""
    url = httpx.URL(served.address)
    with socket.create_connection((url.host, url.port or 80)) as connection:
        connection.settimeout(wait_s)
        start_s = time.monotonic()
        connection.sendall(content)
        answer = b""
        # The rest of a body that is not read resets the connection
        with suppress(ConnectionResetError):
            while part := connection.recv(65536):
                answer += part
        return answer, time.monotonic() - start_s


def keep_using(served: Served, seconds: float) -> None:
    connection = http.client.HTTPConnection(
        httpx.URL(served.address).host, httpx.URL(served.address).port
    )
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b'{"status":"alive"}'
        time.sleep(0.05)
    connection.close()


def test_what_does_not_come_is_not_waited_for_and_a_connection_in_use_is_kept(
    server: Served,
) -> None:
    """All at once, since each takes as long as the server waits for the head of a request."""
    heads = (
        b"",
        b"POST /v1/segment HTTP/1.1\r\nHost: localhost\r\nX-A",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /he",
    )
    body = (
        b"POST /v1/segment HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
        b"image/png\r\nContent-Length: 1000\r\n\r\nabc"
    )
    with ThreadPoolExecutor(5) as pool:
        in_use = pool.submit(keep_using, server, 17)
        # Raises where the connection is still open then
        closed = [pool.submit(raw, server, content, 90) for content in (*heads, body)]
    in_use.result()
    answers = [connection.result()[0] for connection in closed]
    assert answers[-1].startswith(b"HTTP/1.1 408")


def test_too_large_a_body_is_not_read(server: Served) -> None:
    head = (
        b"POST /v1/segment HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
        b"image/png\r\nContent-Length: 99999999999\r\n\r\n"
    )
    answer, seconds = raw(server, head, 90)
    assert answer.startswith(b"HTTP/1.1 413") and seconds < 14, "it was waited for"
    chunks = (
        b"POST /v1/segment HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
        b"image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    ) + b"80000\r\n%b\r\n" % bytes(0x80000) * 3
    assert raw(server, chunks, 90)[0].startswith(b"HTTP/1.1 413")


def test_a_body_that_breaks_off_is_no_fault_of_the_service(server: Served) -> None:
    def counted(status: int) -> bool:
        return f'route="/v1/segment",status="{status}"' in server.client.get("/metrics").text

    url = httpx.URL(server.address)
    with socket.create_connection((url.host, url.port or 80)) as connection:
        connection.sendall(
            b"POST /v1/segment HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
            b"image/png\r\nContent-Length: 1000\r\n\r\nabc"
        )
        time.sleep(0.2)
    wait_until(lambda: counted(400))
    assert not counted(500)


def test_an_export_of_another_model_is_not_loaded(start: Start, tmp_path: Path) -> None:
    source = write_model(tmp_path / "m" / "model.onnx").with_suffix(".safetensors")
    served = start(f"m={source}")
    assert served.client.post("/v2/repository/models/m/load").status_code == 200
    times = source.stat().st_atime, source.stat().st_mtime
    source.write_bytes(
        write_model(tmp_path / "other" / "model.onnx", seed=1)
        .with_suffix(".safetensors")
        .read_bytes()
    )
    # As of a copy that keeps them
    os.utime(source, times)
    assert served.client.post("/v2/repository/models/m/load").status_code == 422
    assert "was not exported from what" in served.log.read_text()
    served.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "served on as it was" in served.log.read_text())


def test_a_sighup_before_the_server_runs_is_handled_once_it_does(tmp_path: Path) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from fastapi import FastAPI
from limner.web.server import serve
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
os.kill(os.getpid(), signal.SIGHUP)
serve(FastAPI(), "127.0.0.1", int(sys.argv[1]), print, [Path(sys.argv[2]).touch])
"""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(free_port()), str(tmp_path / "reloaded")],
        stdout=subprocess.DEVNULL,
    ) as process:
        try:
            wait_until((tmp_path / "reloaded").exists)
        finally:
            process.terminate()
