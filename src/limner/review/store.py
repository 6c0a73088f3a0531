"""What reviewers did, so that nothing of it is lost: drafts of every stroke, verdicts in a chain
that cannot be rewritten, and the masks they mean.

SQLite in a file, or PostgreSQL by its URL. Everything that is acknowledged was committed and synced
before; masks lie in it by their SHA-256.
"""

import hashlib
import json
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from limner.errors import LimnerError

Verdict = Literal["accepted", "mended", "rejected"]
FIRST = "0" * 64
"""What the first event names as the one before it."""
IMMEDIATE_S = 30
"""How long a writer waits for another."""

metadata = MetaData()
blobs = Table(
    "blobs",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("content", LargeBinary, nullable=False),
    # Deflated
)
entries = Table(
    "entries",
    metadata,
    Column("entry", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    # Of each tile that differs from the mask beneath, its hash
    Column("draft", Text),
    Column("drafted_by", String(200)),
    Column("verdict", String(20)),
    Column("reason", String(200)),
    Column("reviewer", String(200)),
    # Of the last verdict, where it is not the predicted one
    Column("mask", String(64)),
)
events = Table(
    "events",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("record", Text, nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
)
metadata_table = Table(
    "about",
    metadata,
    Column("key", String(100), primary_key=True),
    Column("value", Text, nullable=False),
)


class StaleError(Exception):
    """Somebody wrote in the meantime; `state` is what there is now."""

    def __init__(self, state: "EntryState") -> None:
        super().__init__(state.version)
        self.state = state


@dataclass(frozen=True, slots=True)
class EntryState:
    """What is known of one entry. `draft` holds the hash of each tile that a reviewer changed since
    the mask beneath it.
    """

    version: int = 0
    draft: Mapping[int, str] | None = None
    drafted_by: str | None = None
    verdict: Verdict | None = None
    reason: str | None = None
    reviewer: str | None = None
    mask: str | None = None
    """The hash of the last verdict's mask; None where it is the predicted one."""


@dataclass(frozen=True, slots=True)
class VerdictEvent:
    """One verdict: who, when, on which mask, what became of it, and how long it took. `hash` covers
    all of it and the event before.
    """

    number: int
    entry: str
    version: int
    at: str
    reviewer: str
    verdict: Verdict
    reason: str | None
    base_hash: str
    mask_hash: str
    image_hash: str
    seconds: float
    client: str
    previous: str
    hash: str

    def record(self) -> str:
        """What the hash is of."""
        told = asdict(self)
        del told["hash"]
        return json.dumps(told, sort_keys=True)


class ReviewStore:
    """A review's memory. `now` gives the time that events bear."""

    def __init__(
        self, url: str | URL, now: Callable[[], datetime] = lambda: datetime.now().astimezone()
    ) -> None:
        self._now = now
        try:
            self._engine = create_engine(
                _dialect(url) if isinstance(url, str) else url, pool_pre_ping=True
            )
            self._sqlite = self._engine.dialect.name == "sqlite"
            if self._sqlite:
                event.listen(self._engine, "connect", _durable)
                event.listen(self._engine, "begin", _begin)
            self._prepare()
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise LimnerError(
                f"{url} names no database ({error}). Give "
                "postgresql://user:password@host/name, and pip install pg8000."
            ) from error
        except (DBAPIError, OSError) as error:
            raise LimnerError(
                f"the database cannot be used: {getattr(error, 'orig', error)}. Is it there, "
                "and may you write to it and make tables?"
            ) from error

    @classmethod
    def in_folder(
        cls, folder: Path, now: Callable[[], datetime] = lambda: datetime.now().astimezone()
    ) -> "ReviewStore":
        """The one in a folder, made where it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        return cls(URL.create("sqlite", database=str((folder / "review.sqlite").resolve())), now)

    def close(self) -> None:
        self._engine.dispose()

    def belongs_to(self, key: str, value: str) -> bool:
        """Whether this is the memory of that; the first who asks says what it is the memory of."""
        with self._writing() as connection:
            found = connection.execute(
                select(metadata_table.c.value).where(metadata_table.c.key == key)
            ).scalar()
            if found is None:
                connection.execute(insert(metadata_table).values(key=key, value=value))
            return found in {None, value}

    def states(self) -> dict[str, EntryState]:
        """Of all entries that anything is known of."""
        with self._engine.connect() as connection:
            return {row.entry: _state(row) for row in connection.execute(select(entries))}

    def state(self, entry: str) -> EntryState:
        with self._engine.connect() as connection:
            return self._state(connection, entry)

    def blob(self, hash: str) -> bytes:
        """A content by its hash. Raises LimnerError where it is not what it was."""
        with self._engine.connect() as connection:
            content = connection.execute(
                select(blobs.c.content).where(blobs.c.hash == hash)
            ).scalar()
        try:
            whole = zlib.decompress(content or b"")
        except zlib.error:
            whole = b""
        if sha256(whole) != hash:
            raise LimnerError(
                f"the review's database is damaged: the content {hash[:12]} is "
                f"{'missing' if content is None else 'not what was written'}."
            )
        return whole

    def save_draft(
        self, entry: str, reviewer: str, version: int, tiles: Mapping[int, bytes]
    ) -> EntryState:
        """Keep the tiles that a stroke changed. Raises StaleError where `version` is not the
        entry's; then nothing is written.
        """
        with self._writing() as connection:
            state = self._expect(connection, entry, version)
            hashes = {index: self._keep(connection, content) for index, content in tiles.items()}
            after = replace(
                state,
                version=version + 1,
                draft={**(state.draft or {}), **hashes},
                drafted_by=reviewer,
            )
            self._put(connection, entry, after)
        return after

    def decide(
        self,
        entry: str,
        reviewer: str,
        version: int,
        verdict: Verdict,
        *,
        base_hash: str,
        image_hash: str,
        mask: bytes | None,
        seconds: float,
        reason: str | None,
        client: str,
    ) -> EntryState:
        """Append a verdict on the drawn `mask`, None where that is the predicted one. Raises
        StaleError as `save_draft` does.
        """
        with self._writing() as connection:
            self._expect(connection, entry, version)
            drawn = None if mask is None else self._keep(connection, mask)
            last = connection.execute(
                select(events.c.number, events.c.hash).order_by(events.c.number.desc()).limit(1)
            ).first()
            number, previous = (last.number + 1, last.hash) if last else (1, FIRST)
            at = self._now().isoformat(timespec="milliseconds")
            hashes = base_hash, drawn or base_hash, image_hash
            happened = VerdictEvent(
                number,
                entry,
                version + 1,
                at,
                reviewer,
                verdict,
                reason,
                *hashes,
                round(seconds, 1),
                client[:200],
                previous,
                "",
            )
            connection.execute(
                insert(events).values(
                    number=number,
                    record=happened.record(),
                    hash=sha256((previous + happened.record()).encode()),
                )
            )
            after = EntryState(version + 1, None, None, verdict, reason, reviewer, drawn)
            self._put(connection, entry, after)
        return after

    def events(self) -> list[VerdictEvent]:
        """All of them, in order. Raises LimnerError where something was changed, removed or put in
        behind the store's back.

        The chain has no key: whoever computes all of it anew, and what is known of the entries too,
        is not found.
        """
        found, previous = list[VerdictEvent](), FIRST
        with self._engine.connect() as connection:
            if not self._sqlite:
                connection.execution_options(
                    isolation_level="REPEATABLE READ"
                    # So that both tables are of one moment, as in SQLite
                )
            decided = {
                row.entry: _state(row)
                for row in connection.execute(select(entries).where(entries.c.verdict.is_not(None)))
            }
            for number, row in enumerate(
                connection.execute(select(events).order_by(events.c.number)), start=1
            ):
                told = json.loads(row.record)
                if (
                    row.number,
                    told["number"],
                    told["previous"],
                    sha256((previous + row.record).encode()),
                ) != (number, number, previous, row.hash):
                    raise LimnerError(
                        f"the review's event {number} is not as it was written, or one before "
                        "it is missing. Restore the database from a copy."
                    )
                found.append(VerdictEvent(**told, hash=row.hash))
                previous = row.hash
        last = {event.entry: event for event in found}
        for entry in last.keys() | decided.keys():
            state, event = decided.get(entry), last.get(entry)
            known = (
                state and event and (state.verdict, state.reviewer, state.mask or event.base_hash)
            )
            if event is None or known != (event.verdict, event.reviewer, event.mask_hash):
                raise LimnerError(
                    f"what is known of {entry} is not what the review's last event of it "
                    "says, or that is missing. Restore the database."
                )
        return found

    def remove_unused_blobs(self) -> int:
        """Remove tiles of drafts that later strokes or verdicts replaced; how many."""
        with self._writing() as connection:
            wanted = {
                hash
                for row in connection.execute(
                    select(entries.c.draft).where(entries.c.draft.is_not(None))
                )
                for hash in json.loads(row.draft).values()
            }
            wanted |= {
                told["mask_hash"]
                for told in (
                    json.loads(row.record) for row in connection.execute(select(events.c.record))
                )
            }
            there = {row.hash for row in connection.execute(select(blobs.c.hash))}
            for hash in there - wanted:
                connection.execute(blobs.delete().where(blobs.c.hash == hash))
        return len(there - wanted)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """One writer at a time; what it wrote is on disk when this ends, or none of it is."""
        with self._engine.execution_options(writes=True).begin() as connection:
            if not self._sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(7091968)"))
            yield connection

    def _expect(self, connection: Connection, entry: str, version: int) -> EntryState:
        state = self._state(connection, entry)
        if state.version != version:
            raise StaleError(state)
        return state

    def _state(self, connection: Connection, entry: str) -> EntryState:
        row = connection.execute(select(entries).where(entries.c.entry == entry)).first()
        return _state(row) if row else EntryState()

    def _put(self, connection: Connection, entry: str, state: EntryState) -> None:
        values = {
            **asdict(state),
            "draft": None if state.draft is None else json.dumps(state.draft, sort_keys=True),
        }
        statement = (
            insert(entries).values(entry=entry, **values)
            if state.version == 1
            else update(entries).where(entries.c.entry == entry).values(**values)
        )
        connection.execute(statement)

    def _keep(self, connection: Connection, content: bytes) -> str:
        hash = sha256(content)
        if not connection.execute(select(func.count()).where(blobs.c.hash == hash)).scalar():
            connection.execute(insert(blobs).values(hash=hash, content=zlib.compress(content, 1)))
        return hash

    def _prepare(self) -> None:
        """The tables, of which events can be added to alone, whoever opens the database; of two
        servers that begin at once one makes them.
        """
        with self._writing() as connection:
            metadata.create_all(connection)
            for statement in SQLITE_APPEND_ONLY if self._sqlite else POSTGRES_APPEND_ONLY:
                connection.execute(text(statement))


SQLITE_APPEND_ONLY = [
    "CREATE TRIGGER IF NOT EXISTS events_no_replace BEFORE INSERT ON events WHEN EXISTS (SELECT 1 FROM events WHERE number = NEW.number OR hash = NEW.hash) "
    # INSERT OR REPLACE deletes without a trigger
    "BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END",
] + [
    (
        f"CREATE TRIGGER IF NOT EXISTS events_no_{what.lower()} BEFORE {what} ON events BEGIN "
        "SELECT RAISE(ABORT, 'events are only ever added'); END"
    )
    for what in ("UPDATE", "DELETE")
]
POSTGRES_APPEND_ONLY = [
    (
        "CREATE OR REPLACE FUNCTION limner_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "BEGIN RAISE EXCEPTION 'events are only ever added'; END $$"
    ),
    "DROP TRIGGER IF EXISTS events_append_only ON events",
    (
        "CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events FOR EACH "
        "STATEMENT EXECUTE FUNCTION limner_append_only()"
    ),
]


def _dialect(url: str) -> str:
    """A URL with the driver that is used here."""
    for name in ("postgresql://", "postgres://"):
        if url.startswith(name):
            return "postgresql+pg8000://" + url.removeprefix(name)
    return url


def _durable(connection: Any, _record: Any) -> None:
    """Commits are on disk when they return, and writers take turns."""
    connection.isolation_level = None
    until = time.monotonic() + IMMEDIATE_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            # Another process may do the same to a new file, and this pragma does not wait by itself
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.05)
    for pragma in ("synchronous=FULL", f"busy_timeout={IMMEDIATE_S * 1000}", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    """A writer takes its turn when it begins, so that what it read is still true when it writes."""
    connection.exec_driver_sql(
        "BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN"
    )


def _state(row: Any) -> EntryState:
    draft = (
        None
        if row.draft is None
        else {int(index): hash for index, hash in json.loads(row.draft).items()}
    )
    return EntryState(
        row.version, draft, row.drafted_by, row.verdict, row.reason, row.reviewer, row.mask
    )


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
