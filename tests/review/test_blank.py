"""Images without masks, which are drawn from nothing."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from command_line import limner
from limner.data.check import check
from limner.data.scan import scan
from limner.data.synthetic import draw_lesion
from limner.data.writers.png import write_png
from limner.errors import LimnerError
from limner.review.blank import has_classes, is_blank, state_classes
from limner.review.queue import order_tasks
from limner.review.session import ReviewSession
from limner.review.sources import read_predictions
from limner.review.store import ReviewStore
from review_server import decide, draw, open_session
from shapes import disc


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three images in two folders, and a stack of two."""
    folder = tmp_path / "photos"
    for name, index in (("a.png", 0), ("b.png", 1), ("more/a.png", 2)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_png(folder / name, draw_lesion(3, index, 40)[0])
    stack = np.random.default_rng(0).integers(0, 255, (2, 30, 36)).astype(np.uint8)
    tifffile.imwrite(folder / "stack.tif", stack)
    return folder


def test_every_image_has_an_empty_mask_of_its_size(photos: Path) -> None:
    assert is_blank(photos)
    assert state_classes(photos, ["lesion"]).describe() == "0 = background, 255 = lesion"
    assert has_classes(photos) and not is_blank(photos)
    predictions = read_predictions(photos)
    assert predictions.is_blank and not predictions.from_limner
    names = [entry.id for entry in predictions.entries]
    assert names == ["a", "b", "more/a", "stack#1", "stack#2"]
    sizes = [predictions.mask(entry).shape for entry in predictions.entries]
    assert sizes == [(40, 40)] * 3 + [(30, 36)] * 2
    assert not any(predictions.mask(entry).any() for entry in predictions.entries)
    assert [task.audited for task in open_session(photos).tasks] == [False] * 5


def test_what_was_drawn_is_a_dataset_and_the_rest_is_left(photos: Path, tmp_path: Path) -> None:
    state_classes(photos, ["lesion", "hair"])
    session = open_session(photos)
    tasks = {task.entry.id: task for task in session.tasks}
    drawn = {"a": disc(size=40, value=1), "stack#2": np.zeros((30, 36), np.uint8)}
    drawn["stack#2"][4:9, 5:20] = 2
    for id, mask in drawn.items():
        draw(session, tasks[id], mask)
        decide(session, tasks[id])
    decide(session, tasks["b"], rejected=True)
    done = limner("merge", photos, "-o", tmp_path / "set")
    assert done.returncode == 0, done.stderr
    assert "has 2 samples" in " ".join(done.stdout.split())
    dataset = scan(tmp_path / "set")
    labels = check(dataset).labels
    assert labels and labels.names == ("background", "lesion", "hair")
    masks = {sample.id: sample.class_index(labels) for sample in dataset.samples}
    assert set(masks) == set(drawn)
    assert all((masks[id] == mask).all() for id, mask in drawn.items())
    lines = (tmp_path / "set" / "provenance.jsonl").read_text().splitlines()
    assert [json.loads(line)["verdict"] for line in lines] == ["mended", "mended"]


def test_images_and_classes_may_be_added_later(photos: Path) -> None:
    state_classes(photos, ["lesion"])
    session = open_session(photos)
    task = next(task for task in session.tasks if task.entry.id == "b")
    draw(session, task, disc(size=40, value=1))
    decide(session, task)
    write_png(photos / "aa.png", draw_lesion(3, 9, 40)[0])
    state_classes(photos, ["lesion", "hair"])
    again = open_session(photos)
    assert again.predictions.labels.names == ("background", "lesion", "hair")
    assert len(again.tasks) == 6 and again.status_codes().count("m") == 1
    kept = next(task for task in again.tasks if task.entry.id == "b")
    assert (again.mask(kept)[0] == disc(size=40, value=1)).all()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no name"),
        (["lesion", " "], "no name"),
        (["lesion", "Lesion"], "there twice"),
        (["background"], "there twice"),
        (["x" * 101], "more than 100 characters"),
        ([str(number) for number in range(250)], "at most"),
    ],
)
def test_names_that_will_not_do_are_refused(photos: Path, names: list[str], message: str) -> None:
    with pytest.raises(LimnerError, match=message):
        state_classes(photos, names)
    assert not has_classes(photos)


def test_other_classes_than_those_that_were_drawn_are_refused(photos: Path) -> None:
    state_classes(photos, ["lesion", "hair"])
    for names in (["hair", "lesion"], ["lesion"], ["nucleus"]):
        with pytest.raises(LimnerError, match="drawn in with the classes lesion, hair"):
            state_classes(photos, names)


def test_classes_are_not_stated_for_images_that_have_masks(lesions: Path, tmp_path: Path) -> None:
    assert not is_blank(lesions) and not is_blank(tmp_path)
    for folder in (lesions, tmp_path):
        with pytest.raises(LimnerError, match="holds masks already, or no image"):
            state_classes(folder, ["lesion"])


def test_predict_leaves_out_the_images_of_a_dataset(
    models: dict[str, Path], photos: Path, tmp_path: Path
) -> None:
    state_classes(photos, ["lesion"])
    session = open_session(photos)
    task = next(task for task in session.tasks if task.entry.id == "more/a")
    draw(session, task, disc(size=40, value=1))
    decide(session, task)
    assert limner("merge", photos, "-o", tmp_path / "set").returncode == 0
    done = limner(
        *("predict", models["lesions"], photos, "--except", tmp_path / "set"),
        *("-o", tmp_path / "out"),
    )
    assert done.returncode == 0, done.stderr
    assert "1 image is in" in " ".join(done.stderr.split())
    masks = sorted(
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")
    )
    assert "a.png" in masks and "b.png" in masks and "more/a.png" not in masks
    none = limner("predict", models["lesions"], photos / "more", "--except", tmp_path / "set")
    assert none.returncode == 1 and "all 1 images are in" in " ".join(none.stderr.split())


def test_notes_are_kept_and_reach_the_provenance(photos: Path, tmp_path: Path) -> None:
    state_classes(photos, ["lesion"])
    session = open_session(photos)
    task = next(task for task in session.tasks if task.entry.id == "a")
    session.store.add_note(task.key, "anna", "the border is unclear")
    session.store.add_note(task.key, "ben", "it is not")
    draw(session, task, disc(size=40, value=1))
    decide(session, task)
    assert [note.text for note in open_session(photos).store.notes(task.key)] == [
        "the border is unclear",
        "it is not",
    ]
    assert limner("merge", photos, "-o", tmp_path / "set").returncode == 0
    (line,) = (tmp_path / "set" / "provenance.jsonl").read_text().splitlines()
    assert [note["reviewer"] for note in json.loads(line)["notes"]] == ["anna", "ben"]


def test_images_that_nobody_drew_in_are_no_dataset_yet(photos: Path, tmp_path: Path) -> None:
    done = limner("merge", photos, "-o", tmp_path / "set")
    assert done.returncode == 1 and "was not reviewed. Begin with: limner review" in done.stderr


def test_a_store_is_that_of_one_folder(photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "others"
    shutil.copytree(photos, other)
    for folder in (photos, other):
        state_classes(folder, ["lesion"])
    store = ReviewStore(f"sqlite:///{tmp_path}/shared.sqlite")
    sessions = [read_predictions(folder) for folder in (photos, other)]
    ReviewSession(sessions[0], order_tasks(sessions[0].entries), store)
    with pytest.raises(LimnerError, match="the review is not of what"):
        ReviewSession(sessions[1], order_tasks(sessions[1].entries), store)
    moved = photos.rename(tmp_path / "moved")
    again = read_predictions(moved)
    ReviewSession(again, order_tasks(again.entries), store)
