"""The state of a reviewed entry, and the hash chain of the verdicts that led to it."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from limner.errors import LimnerError

Verdict = Literal["accepted", "mended", "rejected"]
"""As stored, and as the page and the provenance hold it."""
VERDICT_NAMES: Mapping[Verdict, str] = {
    "accepted": "accepted",
    "mended": "corrected",
    "rejected": "rejected",
}
"""As people read it. Reviews of earlier versions hold "mended", which stays in the files."""
NO_PREVIOUS = "0" * 64
"""What the first event names as the hash of the event before it."""


def sha256(content: bytes) -> str:
    """The SHA-256 of bytes in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, slots=True)
class EntryState:
    """The state of one entry: its draft, its last verdict, and how often it was written."""

    version: int = 0
    draft: Mapping[int, str] | None = None
    """The hash of each tile that was changed since the last verdict, by the tile's index."""
    drafted_by: str | None = None
    verdict: Verdict | None = None
    reason: str | None = None
    reviewer: str | None = None
    mask: str | None = None
    """The hash of the last verdict's mask; None if it is the predicted mask."""


@dataclass(frozen=True, slots=True)
class Note:
    """What a reviewer wrote about an entry, and when."""

    reviewer: str
    at: str
    text: str


@dataclass(frozen=True, slots=True)
class Lease:
    """Who works on a task, and until when, in seconds since the epoch."""

    holder: str
    until: float


class StaleError(Exception):
    """A write that expected an older version; `state` is the current one."""

    def __init__(self, state: EntryState) -> None:
        super().__init__(state.version)
        self.state = state


@dataclass(frozen=True, slots=True)
class NewVerdict:
    """A verdict that is to be appended.

    `mask` is the corrected mask as bytes, None if it is the predicted one. `base_hash` is the hash
    of the predicted mask, `image_hash` that of the image's file.
    """

    reviewer: str
    verdict: Verdict
    base_hash: str
    image_hash: str
    mask: bytes | None = None
    reason: str | None = None
    seconds: float = 0.0
    client: str = ""


@dataclass(frozen=True, slots=True)
class VerdictEvent:
    """One verdict in the chain: who gave it, when, on which mask, and how long it took.

    `hash` covers all fields and the hash of the event before, `previous`.
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
    hash: str = ""

    def record(self) -> str:
        """The JSON text that is hashed and stored."""
        fields = asdict(self)
        del fields["hash"]
        return json.dumps(fields, sort_keys=True)


def chain_hash(previous: str, record: str) -> str:
    """The hash of an event, from the hash of the event before it and its own record."""
    return sha256((previous + record).encode())


def verify_chain(rows: Iterable[Any]) -> list[VerdictEvent]:
    """The events of database rows (number, record, hash), which come in order.

    Raises LimnerError where an event was changed, removed or inserted.
    """
    events, previous = list[VerdictEvent](), NO_PREVIOUS
    for number, row in enumerate(rows, start=1):
        fields = json.loads(row.record)
        stored = row.number, fields["number"], fields["previous"], row.hash
        if stored != (number, number, previous, chain_hash(previous, row.record)):
            raise LimnerError(
                f"the review's event {number} is not as it was written, or one before "
                "it is missing. Restore the database from a copy."
            )
        events.append(VerdictEvent(**fields, hash=row.hash))
        previous = row.hash
    return events


def require_consistent(events: Iterable[VerdictEvent], states: Mapping[str, EntryState]) -> None:
    """Raise LimnerError where an entry's state is not what its last event says.

    Args:
        events: all events in order.
        states: the states of all entries that have a verdict.
    """
    last_events = {event.entry: event for event in events}
    for entry in last_events.keys() | states.keys():
        state, event = states.get(entry), last_events.get(entry)
        if (
            state is None
            or event is None
            or (state.verdict, state.reviewer, state.mask or event.base_hash)
            != (event.verdict, event.reviewer, event.mask_hash)
        ):
            raise LimnerError(
                f"the state of {entry} is not what the review's last event of it says, or that "
                "event is missing. Restore the database from a copy."
            )
