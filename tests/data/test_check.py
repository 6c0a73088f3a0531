import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset_folders import save_image
from limner.data.check import check, foreground_shares, require_valid
from limner.data.check_page import write_check
from limner.data.findings import SEVERITIES
from limner.data.scan import scan
from limner.errors import LimnerError
from shapes import disc


def codes(root: Path) -> dict[str, str]:
    return {finding.code: finding.severity for finding in check(scan(root)).findings}


def test_a_depth_that_no_image_uses_is_one_finding(tmp_path: Path) -> None:
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 250, (20, 20)).astype(np.uint16)
        save_image(tmp_path / "images" / f"{number}.png", noise)
        save_image(tmp_path / "masks" / f"{number}.png", disc(20, radius=number + 3))
    findings = check(scan(tmp_path)).by_code()["shallow-depth"]
    assert len(findings) == 1 and findings[0].ids == ("0", "1", "2", "3")
    assert "4 images have 16 bits but no value above 249, such as" in findings[0].message


def test_a_good_dataset_has_no_finding(lesions: Path) -> None:
    result = check(scan(lesions))
    assert result.findings == ()
    assert len(result.sample_info) == 24
    assert require_valid(result).binary


def test_independent_problems_are_reported_together(pairs: Callable[..., Path]) -> None:
    root = pairs(
        {name: disc() for name in "abcdef"}
        | {"empty": np.zeros((16, 16), np.uint8), "full": np.full((16, 16), 255, np.uint8)}
    )
    (root / "masks" / "a.png").unlink()
    (root / "images" / "b.png").unlink()
    (root / "images" / "c.png").write_text("broken")
    (root / "masks" / "d.png").write_bytes((root / "masks" / "d.png").read_bytes()[:60])
    Image.fromarray(disc(20)).save(root / "masks" / "e.png")
    Image.new("RGB", (16, 16), (9, 9, 9)).save(root / "images" / "f.png")
    assert codes(root) == {
        "missing-mask": "error",
        "missing-image": "error",
        "unreadable-image": "error",
        "unreadable-mask": "error",
        "size-differs": "error",
        "blank-image": "warning",
        "empty-mask": "warning",
        "few-images": "warning",
        "full-mask": "warning",
    }


def test_the_worst_findings_come_first(pairs: Callable[..., Path]) -> None:
    root = pairs({"a": disc(), "b": disc() * 0, "c": disc()})
    (root / "images" / "c.png").write_text("broken")
    ranks = [SEVERITIES.index(finding.severity) for finding in check(scan(root)).findings]
    assert ranks == sorted(ranks) and len(set(ranks)) == 2


def test_a_dataset_with_errors_is_not_trained_on(pairs: Callable[..., Path]) -> None:
    root = pairs({"a": disc(), "b": disc()})
    (root / "masks" / "a.png").unlink()
    with pytest.raises(LimnerError, match=r"1 error:\n.*has no mask"):
        require_valid(check(scan(root)))


def test_an_allowed_error_is_let_through(pairs: Callable[..., Path]) -> None:
    for side in ("train", "test"):
        pairs({name: disc() for name in "ab"}, f"set/{side}")
    result = check(scan(pairs({"c": disc()}, "set/val").parent))
    assert {finding.code for finding in result.errors} == {"leak"}
    with pytest.raises(LimnerError, match=r"data\.allow_leaks=true"):
        require_valid(result)
    assert require_valid(result, frozenset({"leak"})).binary


def test_foreground_shares_leave_background_and_void_out(pairs: Callable[..., Path]) -> None:
    masks = {
        f"m{i}": np.array([[0, 1], [2, 255]], np.uint8).repeat(8, 0).repeat(8, 1) for i in range(2)
    }
    assert foreground_shares(check(scan(pairs(masks)))) == {"m0": 0.5, "m1": 0.5}


class _Page(HTMLParser):
    """Counts the pictures, and lists everything that the page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures, self.fetched = 0, list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"src", "href"} and value and not value.startswith("data:"):
                self.fetched.append(value)
        self.pictures += tag == "img"


def test_the_page_and_the_record_hold_every_finding(
    pairs: Callable[..., Path], tmp_path: Path
) -> None:
    root = pairs(
        {f"n{i}": disc(24, radius=3 + i / 2) for i in range(11)}
        | {"<b>": disc(24) * 0, "full": disc(24) * 0 + 255}
    )
    (root / "images" / "n3.png").write_text("broken")
    (root / "masks" / "n4.png").unlink()
    Image.fromarray(disc(20)).save(root / "masks" / "n5.png")
    dataset = scan(root)
    result = check(dataset)
    page = write_check(tmp_path / "out", dataset, result)
    text = page.read_text()
    parsed = _Page()
    parsed.feed(text)
    assert parsed.fetched == []
    assert parsed.pictures >= 11
    for code in result.by_code():
        assert f'id="{code}"' in text
    assert "&lt;b&gt;" in text and "<b>.png" not in text
    record = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert [finding["message"] for finding in record["findings"]] == [
        finding.message for finding in result.findings
    ]
    assert record["labels"]["names"] == ["background", "foreground"]


def test_the_page_of_a_set_that_cannot_be_read_is_written_as_well(
    pairs: Callable[..., Path], tmp_path: Path
) -> None:
    root = pairs({"a": disc(), "b": disc()})
    for path in root.glob("images/*"):
        path.write_text("broken")
    dataset = scan(root)
    text = write_check(tmp_path / "out", dataset, check(dataset)).read_text()
    assert "unreadable-image" in text
    assert not re.search(r"<img", text)


def test_a_folder_that_holds_something_else_is_not_written_into(
    pairs: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("mine")
    dataset = scan(pairs({"a": disc(), "b": disc()}))
    with pytest.raises(LimnerError, match="Nothing is overwritten"):
        write_check(tmp_path / "site", dataset, check(dataset))
    write_check(tmp_path / "new", dataset, check(dataset))
    write_check(tmp_path / "new", dataset, check(dataset))
    assert (tmp_path / "site" / "index.html").read_text() == "mine"


def test_a_file_name_that_is_no_text_is_survived(
    pairs: Callable[..., Path], tmp_path: Path
) -> None:
    root = pairs({"a": disc(), "b": disc() * 0})
    for kind in ("images", "masks"):
        (root / kind / "b.png").rename(os.fsdecode(os.fsencode(root / kind) + b"/caf\xe9.png"))
    done = subprocess.run(
        [sys.executable, "-m", "limner", "check", str(root)], cwd=tmp_path, capture_output=True
    )
    assert b"Traceback" not in done.stderr and b"empty-mask" in done.stdout
    assert (tmp_path / "checks" / "set" / "index.html").exists()


def test_specks_are_counted_after_the_values_became_classes(pairs: Callable[..., Path]) -> None:
    rng = np.random.default_rng(0)

    def smooth(radius: float) -> np.ndarray:
        """Two values whose border has shades, each unlike its neighbours."""
        y, x = np.mgrid[:48, :48] - 23.5
        inside = radius - np.hypot(y, x) + rng.uniform(-0.05, 0.05, y.shape)
        return np.clip(128 + 100 * inside, 0, 255).astype(np.uint8)

    root = pairs({f"m{k:02}": smooth(12 + k / 3) for k in range(10)})
    for number in range(10):
        noise = np.random.default_rng(number).integers(0, 255, (48, 48, 3)).astype(np.uint8)
        Image.fromarray(noise).save(root / "images" / f"m{number:02}.png")
    result = check(scan(root))
    assert result.labels is not None and len(result.labels.values[0]) == 1
    raw = sum(info.value_specks for info in result.sample_info)
    assert raw > 500 and result.findings == ()
    (root / "masks" / "m03.png").unlink()
    salted = np.where(rng.random((48, 48)) < 0.05, 255 - smooth(15), smooth(15))
    Image.fromarray(salted.astype(np.uint8)).save(root / "masks" / "m03.png")
    (finding,) = check(scan(root)).findings
    assert finding.code == "specks" and "m03.png has " in finding.message


def with_noise_images(root: Path) -> Path:
    """Give the images of a set other content, so that none is a copy of another."""
    for number, path in enumerate(sorted((root / "images").iterdir())):
        noise = np.random.default_rng(number).integers(0, 255, (32, 32, 3)).astype(np.uint8)
        Image.fromarray(noise).save(path)
    return root


@pytest.mark.parametrize("jitter", [0, 1])
def test_one_mask_for_all_images_is_a_warning(pairs: Callable[..., Path], jitter: int) -> None:
    def field_of_view(number: int) -> np.ndarray:
        mask = disc(32, radius=14)
        mask[16, 4 + jitter * number] = 0
        return mask

    root = with_noise_images(pairs({f"m{k}": field_of_view(k) for k in range(8)}))
    (finding,) = (f for f in check(scan(root)).findings if f.code == "same-mask")
    assert finding.severity == "warning" and finding.message.startswith("all masks are the same")
    assert "field of view" in finding.message and "m0.png" in finding.message


def test_masks_that_are_alike_for_a_reason_are_no_field_of_view(
    pairs: Callable[..., Path],
) -> None:
    moved = with_noise_images(pairs({f"m{k}": np.roll(disc(32), k, 1) for k in range(8)}, "moved"))
    copies = pairs({f"m{k}": disc(32) for k in range(8)}, "copies")
    empty = with_noise_images(pairs({f"m{k}": disc(32) * 0 for k in range(8)}, "empty"))
    for root in (moved, copies, empty):
        assert "same-mask" not in check(scan(root)).by_code()


def test_names_that_differ_in_case_are_paired_each_with_its_own(
    pairs: Callable[..., Path],
) -> None:
    root = pairs({"a": disc(16, radius=3), "A": disc(16, radius=6), "Img_01": disc(), "b": disc()})
    (root / "masks" / "Img_01.png").rename(root / "masks" / "img_01_Mask.PNG")
    dataset = scan(root)
    masks = {sample.id: Path(str(sample.mask)).name for sample in dataset.samples}
    assert masks == {"A": "A.png", "Img_01": "img_01_Mask.PNG", "a": "a.png", "b": "b.png"}
    (finding,) = (f for f in check(dataset).findings if f.code == "same-name-but-case")
    assert finding.severity == "warning" and finding.ids == ("A", "a")
    assert "only by the case of letters" in finding.message and "rename one" in finding.message


def test_a_mask_whose_name_fits_two_images_but_for_case_is_paired_with_none(
    pairs: Callable[..., Path],
) -> None:
    root = pairs({"mask_x": disc(), "Mask_X": disc(), "b": disc()})
    (root / "masks" / "mask_x.png").rename(root / "masks" / "MASK_X.png")
    (root / "masks" / "Mask_X.png").unlink()
    reported = {finding.code for finding in check(scan(root)).errors}
    assert reported == {"missing-mask", "missing-image"}
