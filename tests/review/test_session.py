import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.errors import LimnerError
from limner.review.events import StaleError
from limner.review.predictions import Entry, Predictions
from limner.review.queue import order_tasks
from limner.review.session import ChangedError, Decision, MaskVersion, ReviewSession
from limner.review.sources import read_predictions
from limner.review.verdicts import open_store
from review_server import decide, draw, open_session, pack_one_tile, version_of


@pytest.fixture
def folder(predicted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(predicted, tmp_path / "predictions"))


def test_an_unchanged_mask_is_accepted_and_a_changed_one_is_mended(
    folder: Path,
) -> None:
    session = open_session(folder)
    mask = session.mask(session.tasks[1])[0].copy()
    mask[2:5, 3:9] ^= 1
    draw(session, session.tasks[1], mask)
    assert session.status_codes() == ".d...." and (session.mask(session.tasks[1])[0] == mask).all()
    assert [
        decide(session, session.tasks[0]).verdict,
        decide(session, session.tasks[1]).verdict,
        decide(session, session.tasks[2], rejected=True).verdict,
    ] == ["accepted", "mended", "rejected"]
    assert session.status_codes() == "amr..." and (session.mask(session.tasks[1])[0] == mask).all()
    progress = session.progress()
    assert (
        progress.left,
        progress.accepted,
        progress.mended,
        progress.rejected,
        progress.minutes_per_image,
    ) == (3, 1, 1, 1, 0.05)


def test_audited_masks_say_how_many_masks_people_change(folder: Path) -> None:
    session = open_session(folder)
    session.tasks = tuple(
        replace(task, audited=position in {1, 4}) for position, task in enumerate(session.tasks)
    )
    decide(session, session.tasks[0])
    assert session.progress().audit is None
    decide(session, session.tasks[1], rejected=True)
    decide(session, session.tasks[2], rejected=True)
    decide(session, session.tasks[3])
    assert (
        session.progress().audit
        == "Of 1 masks drawn at random 1 was corrected or rejected (100%), of the 3 others 1 (33%)."
    )
    decide(session, session.tasks[4])
    assert session.progress().audited == (2, 1)


def test_a_change_that_was_undone_is_not_mended(folder: Path) -> None:
    session = open_session(folder)
    mask, _ = session.mask(session.tasks[0])
    draw(session, session.tasks[0], mask ^ np.uint8(1))
    draw(session, session.tasks[0], mask)
    assert decide(session, session.tasks[0]).verdict == "accepted"


def test_a_draft_lies_over_the_mask_of_the_last_verdict(folder: Path) -> None:
    session = open_session(folder)
    empty = np.zeros_like(session.mask(session.tasks[0])[0])
    draw(session, session.tasks[0], empty)
    decide(session, session.tasks[0])
    draw(session, session.tasks[0], empty + np.uint8(1))
    assert (
        (session.mask(session.tasks[0])[0] == 1).all()
        and session.status_codes()[0] == "d"
        and session.next_task("ben", 5) == 0
    ), "it waits for another verdict"
    decide(session, session.tasks[0], rejected=True)
    assert (session.mask(session.tasks[0])[0] == 1).all(), "a rejected mask keeps what was drawn"


def test_two_servers_share_a_folder(folder: Path) -> None:
    first = open_session(folder)
    decide(first, first.tasks[0])
    second = open_session(folder)
    assert second.status_codes() == "a....." and second.progress().minutes_per_image == 0.05
    decide(second, second.tasks[1])
    with pytest.raises(StaleError):
        first.decide(
            first.tasks[1],
            "ben",
            MaskVersion(first.fingerprint(first.tasks[1]), 0),
            Decision(rejected=True),
        )
    assert first.next_task("ben", -1) == 2, "what another server decided is not offered"
    first.refresh()
    assert first.status_codes() == "aa...."


def test_the_next_task_is_one_that_nobody_else_holds(folder: Path) -> None:
    session = open_session(folder)
    session.leases.acquire(session.tasks[1].key, "ben")
    assert (
        session.next_task("anna", -1) == 0
        and session.next_task("anna", 0) == 2
        and session.next_task("ben", 0) == 1
    )
    for position in (0, 2, 3, 4, 5):
        decide(session, session.tasks[position])
    assert session.next_task("anna", 2) is None and session.next_task("ben", 2) == 1


def test_a_second_reading_is_for_another_person_and_starts_anew(
    folder: Path,
) -> None:
    session = open_session(folder, second_readings=1.0)
    assert [task.reading for task in session.tasks] == [1, 2] * 6
    mask, _ = session.mask(session.tasks[0])
    draw(session, session.tasks[0], mask ^ np.uint8(1))
    assert session.next_task("anna", 0) == 2 and session.next_task("ben", 0) == 1
    decide(session, session.tasks[0])
    assert (session.mask(session.tasks[1])[0] == mask).all()
    decide(session, session.tasks[1], "ben")
    assert {event.entry for event in session.store.events()} == {
        session.tasks[0].entry.id,
        f"{session.tasks[0].entry.id}//2",
    }


def test_a_verdict_is_refused_where_the_mask_is_replaced_meanwhile(
    pairs: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_session(pairs({name: np.eye(16, dtype=np.uint8) for name in "ab"}))
    path, image_hash = session.tasks[0].entry.mask, Predictions.image_hash
    assert isinstance(path, Path)

    def replace_mask(predictions: Predictions, entry: Entry) -> str:
        path.write_bytes(path.read_bytes() + b"\0")
        return image_hash(predictions, entry)

    monkeypatch.setattr(Predictions, "image_hash", replace_mask)
    with pytest.raises(ChangedError, match="was changed since it was shown"):
        decide(session, session.tasks[0])
    assert not session.store.events()


@pytest.mark.parametrize("kind", ["mask", "image"])
def test_writes_are_refused_where_a_file_was_changed_since_it_was_shown(
    kind: str, pairs: Callable[..., Path]
) -> None:
    session = open_session(pairs({name: np.eye(16, dtype=np.uint8) for name in "ab"}))
    task = session.tasks[0]
    assert isinstance(task.entry.mask, Path)
    path = task.entry.mask if kind == "mask" else Path(task.entry.image)
    seen = version_of(session, task)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ChangedError, match="was changed since it was shown"):
        session.decide(task, "anna", seen, Decision(rejected=False))
    with pytest.raises(ChangedError, match="Look at it again"):
        body = pack_one_tile(np.zeros((16, 16), np.uint8))
        session.save_draft(task, "anna", seen, body, (16, 16))
    assert not session.store.events() and decide(session, session.tasks[0]).verdict == "accepted"


def test_a_draft_on_a_mask_of_another_size_is_an_error(pairs: Callable[..., Path]) -> None:
    folder = pairs({name: np.eye(16, dtype=np.uint8) for name in "ab"})
    session = open_session(folder)
    draw(session, session.tasks[0], np.zeros((16, 16), np.uint8))
    assert isinstance(session.tasks[0].entry.mask, Path)
    Image.fromarray(np.eye(20, dtype=np.uint8)).save(session.tasks[0].entry.mask)
    with pytest.raises(LimnerError, match="another size than the mask, which has 20x20 px"):
        session.mask(session.tasks[0])


def test_the_store_of_other_predictions_is_refused(folder: Path) -> None:
    session = open_session(folder)
    decide(session, session.tasks[0])
    (folder / "predictions.json").write_text(
        (folder / "predictions.json").read_text().replace("model.onnx", "other.onnx")
    )
    with pytest.raises(LimnerError, match="were others"):
        open_session(folder)


def test_one_person_cannot_do_both_readings_on_two_servers(folder: Path) -> None:
    first, second = (
        open_session(folder, second_readings=1.0),
        open_session(folder, second_readings=1.0),
    )
    decide(first, first.tasks[0])
    with pytest.raises(LimnerError, match="anna was one of them"):
        decide(second, second.tasks[1])


def test_one_person_cannot_do_both_readings(folder: Path) -> None:
    session = open_session(folder, second_readings=1.0)
    decide(session, session.tasks[0])
    with pytest.raises(LimnerError, match="looked at by several people, and anna was one of them"):
        decide(session, session.tasks[1])
    with pytest.raises(LimnerError, match="Leave this turn to somebody else"):
        draw(session, session.tasks[1], session.mask(session.tasks[1])[0])
    assert decide(session, session.tasks[1], "ben").verdict == "accepted"


def test_tasks_are_shared_out_and_who_has_done_theirs_gets_others(folder: Path) -> None:
    predictions = read_predictions(folder)
    tasks = order_tasks(predictions.entries)
    session = ReviewSession(predictions, tasks, open_store(folder), assignees=["anna", "ben"])
    assert [session.assignee(place) for place in range(3)] == ["anna", "ben", "anna"]
    assert session.next_task("anna", -1) == 0 and session.next_task("ben", -1) == 1
    for place in range(0, len(tasks), 2):
        assert session.next_task("anna", -1) == place
        decide(session, session.tasks[place])
    assert session.next_task("anna", -1) == 1
    assert session.next_task("carla", -1) == 1
