import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from limner.errors import LimnerError
from limner.review.database import is_sqlite
from limner.review.events import EntryState, NewVerdict, StaleError
from limner.review.store import ReviewStore

BASE = "b" * 64


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ReviewStore]:
    at = lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)  # noqa: E731
    opened = (
        ReviewStore.in_folder(tmp_path, at)
        if request.param == "sqlite"
        else ReviewStore(request.getfixturevalue("postgresql"), at)
    )
    yield opened
    opened.close()


def decide(
    store: ReviewStore, entry: str, version: int, mask: bytes | None = None, reviewer: str = "anna"
) -> EntryState:
    verdict = NewVerdict(
        reviewer,
        "accepted" if mask is None else "mended",
        base_hash=BASE,
        image_hash="i" * 64,
        mask=mask,
        seconds=12.34,
        client="test",
    )
    return store.decide(entry, version, verdict)


def test_a_draft_is_stored_and_gives_the_next_version(store: ReviewStore) -> None:
    assert store.state("a") == EntryState()
    first = store.save_draft("a", "anna", 0, {3: b"three"})
    second = store.save_draft("a", "anna", 1, {3: b"three, later", 4: b"four"})
    assert (first.version, second.version, second.drafted_by) == (1, 2, "anna")
    assert second.draft is not None and {
        index: store.blob(hash) for index, hash in second.draft.items()
    } == {3: b"three, later", 4: b"four"}
    assert store.state("a") == second and store.states() == {"a": second}


def test_a_stale_write_changes_nothing_and_says_what_there_is(store: ReviewStore) -> None:
    after = store.save_draft("a", "anna", 0, {0: b"hers"})
    for write in (
        lambda: store.save_draft("a", "ben", 0, {0: b"his"}),
        lambda: decide(store, "a", 0, reviewer="ben"),
    ):
        with pytest.raises(StaleError) as caught:
            write()
        assert caught.value.state == after == store.state("a")
    assert store.events() == []


def test_a_verdict_ends_the_draft_and_names_its_mask(store: ReviewStore) -> None:
    store.save_draft("a", "anna", 0, {0: b"tile"})
    after = decide(store, "a", 1, b"the whole mask")
    (event,) = store.events()
    assert (after.version, after.draft, after.verdict, after.reviewer) == (
        2,
        None,
        "mended",
        "anna",
    )
    assert after.mask == event.mask_hash and store.blob(event.mask_hash) == b"the whole mask"
    assert (event.entry, event.version, event.at, event.base_hash, event.seconds) == (
        "a",
        2,
        "2026-01-02T03:04:05.000+00:00",
        BASE,
        12.3,
    )
    again = decide(store, "a", 2)
    assert again.mask is None and store.events()[1].mask_hash == BASE


def test_events_are_a_chain_and_the_database_refuses_to_change_them(store: ReviewStore) -> None:
    for number in range(5):
        decide(store, f"entry {number}", 0)
    chain = store.events()
    assert [event.number for event in chain] == [1, 2, 3, 4, 5]
    assert [event.previous for event in chain[1:]] == [event.hash for event in chain[:-1]]
    statements = ["DELETE FROM events", "UPDATE events SET record = '{}'"]
    if is_sqlite(store._engine):
        statements += [
            "REPLACE INTO events VALUES (5, '{}', 'new')",
            "REPLACE INTO events SELECT 9, record, hash FROM events WHERE number = 5",
        ]
    for statement in statements:
        with (
            pytest.raises(DBAPIError, match="only ever added"),
            store._engine.begin() as connection,
        ):
            connection.execute(text(statement))
    assert len(store.events()) == 5


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM events WHERE number = 3",
        "DELETE FROM events WHERE number = 1",
        "UPDATE events SET record = replace(record, 'anna', 'mira') WHERE number = 2",
        "UPDATE events SET number = number + 10 WHERE number > 3",
    ],
)
def test_a_tampered_chain_is_detected(damage: str, tmp_path: Path) -> None:
    store = ReviewStore.in_folder(tmp_path)
    for number in range(5):
        decide(store, f"entry {number}", 0)
    with sqlite3.connect(tmp_path / "review.sqlite") as connection:
        for trigger in ("events_no_update", "events_no_delete"):
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute(damage)
    connection.close()
    with pytest.raises(LimnerError, match="not as it was written"):
        store.events()


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM events WHERE number = 5",
        "UPDATE entries SET verdict = 'rejected' WHERE entry = 'entry 2'",
    ],
)
def test_states_that_contradict_the_events_are_detected(damage: str, tmp_path: Path) -> None:
    store = ReviewStore.in_folder(tmp_path)
    for number in range(5):
        decide(store, f"entry {number}", 0)
    with sqlite3.connect(tmp_path / "review.sqlite") as connection:
        connection.execute("DROP TRIGGER events_no_delete")
        connection.execute(damage)
    connection.close()
    with pytest.raises(LimnerError, match=r"the state of entry \d is not what"):
        store.events()


def test_a_damaged_mask_is_an_error(tmp_path: Path) -> None:
    store = ReviewStore.in_folder(tmp_path)
    mask = decide(store, "a", 0, b"the whole mask").mask
    with sqlite3.connect(tmp_path / "review.sqlite") as connection:
        connection.execute("UPDATE blobs SET content = x'00'")
    connection.close()
    assert mask is not None
    with pytest.raises(LimnerError, match="damaged"):
        store.blob(mask)


def test_replaced_tiles_are_removed_and_masks_are_not(store: ReviewStore) -> None:
    store.save_draft("a", "anna", 0, {0: b"early"})
    state = store.save_draft("a", "anna", 1, {0: b"late"})
    decide(store, "b", 0, b"mask of b")
    decide(store, "b", 1, b"later mask of b")
    assert store.remove_unused_blobs() == 1
    assert state.draft is not None and store.blob(state.draft[0]) == b"late"
    assert [store.blob(event.mask_hash) for event in store.events()] == [
        b"mask of b",
        b"later mask of b",
    ]


def test_of_concurrent_writes_each_version_has_one_winner(store: ReviewStore) -> None:
    """Two reviewers, each of whom takes what there is and writes on it."""
    accepted: list[tuple[int, str]] = []
    refused = {"anna": 0, "ben": 0}

    def race(reviewer: str) -> None:
        for turn in range(60):
            version = store.state("a").version
            try:
                after = (
                    store.save_draft("a", reviewer, version, {0: f"{reviewer} {turn}".encode()})
                    if turn % 5
                    else decide(store, "a", version, reviewer=reviewer)
                )
                accepted.append((after.version, reviewer))
            except StaleError:
                refused[reviewer] += 1

    threads = [threading.Thread(target=race, args=(name,)) for name in refused]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (
        sorted(version for version, _ in accepted) == list(range(1, len(accepted) + 1))
        and len(accepted) + sum(refused.values()) == 120
    )
    assert store.state("a").version == len(accepted)
    assert all((event.version, event.reviewer) in accepted for event in store.events())


def test_a_new_store_may_be_opened_by_several_at_once(tmp_path: Path) -> None:
    for number in range(8):
        with ThreadPoolExecutor(6) as pool:
            for opened in pool.map(
                lambda _, folder=tmp_path / str(number): ReviewStore.in_folder(folder), range(6)
            ):
                opened.close()


def test_writes_are_synced_before_they_are_acknowledged(tmp_path: Path) -> None:
    store = ReviewStore.in_folder(tmp_path)
    with store._engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "names no database"),
        ("oracle9://x/y", "names no database"),
        ("sqlite:////no/such/folder/review.sqlite", "cannot be used"),
        ("postgresql://nobody:secret@127.0.0.1:1/review", "cannot be used"),
    ],
)
def test_an_unusable_database_is_an_error(url: str, message: str) -> None:
    with pytest.raises(LimnerError, match=message) as caught:
        ReviewStore(url)
    assert "secret" not in str(caught.value)


def test_a_store_belongs_to_the_first_value_it_is_asked_for(store: ReviewStore) -> None:
    assert store.belongs_to("predictions", "one") and store.belongs_to("predictions", "one")
    assert not store.belongs_to("predictions", "another")


@pytest.mark.parametrize("name", ["scan%20set", "what?", "a#b", "größe"])
def test_the_folder_may_be_called_anything(tmp_path: Path, name: str) -> None:
    ReviewStore.in_folder(tmp_path / name).close()
    assert (tmp_path / name / "review.sqlite").is_file() and [
        path.name for path in tmp_path.iterdir()
    ] == [name]
