"""What people's folders hold: each case spoils a sound set in one way.

The check catches it with the file, the cause and the cure, or reads it as it was meant.
"""

import json
import re
from pathlib import Path

import pytest
from hostile_masks import MASKS
from hostile_sets import SETS
from hostile_spoils import HEIGHT, WIDTH, draw_image, draw_mask, write_sound_set
from hostile_understood import UNDERSTOOD
from hostile_unreadable import UNREADABLE
from PIL import Image

from limner.data.check import check
from limner.data.findings import Finding
from limner.data.scan import scan
from limner.errors import LimnerError

CAUGHT = UNREADABLE | MASKS | SETS
ALONGSIDE = {
    "one patient in training and test": {"ungrouped"},
    "few images": {"missing-mask", "missing-image"},
    "no pair at all": {"missing-mask", "missing-image"},
    "an image in the place of its mask": {"specks"},
    "a grey image in the place of its mask": {"specks"},
    "masks that are all empty": {"empty-mask"},
    "a class of a few pixels": {"specks"},
}
"""Findings that the same spoiling must give as well."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_sound_set(tmp_path / "set")
    return tmp_path / "set"


def findings(root: Path) -> list[Finding]:
    return list(check(scan(root)).findings)


def test_the_set_is_sound_before_it_is_spoilt(root: Path) -> None:
    assert findings(root) == []


def test_there_are_at_least_60_cases() -> None:
    assert len(CAUGHT) + len(UNDERSTOOD) >= 60


@pytest.mark.parametrize("case", CAUGHT)
def test_a_spoilt_set_is_caught_with_file_cause_and_cure(case: str, root: Path) -> None:
    spoil, code, severity, named, cure = CAUGHT[case]
    spoil(root)
    reported = findings(root)
    matching = [
        finding
        for finding in reported
        if (finding.code, finding.severity) == (code, severity)
        and named in finding.message
        and cure in finding.message
    ]
    assert matching, reported
    file = re.sub(r" \(.*\)$", "", matching[0].file or "")
    assert not file or Path(file).name in matching[0].message
    others = {finding.code for finding in reported} - {code} - ALONGSIDE.get(case, set())
    assert not others, reported


@pytest.mark.parametrize("case", UNDERSTOOD)
def test_an_odd_set_is_read_as_it_was_meant(case: str, root: Path) -> None:
    spoil, names = UNDERSTOOD[case]
    spoil(root)
    report = check(scan(root))
    assert [finding for finding in report.findings if finding.severity == "error"] == []
    assert report.labels is not None and report.labels.names == names
    samples = {sample.id: sample for sample in scan(root).samples}
    if report.labels.binary and "EXIF" not in case:
        difference = (samples["p05"].class_index(report.labels) != (draw_mask(5) > 0)).mean()
        assert difference == 0 if "aliased" not in case else difference < 0.03


def test_two_files_of_one_name_are_an_error(root: Path) -> None:
    Image.fromarray(draw_image(60)).save(root / "images" / "p03.jpg")
    assert [(f.code, f.severity) for f in findings(root)] == [("same-name", "error")]


def test_annotations_that_cannot_be_drawn_are_named(tmp_path: Path) -> None:
    Image.fromarray(draw_image(0)).save(tmp_path / "a.png")
    table = {
        "images": [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 2, 3]]}],
        "categories": [{"id": 1, "name": "cell"}],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(table))
    (finding,) = (f for f in findings(tmp_path) if f.severity == "error")
    assert (
        finding.code == "unreadable-mask"
        and "a.png" in finding.message
        and "polygon has 3 numbers" in finding.message
    )


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"list.csv": "image,mask,split\na.png,b.png,fifth\n"}, r"list\.csv, line 2.*fifth"),
        ({"list.csv": "image,mask\na.png,\n"}, r"list\.csv, line 2.*no image or no mask"),
        ({"classes.txt": "1 a\n1 b\n"}, r"classes\.txt gives a pixel value twice"),
        ({"groups.csv": "picture,patient\na,b\n"}, r"groups\.csv has no columns"),
        ({"labels.toml": "void = 3"}, r"labels\.toml states no classes"),
        (
            {"annotations.json": '{"images": [], "annotations": null, "categories": []}'},
            r"annotations\.json has no list of annotations",
        ),
        (
            {"groups.csv": "image,group\nnobody.png,Anna\n"},
            r"groups\.csv, line 2: no image bears the name 'nobody\.png'",
        ),
        (
            {"groups.csv": "image,group\np01,Anna\np01.png,Bert\n"},
            r"groups\.csv, line 3: p01\.png is in the groups Anna and Bert",
        ),
    ],
)
def test_a_table_that_cannot_be_used_is_named(
    root: Path, files: dict[str, str], complaint: str
) -> None:
    for name, text in files.items():
        (root / name).write_text(text)
    with pytest.raises(LimnerError, match=complaint):
        scan(root)
