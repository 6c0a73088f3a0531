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
from limner.labels import VOID
from limner.review.formats.write import EXPORTERS, OF_PLACED_IMAGES
from limner.review.merge import merge
from limner.review.queue import order_tasks
from limner.review.reviewed_masks import write_masks
from limner.review.session import ReviewSession
from limner.review.sources import read_predictions
from limner.review.verdicts import Settlement, open_store
from review_server import LocalReview, decide, draw


def test_accepted_and_mended_masks_are_in_the_next_revision(
    review: LocalReview, lesions: Path, tmp_path: Path
) -> None:
    kept = review.decide("new-0.png")
    mended = review.decide("new-1.png", mended=True)
    review.decide("new-2.png", rejected=True)
    result = merge(review.folder, lesions, tmp_path / "next")
    assert (result.before, result.added, result.replaced, result.rejected, result.left) == (
        24,
        2,
        0,
        1,
        3,
    )
    before, after = scan(lesions), scan(tmp_path / "next")
    report = check(after)
    assert (
        not report.errors
        and report.labels is not None
        and report.labels.names == ("background", "foreground")
    )
    by_id = {sample.id: sample for sample in after.samples}
    assert set(by_id) == {sample.id for sample in before.samples} | {"new-0", "new-1"}
    for sample in before.samples:
        again = by_id[sample.id]
        assert (again.split, again.group) == (
            sample.split,
            sample.group,
        ) and again.image.read_bytes() == sample.image.read_bytes()
        assert (again.class_index(report.labels) == sample.class_index(report.labels)).all()
    for id, mask in (("new-0", kept), ("new-1", mended)):
        assert (by_id[id].class_index(report.labels) == mask).all() and by_id[id].split == "train"
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


def test_a_revision_of_a_revision_keeps_the_provenance(
    review: LocalReview, lesions: Path, tmp_path: Path
) -> None:
    review.decide("new-0.png")
    merge(review.folder, lesions, tmp_path / "second")
    review.decide("new-0.png", mended=True)
    review.decide("new-1.png")
    with pytest.raises(LimnerError, match=r"has this image as new-0, with another mask"):
        merge(review.folder, tmp_path / "second", tmp_path / "third")
    result = merge(review.folder, tmp_path / "second", tmp_path / "third", replace=True)
    assert (result.before, result.added, result.replaced) == (25, 1, 1)
    lines = [
        json.loads(line)
        for line in (tmp_path / "third" / "provenance.jsonl").read_text().splitlines()
    ]
    assert [(line["id"], line["verdict"]) for line in lines] == [
        ("new-0", "accepted"),
        ("new-0", "mended"),
        ("new-1", "accepted"),
    ]


def test_conflicts_are_reported_together_and_nothing_is_written(
    folder: Path, lesions: Path, tmp_path: Path
) -> None:
    review = LocalReview(folder, second_readings=1.0)
    review.decide("new-0.png")
    review.decide("new-0.png", "ben", reading=2, mended=True)
    review.decide("new-1.png")
    review.decide("new-2.png")
    photos = folder.parent / "photos"
    (photos / "new-1.png").write_bytes((photos / "new-3.png").read_bytes())
    (photos / "new-2.png").unlink()
    with pytest.raises(LimnerError) as caught:
        merge(review.folder, lesions, tmp_path / "next")
    message = str(caught.value)
    assert "3 conflicts, and nothing was written" in message
    assert (
        "new-0.png: anna (accepted) and ben (corrected) differ, by a Dice of 0." in message
        and "new-1.png" in message
        and "changed since" in message
        and "does not exist" in message
    )
    assert not list(tmp_path.glob("next*"))


def test_one_reviewer_can_be_preferred_and_agreement_is_measured(
    folder: Path, lesions: Path, tmp_path: Path
) -> None:
    review = LocalReview(folder, second_readings=1.0)
    review.decide("new-0.png")
    mended = review.decide("new-0.png", "ben", reading=2, mended=True)
    review.decide("new-1.png")
    review.decide("new-1.png", "ben", reading=2)
    dice = review.results.agreement(review.results.reviewed_entries())
    assert len(dice) == 2 and dice[1] == 1.0 and dice[0] < 1
    assert (
        list(
            merge(
                review.folder, lesions, tmp_path / "next", settlement=Settlement(prefer="ben")
            ).agreement
        )
        == dice
    )
    dataset = scan(tmp_path / "next")
    labels = check(dataset).labels
    assert (
        labels is not None
        and (
            next(sample for sample in dataset.samples if sample.id == "new-0").class_index(labels)
            == mended
        ).all()
    )


def test_a_name_that_another_image_has_is_a_conflict(
    review: LocalReview, pairs: Callable[..., Path], tmp_path: Path
) -> None:
    review.decide("new-0.png")
    data = pairs({"new-0": np.eye(16, dtype=np.uint8) * 255, "b": np.eye(16, dtype=np.uint8) * 255})
    with pytest.raises(LimnerError, match="another image of that name"):
        merge(review.folder, data, tmp_path / "next")


def test_unreviewed_predictions_existing_folders_and_other_classes_are_errors(
    review: LocalReview, lesions: Path, pairs: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(LimnerError, match="nobody has decided"):
        merge(review.folder, lesions, tmp_path / "next")
    (tmp_path / "next").mkdir()
    with pytest.raises(LimnerError, match="exists already"):
        merge(review.folder, lesions, tmp_path / "next")
    scenes = pairs(
        {
            "a": np.arange(16, dtype=np.uint8)[None].repeat(16, 0) // 6,
            "b": np.arange(16, dtype=np.uint8)[None].repeat(16, 0) // 6,
        }
    )
    with pytest.raises(LimnerError, match="They must be the same"):
        merge(review.folder, scenes, tmp_path / "other")


def test_a_folder_with_the_name_of_a_temporary_file_is_left_alone(
    review: LocalReview, lesions: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(lesions, tmp_path / "next.part"))
    before = sorted(data.rglob("*"))
    review.decide("new-0.png")
    merge(review.folder, data, tmp_path / "next")
    assert sorted(data.rglob("*")) == before and (tmp_path / "next" / "dataset.csv").is_file()
    assert sorted(
        path.name for path in tmp_path.iterdir() if path.name.startswith((".", "next"))
    ) == ["next", "next.part"]


def test_masks_take_the_pixel_values_of_the_dataset(
    review: LocalReview, pairs: Callable[..., Path], tmp_path: Path
) -> None:
    """Classes as 0 and 1, which a stated void of 255 makes unlike our 0 and 255."""
    mask = np.zeros((16, 16), np.uint8)
    mask[4:9, 4:9], mask[0, 0] = 1, 255
    data = pairs({"a": mask, "b": mask})
    (data / "labels.toml").write_text("void = 255\n[classes]\nbackground = 0\nforeground = 1\n")
    kept = review.decide("new-0.png", mended=True)
    merge(review.folder, data, tmp_path / "next")
    assert (np.asarray(Image.open(tmp_path / "next" / "masks" / "new-0.png")) == kept).all()
    dataset = scan(tmp_path / "next")
    assert dataset.stated_labels == scan(data).stated_labels and not check(dataset).errors


def test_pages_of_a_stack_become_files_of_their_own(review: LocalReview, tmp_path: Path) -> None:
    import tifffile

    (tmp_path / "set" / "images").mkdir(parents=True)
    (tmp_path / "set" / "masks").mkdir()
    stack = np.random.default_rng(0).integers(0, 255, (3, 20, 24)).astype(np.uint8)
    masks = np.where(stack > 128, 255, 0).astype(np.uint8)
    tifffile.imwrite(tmp_path / "set" / "images" / "s.tif", stack, photometric="minisblack")
    tifffile.imwrite(tmp_path / "set" / "masks" / "s.tif", masks, photometric="minisblack")
    review.decide("new-0.png")
    merge(review.folder, tmp_path / "set", tmp_path / "next")
    with (tmp_path / "next" / "dataset.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["s#1", "s#2", "s#3", "new-0"]
    assert (read_image(tmp_path / "next" / rows[1]["image"])[..., 0] == stack[1]).all()
    assert (np.asarray(Image.open(tmp_path / "next" / rows[1]["mask"])) == masks[1]).all()


def test_a_mask_that_was_changed_after_it_was_accepted_is_a_conflict(
    review: LocalReview, lesions: Path, tmp_path: Path
) -> None:
    mask = review.decide("new-0.png")
    Image.fromarray((mask ^ 1) * np.uint8(255)).save(review.predictions.folder / "new-0.png")
    with pytest.raises(LimnerError, match="its mask was changed since it was reviewed"):
        merge(review.folder, lesions, tmp_path / "next")


def test_verdicts_on_other_predictions_are_not_taken(
    review: LocalReview, lesions: Path, tmp_path: Path
) -> None:
    review.decide("new-0.png")
    record = review.predictions.folder / "predictions.json"
    record.write_text(record.read_text().replace("model.onnx", "another.onnx"))
    with pytest.raises(LimnerError, match="the review is of other predictions"):
        merge(review.folder, lesions, tmp_path / "next")


def test_one_image_under_two_names_comes_in_once_or_is_a_conflict(
    folder: Path, lesions: Path, tmp_path: Path
) -> None:
    photos, record = folder.parent / "photos", folder / "predictions.json"
    content = json.loads(record.read_text())
    first, second = (
        next(item for item in content["predictions"] if item["mask"] == f"new-{index}.png")
        for index in (0, 1)
    )
    (photos / "new-1.png").write_bytes((photos / "new-0.png").read_bytes())
    (folder / "new-1.png").write_bytes((folder / "new-0.png").read_bytes())
    second["image_sha256"] = first["image_sha256"]
    record.write_text(json.dumps(content))
    review = LocalReview(folder)
    review.decide("new-0.png")
    review.decide("new-1.png")
    assert merge(review.folder, lesions, tmp_path / "next").added == 1
    review.decide("new-1.png", mended=True)
    with pytest.raises(
        LimnerError, match="new-1: it is the same image as new-0, and their masks differ"
    ):
        merge(review.folder, lesions, tmp_path / "other")


def test_preferring_somebody_who_gave_no_verdict_settles_nothing(
    folder: Path, lesions: Path, tmp_path: Path
) -> None:
    review = LocalReview(folder, second_readings=1.0)
    review.decide("new-0.png")
    review.decide("new-0.png", "ben", reading=2, mended=True)
    with pytest.raises(LimnerError, match=r"anna \(accepted\) and ben \(corrected\) differ"):
        merge(review.folder, lesions, tmp_path / "next", settlement=Settlement(prefer="ana"))


def test_files_outside_the_dataset_are_written_below_the_new_folder(
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
    review = LocalReview(tmp_path / "tables")
    for entry in review.predictions.entries:
        review.decide(entry.id)
    for format_name in EXPORTERS.keys() - OF_PLACED_IMAGES:
        write_masks(review.results, tmp_path / format_name, format_name)
    merge(review.folder, lesions, tmp_path / "next")
    merge(review.folder, tmp_path / "tables", tmp_path / "again")
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
        sample = next(sample for sample in dataset.samples if sample.id == entry.id)
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


def test_names_that_look_like_a_second_reading_or_are_no_text(
    lesions: Path, tmp_path: Path
) -> None:
    names = ["photo", "photo@2", os.fsdecode(b"caf\xe9")]
    for index, name in enumerate(names):
        for kind, pixels in (
            ("images", draw_lesion(11, index, 40)[0]),
            ("masks", draw_lesion(11, index, 40)[1]),
        ):
            path = tmp_path / "odd" / kind / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    review = LocalReview(tmp_path / "odd")
    drawn = {name: review.decide(name, mended=name == "photo@2") for name in names}
    assert [len(entry.events) for entry in review.results.reviewed_entries()] == [
        1,
        1,
        1,
    ]
    result = merge(review.folder, lesions, tmp_path / "next")
    assert (result.added, result.left) == (3, 0)
    after = scan(tmp_path / "next")
    labels, by_id = check(after).labels, {sample.id: sample for sample in after.samples}
    assert labels is not None
    for name, readable in zip(names, ("photo", "photo@2", "caf\\xe9"), strict=True):
        assert (by_id[readable].class_index(labels) == drawn[name]).all()


def test_masks_of_three_people_become_one(folder: Path, lesions: Path, tmp_path: Path) -> None:
    """Of one image all kept a mask, of another one of three, which is then rejected."""
    predictions = read_predictions(folder)
    tasks = order_tasks(predictions.entries, second_readings=1.0, readers=3)
    session = ReviewSession(predictions, tasks, open_store(folder))
    people = ("anna", "ben", "carla")
    masks = []
    for reading, name in enumerate(people, 1):
        chosen = {task.entry.id: task for task in session.tasks if task.reading == reading}
        mask = np.zeros_like(session.mask(chosen["new-0.png"])[0])
        mask[: 6 * reading, :9] = 1
        draw(session, chosen["new-0.png"], mask, name)
        decide(session, chosen["new-0.png"], name)
        decide(session, chosen["new-1.png"], name, rejected=reading > 1)
        masks.append(mask)
    with pytest.raises(LimnerError, match="2 conflicts"):
        merge(folder, lesions, tmp_path / "next")
    result = merge(folder, lesions, tmp_path / "next", settlement=Settlement(consensus="majority"))
    assert (result.added, result.rejected) == (1, 1)
    assert set(result.with_consensus) == set(people) and result.with_consensus["ben"] == 1.0
    dataset = scan(tmp_path / "next")
    labels = check(dataset).labels
    assert labels is not None
    (sample,) = [sample for sample in dataset.samples if sample.id == "new-0"]
    assert (sample.class_index(labels) == masks[1]).all()
    (line,) = (tmp_path / "next" / "provenance.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert record["consensus"] == "majority"
    assert [person["reviewer"] for person in record["reviewers"]] == list(people)


def test_what_nobody_decides_is_void_in_the_next_revision(
    review: LocalReview, lesions: Path, tmp_path: Path
) -> None:
    (task,) = [task for task in review.session.tasks if task.entry.id == "new-0.png"]
    mask = review.session.mask(task)[0].copy()
    mask[:4, :5] = VOID
    draw(review.session, task, mask)
    decide(review.session, task)
    before = scan(lesions)
    merge(review.folder, lesions, tmp_path / "next")
    dataset = scan(tmp_path / "next")
    labels = check(dataset).labels
    assert labels is not None and labels.void_values == ((128, 128),)
    masks = {sample.id: sample.class_index(labels) for sample in dataset.samples}
    assert (masks["new-0"] == mask).all()
    old = check(before).labels
    assert old is not None
    assert all((masks[one.id] == one.class_index(old)).all() for one in before.samples)
    lost = write_masks(review.results, tmp_path / "out", "png")[1]
    assert lost == ("1 mask has void, which is written as 128",)
