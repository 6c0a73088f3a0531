"""ReviewStore: drafts of every stroke, verdicts in a hash chain, and the masks that they mean.

Whatever is acknowledged was committed and synced before. Masks and tiles are stored by their
SHA-256.
"""

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, func, insert, select, update

from limner.errors import LimnerError
from limner.review.database import (
    about,
    blobs,
    entries,
    events,
    leases,
    notes,
    open_database,
    read_snapshot,
    write_transaction,
)
from limner.review.events import (
    NO_PREVIOUS,
    EntryState,
    Lease,
    NewVerdict,
    Note,
    StaleError,
    VerdictEvent,
    chain_hash,
    require_consistent,
    sha256,
    verify_chain,
)

CLIENT_LENGTH = 200
"""How many characters of a client's name (its User-Agent) are kept."""


def local_time() -> datetime:
    """The time now, with the offset of this machine's zone."""
    return datetime.now().astimezone()


class ReviewStore:
    """The drafts and verdicts of a review in a database.

    Args:
        url: the database, such as postgresql://user:password@host/name.
        now: the clock that gives the time of an event.

    Raises LimnerError for a URL that names no database, and for a database that cannot be used.
    """

    def __init__(self, url: str | URL, now: Callable[[], datetime] = local_time) -> None:
        self._now = now
        self._engine = open_database(url)

    @classmethod
    def in_folder(cls, folder: Path, now: Callable[[], datetime] = local_time) -> "ReviewStore":
        """The store in a folder, which is created where it is missing."""
        folder.mkdir(parents=True, exist_ok=True)
        return cls(URL.create("sqlite", database=str((folder / "review.sqlite").resolve())), now)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def belongs_to(self, key: str, value: str) -> bool:
        """Whether the store is of that `value`; a new store takes the first value as its own."""
        with write_transaction(self._engine) as connection:
            stored = connection.execute(select(about.c.value).where(about.c.key == key)).scalar()
            if stored is None:
                connection.execute(insert(about).values(key=key, value=value))
            return stored in {None, value}

    def states(self) -> dict[str, EntryState]:
        """The states of all entries that were written to, by their key."""
        with self._engine.connect() as connection:
            return {row.entry: _state_of(row) for row in connection.execute(select(entries))}

    def state(self, entry: str) -> EntryState:
        """The state of one entry."""
        with self._engine.connect() as connection:
            return _read_state(connection, entry)

    def blob(self, hash: str) -> bytes:
        """The content with a hash. Raises LimnerError where it is missing or damaged."""
        with self._engine.connect() as connection:
            compressed = connection.execute(
                select(blobs.c.content).where(blobs.c.hash == hash)
            ).scalar()
        try:
            content = zlib.decompress(compressed or b"")
        except zlib.error:
            content = b""
        if sha256(content) != hash:
            raise LimnerError(
                f"the review's database is damaged: the content {hash[:12]} is "
                f"{'missing' if compressed is None else 'not what was written'}. "
                "Restore it from a copy."
            )
        return content

    def save_draft(
        self, entry: str, reviewer: str, version: int, tiles: Mapping[int, bytes]
    ) -> EntryState:
        """Store the tiles that a stroke changed, and return the new state.

        Raises StaleError where `version` is not the entry's; then nothing is written.
        """
        with write_transaction(self._engine) as connection:
            before = _require_version(connection, entry, version)
            hashes = {index: _store_blob(connection, content) for index, content in tiles.items()}
            state = replace(
                before,
                version=version + 1,
                draft={**(before.draft or {}), **hashes},
                drafted_by=reviewer,
            )
            _write_state(connection, entry, state)
        return state

    def decide(self, entry: str, version: int, verdict: NewVerdict) -> EntryState:
        """Append a verdict, which ends the draft, and return the new state.

        Raises StaleError where `version` is not the entry's; then nothing is written.
        """
        with write_transaction(self._engine) as connection:
            _require_version(connection, entry, version)
            mask_hash = None if verdict.mask is None else _store_blob(connection, verdict.mask)
            state = EntryState(
                version + 1,
                verdict=verdict.verdict,
                reason=verdict.reason,
                reviewer=verdict.reviewer,
                mask=mask_hash,
            )
            self._append_event(connection, entry, state, verdict)
            _write_state(connection, entry, state)
        return state

    def add_note(self, entry: str, reviewer: str, text: str) -> None:
        """Append a note to an entry."""
        at = self._now().isoformat(timespec="seconds")
        with write_transaction(self._engine) as connection:
            connection.execute(
                insert(notes).values(entry=entry, reviewer=reviewer, at=at, text=text)
            )

    def notes(self, entry: str) -> list[Note]:
        """The notes of an entry, the oldest first."""
        written = select(notes).where(notes.c.entry == entry).order_by(notes.c.number)
        with self._engine.connect() as connection:
            return [Note(row.reviewer, row.at, row.text) for row in connection.execute(written)]

    def leases(self) -> dict[str, Lease]:
        """All leases by the entry's key, those that expired too."""
        with self._engine.connect() as connection:
            return {
                row.entry: Lease(row.holder, row.until)
                for row in connection.execute(select(leases))
            }

    def lease(self, entry: str) -> Lease | None:
        """The lease of an entry, if there is one."""
        with self._engine.connect() as connection:
            return _read_lease(connection, entry)

    def take_lease(self, entry: str, lease: Lease, now: float, *, over: bool) -> Lease:
        """Store a lease unless another person has one; return the one that holds.

        With `over` it is taken from whoever holds it.
        """
        with write_transaction(self._engine) as connection:
            held = _read_lease(connection, entry)
            if held and held.until > now and held.holder != lease.holder and not over:
                return held
            connection.execute(leases.delete().where(leases.c.entry == entry))
            connection.execute(insert(leases).values(entry=entry, **asdict(lease)))
        return lease

    def drop_lease(self, entry: str, holder: str) -> Lease | None:
        """Remove a lease if this person has it; return the one that is left."""
        with write_transaction(self._engine) as connection:
            own = (leases.c.entry == entry) & (leases.c.holder == holder)
            connection.execute(leases.delete().where(own))
            return _read_lease(connection, entry)

    def events(self) -> list[VerdictEvent]:
        """All verdicts in order.

        Raises LimnerError where one was changed, removed or inserted behind the store's back. The
        chain has no key: whoever computes all hashes anew, and changes the states of the entries
        too, is not found out.
        """
        with read_snapshot(self._engine) as connection:
            decided = select(entries).where(entries.c.verdict.is_not(None))
            states = {row.entry: _state_of(row) for row in connection.execute(decided)}
            chain = verify_chain(connection.execute(select(events).order_by(events.c.number)))
        require_consistent(chain, states)
        return chain

    def remove_unused_blobs(self) -> int:
        """Remove the tiles of drafts that later strokes or verdicts replaced; return how many."""
        with write_transaction(self._engine) as connection:
            drafts = connection.execute(select(entries.c.draft).where(entries.c.draft.is_not(None)))
            used = {hash for row in drafts for hash in json.loads(row.draft).values()}
            records = connection.execute(select(events.c.record))
            used |= {json.loads(row.record)["mask_hash"] for row in records}
            unused = {row.hash for row in connection.execute(select(blobs.c.hash))} - used
            for hash in unused:
                connection.execute(blobs.delete().where(blobs.c.hash == hash))
        return len(unused)

    def _append_event(
        self, connection: Connection, entry: str, state: EntryState, verdict: NewVerdict
    ) -> None:
        last = connection.execute(
            select(events.c.number, events.c.hash).order_by(events.c.number.desc()).limit(1)
        ).first()
        event = VerdictEvent(
            number=last.number + 1 if last else 1,
            entry=entry,
            version=state.version,
            at=self._now().isoformat(timespec="milliseconds"),
            reviewer=verdict.reviewer,
            verdict=verdict.verdict,
            reason=verdict.reason,
            base_hash=verdict.base_hash,
            mask_hash=state.mask or verdict.base_hash,
            image_hash=verdict.image_hash,
            seconds=round(verdict.seconds, 1),
            client=verdict.client[:CLIENT_LENGTH],
            previous=last.hash if last else NO_PREVIOUS,
        )
        record = event.record()
        connection.execute(
            insert(events).values(
                number=event.number, record=record, hash=chain_hash(event.previous, record)
            )
        )


def _require_version(connection: Connection, entry: str, version: int) -> EntryState:
    """The state of an entry. Raises StaleError where its version is another one."""
    state = _read_state(connection, entry)
    if state.version != version:
        raise StaleError(state)
    return state


def _read_state(connection: Connection, entry: str) -> EntryState:
    row = connection.execute(select(entries).where(entries.c.entry == entry)).first()
    return _state_of(row) if row else EntryState()


def _read_lease(connection: Connection, entry: str) -> Lease | None:
    row = connection.execute(select(leases).where(leases.c.entry == entry)).first()
    return Lease(row.holder, row.until) if row else None


def _write_state(connection: Connection, entry: str, state: EntryState) -> None:
    values = {
        **asdict(state),
        "draft": None if state.draft is None else json.dumps(state.draft, sort_keys=True),
    }
    if state.version == 1:
        connection.execute(insert(entries).values(entry=entry, **values))
    else:
        connection.execute(update(entries).where(entries.c.entry == entry).values(**values))


def _store_blob(connection: Connection, content: bytes) -> str:
    """Store a content unless it is stored already; return its hash."""
    hash = sha256(content)
    if not connection.execute(select(func.count()).where(blobs.c.hash == hash)).scalar():
        connection.execute(insert(blobs).values(hash=hash, content=zlib.compress(content, 1)))
    return hash


def _state_of(row: Any) -> EntryState:
    """The state in a row of the table of entries."""
    draft = (
        None
        if row.draft is None
        else {int(index): hash for index, hash in json.loads(row.draft).items()}
    )
    return EntryState(
        row.version, draft, row.drafted_by, row.verdict, row.reason, row.reviewer, row.mask
    )
