import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.data.folder import scan
from limner.data.health import check
from limner.data.images import read_image
from limner.errors import LimnerError
from limner.review.merge import merge
from limner.review.outcome import agreement, outcomes
from reviewing import Reviewed


def test_what_was_accepted_and_mended_is_in_the_next_revision(review: Reviewed, lesions: Path, tmp_path: Path) -> None:
    kept = review.decide("new-0.png")
    mended = review.decide("new-1.png", mended=True)
    review.decide("new-2.png", rejected=True)
    merged = merge(review.predictions, review.store, lesions, tmp_path / "next")
    assert (merged.before, merged.added, merged.replaced, merged.rejected, merged.left) == (24, 2, 0, 1, 3)
    before, after = scan(lesions), scan(tmp_path / "next")
    health = check(after)
    assert not health.errors and health.labels is not None and health.labels.names == ("background", "foreground")
    by_id = {sample.id: sample for sample in after.samples}
    assert set(by_id) == {sample.id for sample in before.samples} | {"new-0", "new-1"}
    for sample in before.samples:
        again = by_id[sample.id]
        assert (again.split, again.group) == (sample.split, sample.group) and again.image.read_bytes() == sample.image.read_bytes()
        assert (again.class_index(health.labels) == sample.class_index(health.labels)).all()
    for id, mask in (("new-0", kept), ("new-1", mended)):
        assert (by_id[id].class_index(health.labels) == mask).all() and by_id[id].split == "train"
    lines = [json.loads(line) for line in (tmp_path / "next" / "provenance.jsonl").read_text().splitlines()]
    assert [(line["id"], line["verdict"], line["reviewer"], line["models"]) for line in lines] == [
        ("new-0", "accepted", "anna", ["model.onnx"]), ("new-1", "mended", "anna", ["model.onnx"]),
    ]  # fmt: skip
    events = {event.hash: event for event in review.store.events()}
    assert [events[line["event"]].mask_hash for line in lines] == [line["mask_hash"] for line in lines]


def test_a_revision_of_a_revision_knows_where_all_is_from(review: Reviewed, lesions: Path, tmp_path: Path) -> None:
    review.decide("new-0.png")
    merge(review.predictions, review.store, lesions, tmp_path / "second")
    review.decide("new-0.png", mended=True)
    review.decide("new-1.png")
    with pytest.raises(LimnerError, match=r"has this image as new-0, with another mask"):
        merge(review.predictions, review.store, tmp_path / "second", tmp_path / "third")
    merged = merge(review.predictions, review.store, tmp_path / "second", tmp_path / "third", replacing=True)
    assert (merged.before, merged.added, merged.replaced) == (25, 1, 1)
    lines = [json.loads(line) for line in (tmp_path / "third" / "provenance.jsonl").read_text().splitlines()]
    assert [(line["id"], line["verdict"]) for line in lines] == [("new-0", "accepted"), ("new-0", "mended"), ("new-1", "accepted")]


def test_conflicts_are_told_together_and_nothing_is_written(folder: Path, lesions: Path, tmp_path: Path) -> None:
    review = Reviewed(folder, twice=1.0)
    review.decide("new-0.png")
    review.decide("new-0.png", "ben", turn=2, mended=True)
    review.decide("new-1.png")
    review.decide("new-2.png")
    photos = folder.parent / "photos"
    (photos / "new-1.png").write_bytes((photos / "new-3.png").read_bytes())
    (photos / "new-2.png").unlink()
    with pytest.raises(LimnerError) as caught:
        merge(review.predictions, review.store, lesions, tmp_path / "next")
    said = str(caught.value)
    assert "3 conflicts, and nothing was written" in said
    assert "new-0.png: anna (accepted) and ben (mended) differ" in said and "new-1.png" in said and "changed since" in said and "does not exist" in said
    assert not list(tmp_path.glob("next*"))


def test_whose_verdict_counts_can_be_said_and_agreement_is_counted(folder: Path, lesions: Path, tmp_path: Path) -> None:
    review = Reviewed(folder, twice=1.0)
    review.decide("new-0.png")
    mended = review.decide("new-0.png", "ben", turn=2, mended=True)
    review.decide("new-1.png")
    review.decide("new-1.png", "ben", turn=2)
    dice = agreement(review.predictions, review.store, outcomes(review.predictions, review.store))
    assert len(dice) == 2 and dice[1] == 1.0 and dice[0] < 1
    assert list(merge(review.predictions, review.store, lesions, tmp_path / "next", prefer="ben").agreement) == dice
    dataset = scan(tmp_path / "next")
    labels = check(dataset).labels
    assert labels is not None and (next(one for one in dataset.samples if one.id == "new-0").class_index(labels) == mended).all()


def test_a_name_that_another_image_has_is_a_conflict(review: Reviewed, pairs: Callable[..., Path], tmp_path: Path) -> None:
    review.decide("new-0.png")
    data = pairs({"new-0": np.eye(16, dtype=np.uint8) * 255, "b": np.eye(16, dtype=np.uint8) * 255})
    with pytest.raises(LimnerError, match="another image of that name"):
        merge(review.predictions, review.store, data, tmp_path / "next")


def test_nothing_is_overwritten_and_nothing_is_merged_that_nobody_saw(review: Reviewed, lesions: Path, pairs: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(LimnerError, match="nobody has decided"):
        merge(review.predictions, review.store, lesions, tmp_path / "next")
    (tmp_path / "next").mkdir()
    with pytest.raises(LimnerError, match="is there already"):
        merge(review.predictions, review.store, lesions, tmp_path / "next")
    scenes = pairs({"a": np.arange(16, dtype=np.uint8)[None].repeat(16, 0) // 6, "b": np.arange(16, dtype=np.uint8)[None].repeat(16, 0) // 6})
    with pytest.raises(LimnerError, match="They must agree"):
        merge(review.predictions, review.store, scenes, tmp_path / "other")


def test_masks_keep_the_coding_of_the_set_that_they_join(review: Reviewed, pairs: Callable[..., Path], tmp_path: Path) -> None:
    """Classes as 0 and 1, which a stated void of 255 makes unlike our 0 and 255."""
    mask = np.zeros((16, 16), np.uint8)
    mask[4:9, 4:9], mask[0, 0] = 1, 255
    data = pairs({"a": mask, "b": mask})
    (data / "labels.toml").write_text("void = 255\n[classes]\nbackground = 0\nforeground = 1\n")
    kept = review.decide("new-0.png", mended=True)
    merge(review.predictions, review.store, data, tmp_path / "next")
    assert (np.asarray(Image.open(tmp_path / "next" / "masks" / "new-0.png")) == kept).all()
    dataset = scan(tmp_path / "next")
    assert dataset.stated == scan(data).stated and not check(dataset).errors


def test_images_of_a_stack_become_files_of_their_own(review: Reviewed, tmp_path: Path) -> None:
    import tifffile

    (tmp_path / "set" / "images").mkdir(parents=True)
    (tmp_path / "set" / "masks").mkdir()
    stack = np.random.default_rng(0).integers(0, 255, (3, 20, 24)).astype(np.uint8)
    masks = np.where(stack > 128, 255, 0).astype(np.uint8)
    tifffile.imwrite(tmp_path / "set" / "images" / "s.tif", stack, photometric="minisblack")
    tifffile.imwrite(tmp_path / "set" / "masks" / "s.tif", masks, photometric="minisblack")
    review.decide("new-0.png")
    merge(review.predictions, review.store, tmp_path / "set", tmp_path / "next")
    with (tmp_path / "next" / "dataset.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["s#1", "s#2", "s#3", "new-0"]
    assert (read_image(tmp_path / "next" / rows[1]["image"])[..., 0] == stack[1]).all()
    assert (np.asarray(Image.open(tmp_path / "next" / rows[1]["mask"])) == masks[1]).all()
