import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.data.check import check
from limner.data.images import read_image
from limner.data.scan import scan
from limner.data.synthetic import draw_lesion
from limner.data.writers.tiff import encode_tiff
from limner.errors import LimnerError
from limner.review.formats import EXPORTERS, write_masks
from limner.review.merge import merge
from limner.review.predictions import read_predictions
from limner.review.verdicts import agreement, reviewed_entries
from review_server import Reviewed


def test_what_was_accepted_and_mended_is_in_the_next_revision(
    review: Reviewed, lesions: Path, tmp_path: Path
) -> None:
    kept = review.decide("new-0.png")
    mended = review.decide("new-1.png", mended=True)
    review.decide("new-2.png", rejected=True)
    merged = merge(review.predictions, review.store, lesions, tmp_path / "next")
    assert (merged.before, merged.added, merged.replaced, merged.rejected, merged.left) == (
        24,
        2,
        0,
        1,
        3,
    )
    before, after = scan(lesions), scan(tmp_path / "next")
    health = check(after)
    assert (
        not health.errors
        and health.labels is not None
        and health.labels.names == ("background", "foreground")
    )
    by_id = {sample.id: sample for sample in after.samples}
    assert set(by_id) == {sample.id for sample in before.samples} | {"new-0", "new-1"}
    for sample in before.samples:
        again = by_id[sample.id]
        assert (again.split, again.group) == (
            sample.split,
            sample.group,
        ) and again.image.read_bytes() == sample.image.read_bytes()
        assert (again.class_index(health.labels) == sample.class_index(health.labels)).all()
    for id, mask in (("new-0", kept), ("new-1", mended)):
        assert (by_id[id].class_index(health.labels) == mask).all() and by_id[id].split == "train"
    lines = [
        json.loads(line)
        for line in (tmp_path / "next" / "provenance.jsonl").read_text().splitlines()
    ]
    assert [(line["id"], line["verdict"], line["reviewer"], line["models"]) for line in lines] == [
        ("new-0", "accepted", "anna", ["model.onnx"]),
        ("new-1", "mended", "anna", ["model.onnx"]),
    ]
    events = {event.hash: event for event in review.store.events()}
    assert [events[line["event"]].mask_hash for line in lines] == [
        line["mask_hash"] for line in lines
    ]


def test_a_revision_of_a_revision_knows_where_all_is_from(
    review: Reviewed, lesions: Path, tmp_path: Path
) -> None:
    review.decide("new-0.png")
    merge(review.predictions, review.store, lesions, tmp_path / "second")
    review.decide("new-0.png", mended=True)
    review.decide("new-1.png")
    with pytest.raises(LimnerError, match=r"has this image as new-0, with another mask"):
        merge(review.predictions, review.store, tmp_path / "second", tmp_path / "third")
    merged = merge(
        review.predictions, review.store, tmp_path / "second", tmp_path / "third", replacing=True
    )
    assert (merged.before, merged.added, merged.replaced) == (25, 1, 1)
    lines = [
        json.loads(line)
        for line in (tmp_path / "third" / "provenance.jsonl").read_text().splitlines()
    ]
    assert [(line["id"], line["verdict"]) for line in lines] == [
        ("new-0", "accepted"),
        ("new-0", "mended"),
        ("new-1", "accepted"),
    ]


def test_conflicts_are_told_together_and_nothing_is_written(
    folder: Path, lesions: Path, tmp_path: Path
) -> None:
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
    assert (
        "new-0.png: anna (accepted) and ben (mended) differ, by a Dice of 0." in said
        and "new-1.png" in said
        and "changed since" in said
        and "does not exist" in said
    )
    assert not list(tmp_path.glob("next*"))


def test_whose_verdict_counts_can_be_said_and_agreement_is_counted(
    folder: Path, lesions: Path, tmp_path: Path
) -> None:
    review = Reviewed(folder, twice=1.0)
    review.decide("new-0.png")
    mended = review.decide("new-0.png", "ben", turn=2, mended=True)
    review.decide("new-1.png")
    review.decide("new-1.png", "ben", turn=2)
    dice = agreement(
        review.predictions, review.store, reviewed_entries(review.predictions, review.store)
    )
    assert len(dice) == 2 and dice[1] == 1.0 and dice[0] < 1
    assert (
        list(
            merge(
                review.predictions, review.store, lesions, tmp_path / "next", prefer="ben"
            ).agreement
        )
        == dice
    )
    dataset = scan(tmp_path / "next")
    labels = check(dataset).labels
    assert (
        labels is not None
        and (
            next(one for one in dataset.samples if one.id == "new-0").class_index(labels) == mended
        ).all()
    )


def test_a_name_that_another_image_has_is_a_conflict(
    review: Reviewed, pairs: Callable[..., Path], tmp_path: Path
) -> None:
    review.decide("new-0.png")
    data = pairs({"new-0": np.eye(16, dtype=np.uint8) * 255, "b": np.eye(16, dtype=np.uint8) * 255})
    with pytest.raises(LimnerError, match="another image of that name"):
        merge(review.predictions, review.store, data, tmp_path / "next")


def test_nothing_is_overwritten_and_nothing_is_merged_that_nobody_saw(
    review: Reviewed, lesions: Path, pairs: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(LimnerError, match="nobody has decided"):
        merge(review.predictions, review.store, lesions, tmp_path / "next")
    (tmp_path / "next").mkdir()
    with pytest.raises(LimnerError, match="is there already"):
        merge(review.predictions, review.store, lesions, tmp_path / "next")
    scenes = pairs(
        {
            "a": np.arange(16, dtype=np.uint8)[None].repeat(16, 0) // 6,
            "b": np.arange(16, dtype=np.uint8)[None].repeat(16, 0) // 6,
        }
    )
    with pytest.raises(LimnerError, match="They must agree"):
        merge(review.predictions, review.store, scenes, tmp_path / "other")


def test_a_folder_that_is_called_like_a_part_of_the_new_one_is_left_alone(
    review: Reviewed, lesions: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(lesions, tmp_path / "next.part"))
    before = sorted(data.rglob("*"))
    review.decide("new-0.png")
    merge(review.predictions, review.store, data, tmp_path / "next")
    assert sorted(data.rglob("*")) == before and (tmp_path / "next" / "dataset.csv").is_file()
    assert sorted(
        path.name for path in tmp_path.iterdir() if path.name.startswith((".", "next"))
    ) == ["next", "next.part"]


def test_masks_keep_the_coding_of_the_set_that_they_join(
    review: Reviewed, pairs: Callable[..., Path], tmp_path: Path
) -> None:
    """Classes as 0 and 1, which a stated void of 255 makes unlike our 0 and 255."""
    mask = np.zeros((16, 16), np.uint8)
    mask[4:9, 4:9], mask[0, 0] = 1, 255
    data = pairs({"a": mask, "b": mask})
    (data / "labels.toml").write_text("void = 255\n[classes]\nbackground = 0\nforeground = 1\n")
    kept = review.decide("new-0.png", mended=True)
    merge(review.predictions, review.store, data, tmp_path / "next")
    assert (np.asarray(Image.open(tmp_path / "next" / "masks" / "new-0.png")) == kept).all()
    dataset = scan(tmp_path / "next")
    assert dataset.stated_labels == scan(data).stated_labels and not check(dataset).errors


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


def test_a_mask_that_was_changed_after_it_was_accepted_is_a_conflict(
    review: Reviewed, lesions: Path, tmp_path: Path
) -> None:
    mask = review.decide("new-0.png")
    Image.fromarray((mask ^ 1) * np.uint8(255)).save(review.predictions.folder / "new-0.png")
    with pytest.raises(LimnerError, match="its mask was changed since it was reviewed"):
        merge(review.predictions, review.store, lesions, tmp_path / "next")


def test_verdicts_on_other_predictions_are_not_taken(
    review: Reviewed, lesions: Path, tmp_path: Path
) -> None:
    review.decide("new-0.png")
    record = review.predictions.folder / "predictions.json"
    record.write_text(record.read_text().replace("model.onnx", "another.onnx"))
    with pytest.raises(LimnerError, match="the review is of other predictions"):
        merge(read_predictions(review.predictions.folder), review.store, lesions, tmp_path / "next")


def test_one_image_under_two_names_comes_in_once_or_is_a_conflict(
    folder: Path, lesions: Path, tmp_path: Path
) -> None:
    photos, record = folder.parent / "photos", folder / "predictions.json"
    told = json.loads(record.read_text())
    first, second = (
        next(one for one in told["predictions"] if one["mask"] == f"new-{index}.png")
        for index in (0, 1)
    )
    (photos / "new-1.png").write_bytes((photos / "new-0.png").read_bytes())
    (folder / "new-1.png").write_bytes((folder / "new-0.png").read_bytes())
    second["image_sha256"] = first["image_sha256"]
    record.write_text(json.dumps(told))
    review = Reviewed(folder)
    review.decide("new-0.png")
    review.decide("new-1.png")
    assert merge(review.predictions, review.store, lesions, tmp_path / "next").added == 1
    review.decide("new-1.png", mended=True)
    with pytest.raises(
        LimnerError, match="new-1: it is the same image as new-0, and their masks differ"
    ):
        merge(review.predictions, review.store, lesions, tmp_path / "other")


def test_preferring_somebody_who_said_nothing_settles_nothing(
    folder: Path, lesions: Path, tmp_path: Path
) -> None:
    review = Reviewed(folder, twice=1.0)
    review.decide("new-0.png")
    review.decide("new-0.png", "ben", turn=2, mended=True)
    with pytest.raises(LimnerError, match=r"anna \(accepted\) and ben \(mended\) differ"):
        merge(review.predictions, review.store, lesions, tmp_path / "next", prefer="ana")


def test_what_lies_beside_its_table_is_written_below_the_new_folder(
    lesions: Path, tmp_path: Path
) -> None:
    """A table may name files by .. or from the root; what is made of them never lands there."""
    (tmp_path / "scans").mkdir()
    (tmp_path / "drawn").mkdir()
    (tmp_path / "tables").mkdir()
    rows = ["image,mask"]
    for index in range(3):
        Image.fromarray(draw_lesion(9, index, 40)[0]).save(tmp_path / "scans" / f"x{index}.png")
        Image.fromarray(draw_lesion(9, index, 40)[1]).save(tmp_path / "drawn" / f"x{index}.png")
        rows.append(
            f"../scans/x{index}.png,../drawn/x{index}.png"
            if index
            else f"{tmp_path}/scans/x0.png,{tmp_path}/drawn/x0.png"
        )
    (tmp_path / "tables" / "all.csv").write_text("\n".join(rows) + "\n")
    before = {
        path: path.read_bytes()
        for name in ("scans", "drawn")
        for path in (tmp_path / name).iterdir()
    }
    review = Reviewed(tmp_path / "tables")
    for entry in review.predictions.entries:
        review.decide(entry.id)
    for form in EXPORTERS:
        write_masks(review.predictions, review.store, tmp_path / form, form)
    merge(review.predictions, review.store, lesions, tmp_path / "next")
    merge(review.predictions, review.store, tmp_path / "tables", tmp_path / "again")
    assert {
        path: path.read_bytes()
        for name in ("scans", "drawn")
        for path in (tmp_path / name).iterdir()
    } == before
    assert (
        len(list((tmp_path / "png").iterdir())) == 3 and len(scan(tmp_path / "next").samples) == 27
    )
    dataset = scan(tmp_path / "again")
    labels = check(dataset).labels
    assert labels is not None and {sample.id for sample in dataset.samples} == {
        entry.id for entry in review.predictions.entries
    }
    for entry in review.predictions.entries:
        sample = next(one for one in dataset.samples if one.id == entry.id)
        assert (sample.class_index(labels) == review.predictions.mask(entry)).all() and (
            sample.read_image() == review.predictions.image(entry)
        ).all()


def test_pages_of_any_channels_keep_them(tmp_path: Path) -> None:
    import tifffile

    for channels in (2, 4, 5):
        pixels = np.random.default_rng(0).integers(0, 255, (12, 14, channels)).astype(np.uint8)
        (tmp_path / "x.tif").write_bytes(encode_tiff(pixels))
        assert (read_image(tmp_path / "x.tif") == pixels).all() and tifffile.imread(
            tmp_path / "x.tif"
        ).shape == pixels.shape


def test_names_that_look_like_a_second_turn_or_are_no_text(lesions: Path, tmp_path: Path) -> None:
    names = ["photo", "photo@2", os.fsdecode(b"caf\xe9")]
    for index, name in enumerate(names):
        for kind, pixels in (
            ("images", draw_lesion(11, index, 40)[0]),
            ("masks", draw_lesion(11, index, 40)[1]),
        ):
            path = tmp_path / "odd" / kind / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    review = Reviewed(tmp_path / "odd")
    drawn = {name: review.decide(name, mended=name == "photo@2") for name in names}
    assert [len(one.events) for one in reviewed_entries(review.predictions, review.store)] == [
        1,
        1,
        1,
    ]
    merged = merge(review.predictions, review.store, lesions, tmp_path / "next")
    assert (merged.added, merged.left) == (3, 0)
    after = scan(tmp_path / "next")
    labels, by_id = check(after).labels, {sample.id: sample for sample in after.samples}
    assert labels is not None
    for name, readable in zip(names, ("photo", "photo@2", "caf\\xe9"), strict=True):
        assert (by_id[readable].class_index(labels) == drawn[name]).all()
