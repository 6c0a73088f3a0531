import csv
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from browser import chromium
from command_line import limner as run_limner
from limner.inference.report_page import GALLERY_IMAGES
from limner.metrics.overlap import OVERLAP_METRICS
from limner.metrics.surface import SURFACE_METRICS
from limner.model.bundle import Bundle
from shapes import disc

PHONE, DESKTOP = {"width": 375, "height": 800}, {"width": 1280, "height": 900}
SETS = (
    "data.size_px=[32,32]",
    "model.widths=[4,8,16]",
    "train.epochs=12",
    "train.batch_size=4",
    "train.device=cpu",
    "train.precision=float32",
)


@pytest.fixture(scope="module")
def run(lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the sample set, tested once."""
    folder = tmp_path_factory.mktemp("report") / "lesions"
    limner("train", str(lesions), "--out", str(folder), *(f"--set={value}" for value in SETS))
    table = folder.parent / "about.csv"
    names = sorted((lesions / "ISIC2018_Task1-2_Test_Input").glob("*.jpg"))
    table.write_text(
        "image,site\n"
        + "\n".join(f"{path.stem},{'back' if i % 2 else 'face'}" for i, path in enumerate(names))
    )
    limner("test", str(folder / "model.safetensors"), str(lesions), "--metadata", str(table))
    return folder


def limner(*arguments: str) -> str:
    process = run_limner(*arguments)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout + process.stderr


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def open_page(
    browser: Browser, path: Path, scheme: str = "light", size: dict[str, int] | None = None
) -> tuple[Page, list[str], list[str]]:
    """The page, its messages on the console, and its requests to the network."""
    page = browser.new_page(color_scheme=scheme, viewport=size or DESKTOP)  # type: ignore[arg-type]
    messages: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on(
        "request",
        lambda request: (
            requests.append(request.url) if not request.url.startswith(("file:", "data:")) else None
        ),
    )
    page.goto(path.as_uri())
    return page, messages, requests


def test_the_report_opens_offline_and_shows_what_was_scored(browser: Browser, run: Path) -> None:
    page, messages, requests = open_page(browser, run / "report" / "index.html")
    report = json.loads((run / "report" / "report.json").read_text())
    assert not messages and not requests
    assert f"{report['scores']['dice']['mean']:.3f}" in page.locator(".headline").inner_text()
    for heading in (
        "Scores",
        "Worst, median, best",
        "Subgroups",
        "Calibration and confidence",
        "Training",
        "Model card",
        "Reproduce",
    ):
        assert page.get_by_role("heading", name=heading, exact=True).is_visible(), heading
    assert page.locator("text=face").first.is_visible()
    assert "for the first time" in page.inner_text("main")
    for link in page.locator("nav a").all():
        assert page.locator(link.get_attribute("href") or "").count() == 1


def test_every_picture_is_there_with_a_name(browser: Browser, run: Path) -> None:
    page, *_ = open_page(browser, run / "report" / "index.html")
    for picture in page.locator("img").all():
        picture.scroll_into_view_if_needed()
        assert (
            picture.evaluate("async image => { await image.decode(); return image.naturalWidth }")
            >= 300
        )
        assert picture.get_attribute("alt")
    assert page.locator("article").count() >= 4
    assert page.locator("article").first.locator("img").count() == 4
    assert page.locator("svg.chart").count() >= 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_the_report_fits_the_window_and_can_be_read(
    browser: Browser, run: Path, scheme: str, size: dict[str, int]
) -> None:
    page, *_ = open_page(browser, run / "report" / "index.html", scheme, size)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    for selector in ("h1", "main p", ".faint", "td", "a", "svg.chart text", "figcaption"):
        assert page.evaluate(CONTRAST, selector) >= 4.5, f"{selector} is too pale"


CONTRAST = """selector => {
  const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1});
  const context = canvas.getContext('2d', {willReadFrequently: true});
  const linear = value => {
    const share = value / 255;
    return share <= .03928 ? share / 12.92 : ((share + .055) / 1.055) ** 2.4;
  };
  const luminance = (colour, background) => {
    for (const style of [background, colour]) {
      context.fillStyle = style;
      context.fillRect(0, 0, 1, 1);
    }
    const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map(linear);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const element = document.querySelector(selector);
  const style = getComputedStyle(element);
  const colour = element instanceof SVGElement ? style.fill : style.color;
  const background = getComputedStyle(document.body).backgroundColor;
  const text = luminance(colour, background), page = luminance(background, background);
  return (Math.max(text, page) + .05) / (Math.min(text, page) + .05);
}"""
"""The contrast of an element's text to the page, as WCAG 2 defines it."""


def test_the_table_has_a_row_for_each_image_and_every_score(run: Path, lesions: Path) -> None:
    rows = list(csv.DictReader((run / "report" / "scores.csv").read_text().splitlines()))
    assert len(rows) == len(list((lesions / "ISIC2018_Task1-2_Test_Input").glob("*.jpg")))
    report = json.loads((run / "report" / "report.json").read_text())
    for name in (*OVERLAP_METRICS, "thresholded_jaccard", *SURFACE_METRICS):
        assert report["scores"][name]["mean"] == pytest.approx(
            sum(float(row[name]) for row in rows) / len(rows)
        ), name
        assert len(report["scores"][name]["interval"]) == 2


def test_how_often_a_split_was_scored_is_counted_and_said(
    run: Path, lesions: Path, browser: Browser
) -> None:
    output = limner("test", str(run / "model.safetensors"), str(lesions))
    assert json.loads((run / "receipt.json").read_text())["scored"] == {"test": 2}
    assert "were scored 2 times" in output.replace("\n", " ")
    page, *_ = open_page(browser, run / "report" / "index.html")
    assert "2 times" in page.inner_text("main")
    limner("test", str(run / "model.safetensors"), str(lesions), "--split", "val")
    assert json.loads((run / "receipt.json").read_text())["scored"] == {"test": 2, "val": 1}
    assert (run / "report-val" / "index.html").is_file()


def test_a_name_cannot_become_markup(
    run: Path, lesions: Path, browser: Browser, tmp_path: Path
) -> None:
    table = tmp_path / "about.csv"
    names = sorted((lesions / "ISIC2018_Task1-2_Test_Input").glob("*.jpg"))
    table.write_text(
        "image,<b id=x>site\n"
        + "\n".join(
            f"{path.stem},{'<script>alert(1)</script>' if i % 2 else '<i>'}"
            for i, path in enumerate(names)
        )
    )
    model, out = str(run / "model.safetensors"), str(tmp_path / "report")
    limner("test", model, str(lesions), "--metadata", str(table), "--out", out)
    page, messages, _ = open_page(browser, tmp_path / "report" / "index.html")
    assert not messages
    assert page.locator("#x, script, main i:not([style])").count() == 0


def test_a_folder_in_use_is_left_alone(run: Path, lesions: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    process = run_limner(
        "test", str(run / "model.safetensors"), str(lesions), "--out", str(tmp_path)
    )
    assert process.returncode == 1
    assert "holds no report.json of an earlier call" in process.stderr.replace("\n", " ")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["notes.txt"]


def test_two_models_are_compared(run: Path, lesions: Path, tmp_path: Path) -> None:
    model = str(run / "model.safetensors")
    output = limner("test", model, model, str(lesions), "--out", str(tmp_path / "comparison"))
    assert "difference" in output and "won" in output
    comparison = json.loads((tmp_path / "comparison" / "comparison.json").read_text())
    dice = comparison["scores"][0]
    assert dice["difference"] == 0 and dice["same"] == comparison["images"]
    rows = (tmp_path / "comparison" / "comparison.csv").read_text().splitlines()
    assert len(rows) == comparison["images"] + 1
    page = (tmp_path / "comparison" / "index.html").read_text()
    assert "The two draw the same masks" in page and "Chance alone" not in page


def test_the_page_of_a_comparison_shows_where_two_models_differ(
    run: Path, lesions: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other" / "model.safetensors"
    other.parent.mkdir()
    bundle = Bundle.load(run / "model.safetensors")
    replace(bundle, weights={name: 0.7 * each for name, each in bundle.weights.items()}).save(other)
    limner("test", run, other, str(lesions), "--split", "all", "-o", str(tmp_path / "both"))
    page = (tmp_path / "both" / "index.html").read_text()
    table = (tmp_path / "both" / "comparison.csv").read_text()
    rows = list(csv.DictReader(table.splitlines()))
    differing = [row for row in rows if float(row["difference"])]
    shown = page.count("<article>")
    assert differing and 0 < shown <= min(len(differing), 2 * GALLERY_IMAGES)
    assert page.count("data:image/jpeg") == 4 * shown and "other is better" in page


def test_no_image_is_twice_in_a_report(run: Path) -> None:
    page = (run / "report" / "index.html").read_text()
    shown = re.findall(r"<header><b>(.*?)</b>", page)
    assert len(shown) == len(set(shown)) > 0


def test_an_ensemble_is_scored_as_one(run: Path, lesions: Path, tmp_path: Path) -> None:
    model = str(run / "model.safetensors")
    limner("test", model, model, str(lesions), "--ensemble", "--out", str(tmp_path / "both"))
    single, ensemble = (
        json.loads((folder / "report.json").read_text())["scores"]["dice"]["mean"]
        for folder in (run / "report", tmp_path / "both")
    )
    assert ensemble == pytest.approx(single)


def test_other_data_tta_and_an_ensemble_have_reports_and_lines_of_their_own(
    run: Path, lesions: Path, pairs
) -> None:
    model = str(run / "model.safetensors")
    own = (run / "report" / "report.json").read_bytes()
    test_images = sorted((lesions / "ISIC2018_Task1-2_Test_Input").glob("*.jpg"))
    # Images of the names that the training had, and masks of 0 and 1
    other = pairs({path.stem: disc(32, 1, 6 + i) for i, path in enumerate(test_images)}, "ward-b")
    output = " ".join(limner("test", str(run), str(other)).split())
    assert "none of the 4 images" in output and "are matched by class" in output
    limner("test", model, str(lesions), "--tta", "turns")
    limner("test", model, model, str(lesions), "--ensemble")
    assert (run / "report" / "report.json").read_bytes() == own
    scored = json.loads((run / "report-ward-b" / "report.json").read_text())
    assert scored["data"] == "ward-b" and scored["split"] == "all" and scored["images"] == 4
    listed = limner("runs", str(run.parent))
    for name in ("ward-b", "tta-turns", "ensemble-lesions"):
        assert f"on {name}" in listed
    counts = json.loads((run / "receipt.json").read_text())["scored"]
    assert any(key.startswith("ward-b ") for key in counts)


def test_a_damaged_image_is_named_and_the_others_are_scored(
    run: Path, lesions: Path, tmp_path: Path
) -> None:
    shutil.copytree(lesions, tmp_path / "set")
    images = sorted((tmp_path / "set" / "ISIC2018_Task1-2_Test_Input").glob("*.jpg"))
    images[-1].write_bytes(images[-1].read_bytes()[:400])
    process = run_limner(
        "test", run, tmp_path / "set", "--split", "all", "--out", tmp_path / "report"
    )
    assert process.returncode == 1 and images[-1].name in process.stderr
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["images"] == 23 and images[-1].name in report["failed"][0]
    assert images[-1].name in (tmp_path / "report" / "index.html").read_text()


def test_a_void_image_has_no_score_and_one_image_no_interval(
    run: Path, pairs, tmp_path: Path
) -> None:
    masks = {"a": disc(32, 1, 9), "b": np.full((32, 32), 2, np.uint8)}
    root = pairs(masks, "few")
    (root / "labels.toml").write_text("void = 2\n[classes]\nbackground = 0\nlesion = 1\n")
    printed = limner("test", str(run), str(root), "--out", str(tmp_path / "report"))
    output = " ".join(printed.split())
    assert "1 image has no score: void everywhere" in output
    assert "There is no interval: it takes two images with a score" in output
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["images_without_score"] == ["b"]
    assert report["scores"]["dice"]["interval"] == [None, None]
    page = (tmp_path / "report" / "index.html").read_text()
    assert "no interval: fewer than two images" in page and "1 image has no score" in page
    assert "on 2 images of few, 1 with a score</h1>" in page and "of few, 1 with a score" in output
    with (tmp_path / "report" / "scores.csv").open() as file:
        assert [row["dice"] for row in csv.DictReader(file)][1] == "nan"


def test_a_run_that_cannot_be_written_is_scored_and_not_counted(
    run: Path, lesions: Path, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "archive")
    # Nobody can lock the receipt, as on a read-only disk
    (tmp_path / "archive" / "receipt.json.lock").mkdir()
    printed = limner(
        "test", str(tmp_path / "archive"), str(lesions), "--out", str(tmp_path / "report")
    )
    output = " ".join(printed.split())
    assert "this scoring is not counted in" in output
    assert (tmp_path / "report" / "index.html").is_file()
