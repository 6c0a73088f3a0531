from pathlib import Path

import numpy as np
import pytest

from limner.data.dataset import Dataset
from limner.data.sample import Sample
from limner.errors import LimnerError
from limner.inference.calibration import BINS
from limner.inference.image_metadata import read_metadata
from limner.inference.scores import ImageScore, Scores
from limner.inference.subgroups import _quarters, score_subgroups
from limner.labels import Labels

SAMPLES = [
    Sample(f"ISIC_{i:07}", Path(f"images/ISIC_{i:07}.jpg"), Path("m.png")) for i in range(12)
]


DATASET = Dataset(Path(), "images beside masks", tuple(SAMPLES))


def scores() -> Scores:
    """Twelve images, of which the later ones have larger masks and are drawn better."""
    rows = [np.array([[0, 0, 0, 0], [i + 1, 12 - i, 0, 100]]) for i in range(12)]
    labels = Labels.from_values(("background", "foreground"), (0, 255))
    images = [
        ImageScore(
            SAMPLES[i].id, row, np.zeros((1, 3)), None, None, i / 12, 0.5, np.zeros((2, BINS, 3))
        )
        for i, row in enumerate(rows)
    ]
    return Scores.from_images(images, labels)


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "about.csv"
    path.write_text(text)
    return path


def test_larger_masks_are_a_subgroup_of_their_own() -> None:
    quarters = score_subgroups(scores())["share of the image that the mask covers"]
    assert [group.images for group in quarters] == [3, 3, 3, 3]
    means = [group.mean_dice for group in quarters]
    assert means == sorted(means)
    assert all(group.interval[0] <= group.mean_dice <= group.interval[1] for group in quarters)


def test_what_is_alike_in_all_images_gives_no_subgroups() -> None:
    assert "brightness of the image" not in score_subgroups(scores())


def test_columns_of_texts_and_numbers_give_subgroups(tmp_path: Path) -> None:
    rows = "\n".join(
        f"ISIC_{i:07}.jpg,{'back' if i % 3 else 'face'},{20 + i * 2.5}" for i in range(11)
    )
    columns = read_metadata(table(tmp_path, f"image,site,age\n{rows}\n"), DATASET, SAMPLES)
    assert columns["site"][11] == "", "the last image is not in the table"
    subgroups = score_subgroups(scores(), columns)
    sites = {group.name: group.images for group in subgroups["site"]}
    assert sites == {"back": 7, "face": 4, "not stated": 1}
    assert sum(group.images for group in subgroups["age"]) >= 11


def test_many_numbers_are_cut_into_quarters_and_many_texts_left_out() -> None:
    ages = [str(20 + 3.5 * i) for i in range(11)] + [""]
    subgroups = score_subgroups(scores(), {"age": ages, "name": [f"n{i}" for i in range(12)]})
    assert [group.images for group in subgroups["age"]][:2] == [1, 1], (
        "eleven values, as many groups"
    )
    many = score_subgroups(scores(), {"age": [str(i) for i in range(6)] * 2})
    assert len(many["age"]) == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("site,age\na,1\n", "One of them must name the image"),
        ("", "has the columns none"),
        ("image,site\nother,a\n", "is about none of these images"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(LimnerError, match=message):
        read_metadata(table(tmp_path, text), DATASET, SAMPLES)


def test_a_name_that_several_images_bear_and_a_line_too_many_are_refused(tmp_path: Path) -> None:
    samples = [
        Sample(f"{patient}/001", Path(f"images/{patient}/001.png"), Path("m.png"))
        for patient in ("anna", "ben")
    ]
    dataset = Dataset(Path(), "images beside masks", tuple(samples))
    with pytest.raises(LimnerError, match=r"line 2: several images bear the name '001\.png'"):
        read_metadata(table(tmp_path, "image,site\n001.png,back\n"), dataset, samples[:1])
    assert read_metadata(
        table(tmp_path, "image;Site\nben/001;back\nimages/anna/001.png;face\n"), dataset, samples
    ) == {"Site": ["face", "back"]}
    with pytest.raises(LimnerError, match="line 3: ben/001 was named before"):
        read_metadata(table(tmp_path, "image,site\nben/001,back\nben/001,face\n"), dataset, samples)


def test_quarters_of_small_and_of_large_numbers_keep_their_images() -> None:
    subgroups = score_subgroups(scores(), {"at": [str(1_700_000_000 + i) for i in range(12)]})
    assert [group.images for group in subgroups["at"]] == [1] * 12
    many = _quarters(np.repeat(1e-5 * np.arange(1, 5), 3), as_percent=True)
    assert [len(rows) for _, rows in many] == [3, 3, 3, 3] and len(dict(many)) == 4


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LimnerError, match="cannot be read"):
        read_metadata(tmp_path / "none.csv", DATASET, SAMPLES)
