"""The page without a server, in a real browser, opened from a folder."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser

from browser import chromium
from command_line import limner
from limner.data.synthetic import draw_lesion
from limner.data.writers.png import write_png
from limner.errors import LimnerError
from limner.inference.predictor import Predictor
from limner.inference.tta import TTA_TRANSFORMS
from limner.model.bundle import Bundle
from limner.model.metadata import InferenceSettings, PostprocessSettings
from limner.web import standalone
from limner.web.standalone import write_page
from service import write_model
from shared_folder import shared_folder

STEPS = (
    PostprocessSettings(),
    PostprocessSettings(keep_largest=True, fill_holes=True),
    PostprocessSettings(remove_small=True),
    PostprocessSettings(fill_holes=True),
)
SIZES_PX = ((90, 120), (33, 64), (200, 77))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runtime of the page, which npm fetches."""

    def fetch(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as environment:
            # Without a network npm would try for minutes
            environment.setenv("npm_config_fetch_retries", "0")
            environment.setenv("npm_config_fetch_timeout", "90000")
            try:
                standalone._fetch_runtime(folder / "runtime")
            except LimnerError as error:
                pytest.skip(f"onnxruntime-web is no Python package: {error}")

    return shared_folder(tmp_path_factory, "runtime", fetch) / "runtime"


def model_of(folder: Path, settings: InferenceSettings) -> Path:
    path = write_model(folder / "m.onnx").with_suffix(".safetensors")
    replace(Bundle.load(path), inference=settings).save(folder / "model.safetensors")
    return folder / "model.safetensors"


@pytest.mark.parametrize(("tta", "steps"), list(zip(TTA_TRANSFORMS, STEPS, strict=True)))
def test_a_browser_draws_the_masks_of_the_model(
    tta: str, steps: PostprocessSettings, runtime: Path, browser: Browser, tmp_path: Path
) -> None:
    model = model_of(tmp_path, InferenceSettings(0.45, tta, steps))
    folder = tmp_path / "page"
    done = limner("export", str(model), "--page", str(folder), "--runtime", str(runtime))
    assert done.returncode == 0, done.stderr
    predictor = Predictor.load(model)
    page = browser.new_page()
    messages, requests = list[str](), list[str]()
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((folder / "index.html").as_uri())
    for number, (height, width) in enumerate(SIZES_PX):
        photo = tmp_path / f"{number}.png"
        write_png(photo, draw_lesion(3, number, max(height, width))[0][:height, :width])
        page.set_input_files("#file", str(photo))
        page.locator("#status", has_text=f"{width}×{height} px").wait_for()
        with page.expect_download() as download:
            page.click("#save")
        drawn = np.asarray(Image.open(download.value.path()))[..., 0]
        expected = predictor.labels.to_pixels(predictor.predict(photo).mask)
        np.testing.assert_array_equal(drawn, expected)
        cells = page.locator("#classes td").all_text_contents()
        assert cells[0] == "lesion"
        assert int(cells[1].replace(",", "")) == int((expected > 0).sum())
    assert not messages
    assert all(url.startswith(("file:", "blob:")) for url in requests)


def test_what_is_no_image_is_named(runtime: Path, browser: Browser, tmp_path: Path) -> None:
    write_page(model_of(tmp_path, InferenceSettings()), tmp_path / "page", runtime)
    (tmp_path / "notes.png").write_text("no image")
    page = browser.new_page()
    page.goto((tmp_path / "page" / "index.html").as_uri())
    page.set_input_files("#file", str(tmp_path / "notes.png"))
    page.locator("#status.bad").wait_for()
    assert "no image that the browser can read" in page.locator("#status").inner_text()


def test_a_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    model = model_of(tmp_path, InferenceSettings())
    (tmp_path / "page").mkdir()
    done = limner("export", str(model), "--page", str(tmp_path / "page"))
    assert done.returncode == 1 and "exists already" in done.stderr
    assert not list((tmp_path / "page").iterdir())


def test_a_runtime_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(tmp_path, InferenceSettings())
    with pytest.raises(LimnerError, match=r"does not hold ort\.wasm"):
        write_page(model, tmp_path / "page", tmp_path)
    monkeypatch.setattr(standalone.shutil, "which", lambda name: None)
    with pytest.raises(LimnerError, match="there is no npm to fetch it"):
        write_page(model, tmp_path / "page")
    assert not (tmp_path / "page").exists()


@pytest.mark.parametrize("options", [("--whole-image",), ("--out", "m.onnx")])
def test_a_page_takes_no_other_options(options: tuple[str, ...], tmp_path: Path) -> None:
    model = model_of(tmp_path, InferenceSettings())
    done = limner("export", str(model), "--page", str(tmp_path / "page"), *options)
    assert done.returncode == 1 and "Give it alone" in done.stderr
    assert "Add it" in limner("export", str(model), "--runtime", str(tmp_path)).stderr
