import shutil
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.errors import LimnerError
from limner.review.predictions import Entry, Predictions, read_predictions
from limner.review.queue import order_tasks
from limner.review.session import ChangedError, ReviewSession
from limner.review.store import EntryState, ReviewStore, StaleError


@pytest.fixture
def folder(predicted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(predicted, tmp_path / "predictions"))


def desk_of(folder: Path, twice: float = 0.0) -> ReviewSession:
    found = read_predictions(folder)
    return ReviewSession(
        found, order_tasks(found.entries, twice=twice), ReviewStore.in_folder(folder / "review")
    )


def stroke(mask: np.ndarray) -> bytes:
    """All of it as the only tile."""
    return zlib.compress(b"\0\0\0\0" + mask.tobytes())


def decide(
    desk: ReviewSession, place: int, reviewer: str = "anna", *, rejected: bool = False
) -> EntryState:
    task = desk.tasks[place]
    return desk.decide(
        task,
        reviewer,
        desk.store.state(task.key).version,
        desk.fingerprint(task),
        rejected=rejected,
        reason=None,
        seconds=3.0,
        client="test",
    )


def draw(desk: ReviewSession, place: int, mask: np.ndarray, reviewer: str = "anna") -> EntryState:
    task = desk.tasks[place]
    return desk.save_draft(
        task,
        reviewer,
        desk.store.state(task.key).version,
        desk.fingerprint(task),
        stroke(mask),
        mask.shape,
    )


def test_what_is_accepted_as_it_was_is_accepted_and_what_was_changed_is_mended(
    folder: Path,
) -> None:
    desk = desk_of(folder)
    mask = desk.mask(desk.tasks[1])[0].copy()
    mask[2:5, 3:9] ^= 1
    draw(desk, 1, mask)
    assert desk.letters() == ".d...." and (desk.mask(desk.tasks[1])[0] == mask).all()
    assert [
        decide(desk, 0).verdict,
        decide(desk, 1).verdict,
        decide(desk, 2, rejected=True).verdict,
    ] == ["accepted", "mended", "rejected"]
    assert desk.letters() == "amr..." and (desk.mask(desk.tasks[1])[0] == mask).all()
    progress = desk.progress()
    assert (
        progress.left,
        progress.accepted,
        progress.mended,
        progress.rejected,
        progress.minutes_per_image,
    ) == (3, 1, 1, 1, 0.05)


def test_the_masks_drawn_at_random_say_how_many_of_all_need_a_person(folder: Path) -> None:
    desk = desk_of(folder)
    desk.tasks = tuple(
        replace(task, audited=place in {1, 4}) for place, task in enumerate(desk.tasks)
    )
    decide(desk, 0)
    assert desk.progress().audit is None
    decide(desk, 1, rejected=True)
    decide(desk, 2, rejected=True)
    decide(desk, 3)
    assert (
        desk.progress().audit
        == "Of 1 masks drawn at random 1 was mended or rejected (100%), of the 3 others 1 (33%)."
    )
    decide(desk, 4)
    assert desk.progress().audited == (2, 1)


def test_a_change_that_was_undone_is_no_change(folder: Path) -> None:
    desk = desk_of(folder)
    mask, _ = desk.mask(desk.tasks[0])
    draw(desk, 0, mask ^ np.uint8(1))
    draw(desk, 0, mask)
    assert decide(desk, 0).verdict == "accepted"


def test_what_was_drawn_lies_over_what_was_decided_before(folder: Path) -> None:
    desk = desk_of(folder)
    empty = np.zeros_like(desk.mask(desk.tasks[0])[0])
    draw(desk, 0, empty)
    decide(desk, 0)
    draw(desk, 0, empty + np.uint8(1))
    assert (
        (desk.mask(desk.tasks[0])[0] == 1).all()
        and desk.letters()[0] == "d"
        and desk.next_task("ben", 5) == 0
    ), "it waits for another verdict"
    decide(desk, 0, rejected=True)
    assert (desk.mask(desk.tasks[0])[0] == 1).all(), (
        "what was drawn is kept, whatever was said of it"
    )


def test_another_server_over_the_same_folder_goes_on_where_one_ended(folder: Path) -> None:
    first = desk_of(folder)
    decide(first, 0)
    second = desk_of(folder)
    assert second.letters() == "a....." and second.progress().minutes_per_image == 0.05
    decide(second, 1)
    with pytest.raises(StaleError):
        first.decide(
            first.tasks[1],
            "ben",
            0,
            first.fingerprint(first.tasks[1]),
            rejected=True,
            reason=None,
            seconds=1.0,
            client="test",
        )
    assert first.next_task("ben", -1) == 2, "what another server decided is not offered"
    first.refresh()
    assert first.letters() == "aa...."


def test_the_next_task_is_one_that_nobody_else_is_at(folder: Path) -> None:
    desk = desk_of(folder)
    desk.leases.acquire(desk.tasks[1].key, "ben")
    assert (
        desk.next_task("anna", -1) == 0
        and desk.next_task("anna", 0) == 2
        and desk.next_task("ben", 0) == 1
    )
    for place in (0, 2, 3, 4, 5):
        decide(desk, place)
    assert desk.next_task("anna", 2) is None and desk.next_task("ben", 2) == 1


def test_a_second_look_is_for_another_person_and_begins_from_the_prediction(folder: Path) -> None:
    desk = desk_of(folder, twice=1.0)
    assert [task.turn for task in desk.tasks] == [1, 2] * 6
    mask, _ = desk.mask(desk.tasks[0])
    draw(desk, 0, mask ^ np.uint8(1))
    assert desk.next_task("anna", 0) == 2 and desk.next_task("ben", 0) == 1
    decide(desk, 0)
    assert (desk.mask(desk.tasks[1])[0] == mask).all()
    decide(desk, 1, "ben")
    assert {event.entry for event in desk.store.events()} == {
        desk.tasks[0].entry.id,
        f"{desk.tasks[0].entry.id}//2",
    }


def test_a_mask_that_is_replaced_in_the_moment_of_the_verdict_is_looked_at_again(
    pairs: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = desk_of(pairs({name: np.eye(16, dtype=np.uint8) for name in "ab"}))
    path, hashed = desk.tasks[0].entry.mask, Predictions.image_hash
    assert isinstance(path, Path)

    def meanwhile(predictions: Predictions, entry: Entry) -> str:
        path.write_bytes(path.read_bytes() + b"\0")
        return hashed(predictions, entry)

    monkeypatch.setattr(Predictions, "image_hash", meanwhile)
    with pytest.raises(ChangedError, match="was changed since it was shown"):
        decide(desk, 0)
    assert not desk.store.events()


@pytest.mark.parametrize("kind", ["mask", "image"])
def test_a_verdict_on_what_was_changed_since_it_was_shown_is_refused(
    kind: str, pairs: Callable[..., Path]
) -> None:
    desk = desk_of(pairs({name: np.eye(16, dtype=np.uint8) for name in "ab"}))
    task = desk.tasks[0]
    assert isinstance(task.entry.mask, Path)
    path = task.entry.mask if kind == "mask" else Path(task.entry.image)
    basis, (_, state) = desk.fingerprint(task), desk.mask(task)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ChangedError, match="was changed since it was shown"):
        desk.decide(
            task,
            "anna",
            state.version,
            basis,
            rejected=False,
            reason=None,
            seconds=1.0,
            client="test",
        )
    with pytest.raises(ChangedError, match="Look at it again"):
        desk.save_draft(
            task, "anna", state.version, basis, stroke(np.zeros((16, 16), np.uint8)), (16, 16)
        )
    assert not desk.store.events() and decide(desk, 0).verdict == "accepted"


def test_what_was_drawn_over_a_mask_of_another_size_is_said(pairs: Callable[..., Path]) -> None:
    folder = pairs({name: np.eye(16, dtype=np.uint8) for name in "ab"})
    desk = desk_of(folder)
    draw(desk, 0, np.zeros((16, 16), np.uint8))
    assert isinstance(desk.tasks[0].entry.mask, Path)
    Image.fromarray(np.eye(20, dtype=np.uint8)).save(desk.tasks[0].entry.mask)
    with pytest.raises(LimnerError, match="another size than the mask, which has 20x20 px"):
        desk.mask(desk.tasks[0])


def test_the_review_of_other_predictions_is_refused(folder: Path) -> None:
    decide(desk_of(folder), 0)
    (folder / "predictions.json").write_text(
        (folder / "predictions.json").read_text().replace("model.onnx", "other.onnx")
    )
    with pytest.raises(LimnerError, match="were others"):
        desk_of(folder)


def test_one_person_cannot_take_both_turns_on_two_servers(folder: Path) -> None:
    first, second = desk_of(folder, twice=1.0), desk_of(folder, twice=1.0)
    decide(first, 0)
    with pytest.raises(LimnerError, match="anna was one of them"):
        decide(second, 1)


def test_one_person_cannot_take_both_turns(folder: Path) -> None:
    desk = desk_of(folder, twice=1.0)
    decide(desk, 0)
    with pytest.raises(LimnerError, match="looked at by two people, and anna was one of them"):
        decide(desk, 1)
    with pytest.raises(LimnerError, match="Leave this turn to somebody else"):
        draw(desk, 1, desk.mask(desk.tasks[1])[0])
    assert decide(desk, 1, "ben").verdict == "accepted"
