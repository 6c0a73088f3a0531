"""The whole circle: a sample set, a model, its predictions, people who mend them, the next
revision, the next model, and the two compared.
"""

import json
from pathlib import Path

from PIL import Image

from browser import chromium
from command_line import TINY_TRAINING, run_limner
from limner.data.check import check
from limner.data.scan import scan
from limner.data.synthetic import draw_lesion
from review_page import mask_in, shown
from service import begin


def test_corrections_become_the_next_model(lesions: Path, tmp_path: Path) -> None:
    settings = [part for setting in TINY_TRAINING for part in ("--set", setting)]
    run_limner("train", lesions, "--out", tmp_path / "first", *settings)
    (tmp_path / "photos").mkdir()
    for index in range(3):
        Image.fromarray(draw_lesion(11, index, 64)[0]).save(tmp_path / "photos" / f"p{index}.png")
    run_limner(
        "predict",
        tmp_path / "first" / "model.safetensors",
        tmp_path / "photos",
        "-o",
        tmp_path / "out",
    )
    review = (tmp_path / "out", "--no-open", "--reviewer", "anna")
    served = begin(tmp_path, *review, verb="review")
    with chromium() as browser:
        page = browser.new_context(viewport={"width": 1000, "height": 700}).new_page()
        page.goto(served.address)
        shown(page, 0)
        names = [page.inner_text("#name")]
        page.keyboard.press("a")
        shown(page, 1)
        names.append(page.inner_text("#name"))
        page.evaluate("limner.tools.size(6)")
        box = page.locator("#stage").bounding_box()
        assert box is not None
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        for button in ("left", "right"):
            page.mouse.move(*middle)
            page.mouse.down(button=button)  # type: ignore[arg-type]
            page.mouse.move(middle[0] + 120, middle[1] + (60 if button == "left" else -60), steps=5)
            page.mouse.up(button=button)  # type: ignore[arg-type]
        drawn = mask_in(page)
        page.keyboard.press("Enter")
        shown(page, 2)
        page.keyboard.press("r")
        page.keyboard.press("1")
        page.wait_for_function("() => limner.unsaved === 0")
        page.wait_for_selector("#done:not([hidden])")
    assert served.stop() == 0
    output = run_limner("merge", tmp_path / "out", lesions, "-o", tmp_path / "second-set")
    assert (
        "24 samples" in output
        and "2 new ones" in output
        and "1 was rejected, 0 are not reviewed yet" in output
        and "Images: " in output
    )
    dataset = scan(tmp_path / "second-set")
    labels = check(dataset).labels
    by_id = {sample.id: sample for sample in dataset.samples}
    assert (
        labels is not None
        and (by_id[names[1].removesuffix(".png")].class_index(labels) == drawn).all()
    )
    verdicts = [
        json.loads(line)["verdict"]
        for line in (tmp_path / "second-set" / "provenance.jsonl").read_text().splitlines()
    ]
    assert sorted(verdicts) == ["accepted", "mended"]
    output = run_limner(
        "train",
        tmp_path / "second-set",
        "--from",
        tmp_path / "first",
        "--out",
        tmp_path / "second",
        "--set",
        "train.epochs=2",
    )
    assert "validation Dice" in output and (
        "the new model takes its place" in output or "the new model is worse" in output
    )
    output = run_limner(
        "test",
        tmp_path / "first" / "model.safetensors",
        tmp_path / "second" / "model.safetensors",
        tmp_path / "second-set",
    )
    assert "4 images of test" in output and "the difference is the second less the first" in output
    run_limner("masks", tmp_path / "out", "-o", tmp_path / "coco", "--format", "coco")
    assert len(json.loads((tmp_path / "coco" / "annotations.json").read_text())["images"]) == 2
