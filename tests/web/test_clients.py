"""What other people's clients send: HEAD, their content types, forms, binary tensors, proxies."""

import gzip
import http.client
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx2 as httpx
import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image
from playwright.sync_api import expect

from browser import chromium
from command_line import limner
from limner.data.images import read_image
from limner.inference.predictor import Predictor
from service import Served, Start, png, problem

IMAGE = {"Content-Type": "image/png"}
JSON_LENGTH = "Inference-Header-Content-Length"
INFER = "/v2/models/lesions/infer"
GET_ROUTES = ("/", "/docs", "/healthz", "/readyz", "/metrics", "/v2", "/v2/health/ready")


def pixels_of(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.fixture(scope="module")
def masks(models: dict[str, Path]) -> list[np.ndarray]:
    """The masks of png(seed=0) and png(seed=1)."""
    predictor = Predictor.load(models["lesions"])
    return [predictor.predict(pixels_of(png(seed=seed))).mask for seed in (0, 1)]


@pytest.mark.parametrize("path", GET_ROUTES)
def test_head_is_get_without_a_body(server: Served, path: str) -> None:
    answer, whole = server.client.head(path), server.client.get(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == whole.headers["content-type"]


def test_a_connection_goes_on_after_head(server: Served) -> None:
    url = httpx.URL(server.address)
    connection = http.client.HTTPConnection(url.host, url.port)
    for method, body in (("HEAD", b""), ("GET", b'{"status":"alive"}'), ("HEAD", b"")):
        connection.request(method, "/healthz")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, body)
    connection.close()


def test_head_of_a_route_that_takes_images_is_not_allowed(server: Served) -> None:
    assert server.client.head("/v1/segment").status_code == 405


@pytest.mark.parametrize(
    "kind",
    [
        "image/jpg",
        "image/pjpeg",
        "image/x-png",
        "image/x-ms-bmp",
        "image/tif",
        "application/dicom",
        "application/octet-stream",
        "binary/octet-stream",
        "IMAGE/PNG; charset=binary",
    ],
)
def test_bytes_decide_what_the_image_is(server: Served, masks: list[np.ndarray], kind: str) -> None:
    answer = server.client.post("/v1/segment", content=png(), headers={"Content-Type": kind})
    assert answer.status_code == 200
    assert np.array_equal(pixels_of(answer.content), masks[0] * 255)


def test_a_form_with_a_file_is_read(server: Served, masks: list[np.ndarray]) -> None:
    form: dict[str, Any] = {"data": {"about": "a text"}, "files": {"image": ("a.png", png())}}
    answer = server.client.post("/v1/segment", **form)
    assert np.array_equal(pixels_of(answer.content), masks[0] * 255)
    described = server.client.post("/v1/segment", headers={"Accept": "application/json"}, **form)
    assert described.json()["name"] == "a.png"


def test_several_images_of_a_form_are_segmented(server: Served, masks: list[np.ndarray]) -> None:
    files = [("images", (name, png(seed=seed))) for seed, name in enumerate(["x/a.png", "a.jpg"])]

    def post(accept: str) -> httpx.Response:
        return server.client.post("/v1/segment", files=files, headers={"Accept": accept})

    described = post("application/json").json()
    assert [image["name"] for image in described["images"]] == ["x/a.png", "a.jpg"]
    for image, mask in zip(described["images"], masks, strict=True):
        assert image["classes"][0]["area_px"] == int((mask == 1).sum())
    assert {"timing_ms", "request_id", "images"} == set(described)
    with zipfile.ZipFile(io.BytesIO(post("application/zip").content)) as archive:
        assert archive.namelist() == ["a.png", "a-2.png"]
        for name, mask in zip(archive.namelist(), masks, strict=True):
            assert np.array_equal(pixels_of(archive.read(name)), mask * 255)
    refused = post("image/png")
    assert refused.status_code == 406 and "holds several images" in problem(refused)


def test_what_is_wrong_in_a_form_is_named(server: Served) -> None:
    files = [("images", ("good.png", png())), ("images", ("bad.png", b"nothing"))]
    answer = server.client.post("/v1/segment", files=files, headers={"Accept": "application/json"})
    assert answer.status_code == 422 and "the image bad.png" in problem(answer)
    empty = server.client.post("/v1/segment", files={"image": ("a.png", b"")})
    assert empty.status_code == 422 and "the form holds no file" in problem(empty)
    whole = httpx.Request("POST", server.address, files={"image": ("a.png", png())})
    broken = server.client.post(
        "/v1/segment",
        content=whole.read()[:-30],
        headers={"Content-Type": whole.headers["content-type"]},
    )
    assert broken.status_code == 400 and "breaks off" in problem(broken)


def test_the_images_of_a_form_have_the_pixels_of_one_together(server: Served) -> None:
    flat = io.BytesIO()
    Image.new("RGB", (900, 700)).save(flat, "PNG")
    files = [("images", (f"{place}.png", flat.getvalue())) for place in range(2)]
    answer = server.client.post("/v1/segment", files=files, headers={"Accept": "application/json"})
    assert answer.status_code == 413 and "1.png claims" in problem(answer)


def binary_request(image: np.ndarray, **keys: object) -> tuple[bytes, dict[str, str]]:
    """A request as the clients of Triton and KServe send it, and its headers."""
    tensor = {
        "name": "image",
        "shape": [1, *image.shape],
        "datatype": "UINT8",
        "parameters": {"binary_data_size": image.nbytes},
    }
    text = json.dumps({"inputs": [tensor], **keys}).encode()
    return text + image.tobytes(), {JSON_LENGTH: str(len(text))}


def tensors(answer: httpx.Response) -> dict[str, np.ndarray]:
    """The outputs of an answer, of which some may stand behind the JSON."""
    assert answer.status_code == 200, answer.text
    length = int(answer.headers.get(JSON_LENGTH, len(answer.content)))
    tail, read = answer.content[length:], {}
    for output in json.loads(answer.content[:length])["outputs"]:
        dtype = {"UINT8": "u1", "FP32": "<f4"}[output["datatype"]]
        size = output.get("parameters", {}).get("binary_data_size")
        values = (
            np.array(output["data"], dtype) if size is None else np.frombuffer(tail[:size], dtype)
        )
        tail = tail[size or 0 :]
        read[output["name"]] = values.reshape(output["shape"])
    assert not tail
    return read


@pytest.mark.parametrize(
    ("keys", "names", "binary"),
    [
        ({}, {"mask", "predicted_dice"}, False),
        ({"parameters": {"binary_data_output": True}}, {"mask", "predicted_dice"}, True),
        ({"outputs": [{"name": "mask", "parameters": {"binary_data": True}}]}, {"mask"}, True),
        ({"outputs": [{"name": "predicted_dice"}]}, {"predicted_dice"}, False),
        (
            {
                "outputs": [
                    {"name": "predicted_dice", "parameters": {"binary_data": True}},
                    {"name": "mask"},
                ]
            },
            {"mask", "predicted_dice"},
            True,
        ),
    ],
)
def test_tensors_stand_behind_the_json(
    server: Served, masks: list[np.ndarray], keys: dict[str, Any], names: set[str], binary: bool
) -> None:
    content, headers = binary_request(pixels_of(png()), **keys)
    answer = server.client.post(INFER, content=content, headers=headers)
    read = tensors(answer)
    assert set(read) == names and (JSON_LENGTH.lower() in answer.headers) is binary
    if "mask" in read:
        assert np.array_equal(read["mask"][0], masks[0])


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_bodies_and_answers_are_compressed(
    server: Served, masks: list[np.ndarray], encoding: str
) -> None:
    content, headers = binary_request(pixels_of(png()), parameters={"binary_data_output": True})
    pack = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    headers |= {"Content-Encoding": encoding, "Accept-Encoding": encoding}
    answer = server.client.post(INFER, content=pack(content), headers=headers)
    assert answer.headers["content-encoding"] == encoding
    assert np.array_equal(tensors(answer)["mask"][0], masks[0])
    image = server.client.post(
        "/v1/segment", content=pack(png()), headers={**IMAGE, "Content-Encoding": encoding}
    )
    assert np.array_equal(pixels_of(image.content), masks[0] * 255)


def test_what_a_body_becomes_is_limited_and_must_be_whole(server: Served) -> None:
    def post(content: bytes, encoding: str) -> httpx.Response:
        return server.client.post(
            "/v1/segment", content=content, headers={**IMAGE, "Content-Encoding": encoding}
        )

    bomb = post(gzip.compress(bytes(5_000_000)), "gzip")
    assert bomb.status_code == 413 and "becomes more than 1,000,000 bytes" in problem(bomb)
    assert post(gzip.compress(png())[:-20], "gzip").status_code == 400
    assert post(png(), "gzip").status_code == 400
    unknown = post(png(), "br")
    assert unknown.status_code == 415 and "as gzip, as deflate" in problem(unknown)


@pytest.mark.parametrize(
    ("keys", "headers", "message"),
    [
        ({"outputs": [{"name": "logits"}]}, {}, "There are: mask, predicted_dice"),
        ({}, {JSON_LENGTH: "7"}, "is not JSON"),
        ({}, {JSON_LENGTH: "-1"}, "length of the JSON"),
        ({}, {JSON_LENGTH: "99999999999"}, "length of the JSON"),
        ({"inputs": []}, {}, "inputs"),
    ],
)
def test_malformed_binary_requests_are_refused(
    server: Served, keys: dict[str, Any], headers: Mapping[str, str], message: str
) -> None:
    content, own = binary_request(pixels_of(png()), **keys)
    answer = server.client.post(INFER, content=content, headers={**own, **headers})
    assert answer.status_code == 400 and message in problem(answer)


def test_a_tensor_of_another_length_is_refused(server: Served) -> None:
    content, headers = binary_request(pixels_of(png()))
    answer = server.client.post(INFER, content=content[:-1], headers=headers)
    assert answer.status_code == 400 and "7,199 bytes stand behind the JSON" in problem(answer)
    other = server.client.post(INFER, content=content, headers={"Content-Type": "image/png"})
    assert other.status_code == 415 and "binary data behind JSON" in problem(other)


def test_pages_of_named_origins_may_call(start: Start, models: dict[str, Path]) -> None:
    client = start(models["lesions"], "--allow-origin", "https://lab.example").client
    ask = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-timeout-ms",
    }
    for origin, allowed in (("https://lab.example", True), ("https://other.example", False)):
        headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
        asked = client.options("/v1/segment", headers={**headers, **ask})
        assert (asked.headers.get("access-control-allow-origin") == origin) is allowed
        answer = client.post("/v1/segment", content=png(), headers={**headers, **IMAGE})
        assert answer.status_code == (200 if allowed else 403)
        assert (answer.headers.get("access-control-allow-origin") == origin) is allowed
    assert "proxy" in problem(answer)


def test_another_page_calls_it_in_a_browser(
    start: Start, server: Served, models: dict[str, Path]
) -> None:
    """The page of one service calls another one, whose origin it is not."""
    other = start(models["lesions"], "--allow-origin", server.address.rstrip("/"))
    code = """async ([address, bytes]) => {
      const body = new Uint8Array(bytes);
      const answer = await fetch(`${address}v1/segment`, {
        method: 'POST', body, headers: { 'Content-Type': 'image/png', 'X-Timeout-Ms': '9000' },
      });
      return [answer.status, answer.headers.get('x-model')];
    }"""
    with chromium() as browser:
        page = browser.new_page(bypass_csp=True)
        page.goto(server.address)
        status, model = page.evaluate(code, [other.address, list(png())])
        assert status == 200 and model


def test_a_service_below_a_path_behind_a_proxy(start: Start, models: dict[str, Path]) -> None:
    """Whether the proxy leaves the path in the address or takes it out."""
    served = start(
        models["lesions"], "--root-path", "/limner/", "--proxy", "127.0.0.1", "--allow-host",
        "lab.example",
    )  # fmt: skip
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "lab.example"}
    for path in ("/limner", ""):
        page = served.client.get(f"{path}/docs", headers=forwarded)
        assert "https://lab.example/limner/v1/segment" in page.text
        headers = {**forwarded, **IMAGE, "Origin": "https://lab.example"}
        answer = served.client.post(f"{path}/v1/segment", content=png(), headers=headers)
        assert answer.status_code == 200
    assert served.client.get("/", headers={"X-Forwarded-Host": "evil.example"}).status_code == 400
    metrics = served.client.get("/metrics").text
    assert 'limner_requests_total{route="/v1/segment",status="200"} 2.0' in metrics
    with chromium() as browser:
        page = browser.new_page()
        page.goto(f"{served.address}limner/")
        page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": png()})
        page.wait_for_selector("#classes:not([hidden])")


def test_headers_of_a_proxy_that_is_not_named_are_not_believed(server: Served) -> None:
    answer = server.client.get("/docs", headers={"X-Forwarded-Host": "evil.example"})
    assert answer.status_code == 200 and "evil" not in answer.text


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--allow-origin", "lab.example", "is no origin"),
        ("--allow-origin", "https://lab.example/", "is no origin"),
        ("--proxy", "nginx", "is no address"),
        ("--root-path", "limner", "begins with a slash"),
    ],
)
def test_options_of_clients_are_checked(
    models: dict[str, Path], option: str, value: str, message: str
) -> None:
    done = limner("serve", models["lesions"], option, value)
    assert done.returncode == 1 and message in " ".join(done.stderr.split())


def test_the_page_shows_what_browsers_cannot(server: Served, tmp_path: Path) -> None:
    """A deep TIFF, of which the mask lies over the picture."""
    pixels = np.random.default_rng(0).integers(0, 60_000, (90, 120)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "deep.tif", pixels)
    with chromium() as browser:
        page = browser.new_page()
        page.goto(server.address)
        page.set_input_files("#file", tmp_path / "deep.tif")
        page.wait_for_selector("#classes:not([hidden])")
        page.wait_for_function("() => document.getElementById('image').naturalWidth === 120")
        picture, mask = (page.locator(name).bounding_box() for name in ("#image", "#mask"))
        assert picture and mask and abs(picture["height"] - mask["height"]) < 2


def volume_bytes(seed: int, slices: int = 3) -> bytes:
    """A packed NIfTI of random grey."""
    voxels = np.random.default_rng(seed).integers(0, 255, (40, 30, slices)).astype(np.uint8)
    return gzip.compress(nibabel.Nifti1Image(voxels, np.eye(4)).to_bytes())


def test_each_slice_of_a_volume_is_segmented(
    server: Served, models: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(volume_bytes(0))
    predictor = Predictor.load(models["lesions"])
    wanted = [predictor.predict(read_image(path, page=page)).mask for page in range(3)]

    def post(accept: str) -> httpx.Response:
        return server.client.post(
            "/v1/segment",
            content=path.read_bytes(),
            headers={"Accept": accept, "Content-Type": "application/octet-stream"},
        )

    images = post("application/json").json()["images"]
    assert [image["name"] for image in images] == ["image#1", "image#2", "image#3"]
    areas = [int((mask == 1).sum()) for mask in wanted]
    assert [image["classes"][0]["area_px"] for image in images] == areas
    with zipfile.ZipFile(io.BytesIO(post("application/zip").content)) as archive:
        assert archive.namelist() == ["image-1.png", "image-2.png", "image-3.png"]
        for name, mask in zip(archive.namelist(), wanted, strict=True):
            assert np.array_equal(pixels_of(archive.read(name)), mask * 255)
    refused = post("image/png")
    assert refused.status_code == 406 and "several images" in problem(refused)


def test_the_slices_of_a_volume_have_the_pixels_of_one_image_together(server: Served) -> None:
    voxels = np.zeros((300, 300, 12), np.uint8)
    answer = server.client.post(
        "/v1/segment",
        content=gzip.compress(nibabel.Nifti1Image(voxels, np.eye(4)).to_bytes()),
        headers={"Accept": "application/json", "Content-Type": "application/gzip"},
    )
    assert answer.status_code == 413 and "claims 12 images of 300x300" in problem(answer)


def test_the_page_turns_through_a_volume(server: Served, tmp_path: Path) -> None:
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(volume_bytes(1))
    with chromium() as browser:
        page = browser.new_page()
        page.goto(server.address)
        page.set_input_files("#file", path)
        expect(page.locator("#count")).to_have_text("of 3")
        pictures = set()
        for number in ("1", "2", "3"):
            with page.expect_response("**/v1/preview*") if number != "1" else nullcontext():
                page.fill("#number", number)
                page.keyboard.press("Tab")
            page.wait_for_function("() => document.getElementById('image').naturalWidth === 40")
            pictures.add(page.get_attribute("#image", "src"))
        assert len(pictures) == 3
        with page.expect_download() as download:
            page.click("#save")
        assert download.value.suggested_filename == "masks.zip"


def test_a_preview_shows_the_image_that_is_asked_for(server: Served) -> None:
    def show(page: int) -> httpx.Response:
        return server.client.post(
            "/v1/preview",
            params={"page": page},
            content=volume_bytes(0),
            headers={"Content-Type": "application/octet-stream"},
        )

    assert show(1).status_code == 200 and show(1).content != show(2).content
    missing = show(4)
    assert missing.status_code == 422 and "has 3 images; number 4" in problem(missing)


def test_a_preview_is_small_and_upright(server: Served) -> None:
    image = Image.fromarray(np.zeros((300, 2000, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif)
    answer = server.client.post(
        "/v1/preview", content=file.getvalue(), headers={"Content-Type": "image/jpeg"}
    )
    assert answer.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(answer.content)).size == (240, 1600)
