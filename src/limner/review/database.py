"""The database of a review: its tables, its append-only triggers and its connections.

SQLite in a file, or PostgreSQL by its URL. A write is on disk when its transaction ends.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Double,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    text,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from limner.errors import LimnerError

LOCK_TIMEOUT_S = 30
"""How long a writer waits for another one."""
WRITE_LOCK = 7091968
"""The number of PostgreSQL's advisory lock that writers take."""

metadata = MetaData()
blobs = Table(
    "blobs",
    metadata,
    Column("hash", String(64), primary_key=True),
    # Compressed by zlib
    Column("content", LargeBinary, nullable=False),
)
entries = Table(
    "entries",
    metadata,
    Column("entry", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    # JSON: for each tile that differs from the mask beneath, its hash
    Column("draft", Text),
    Column("drafted_by", String(200)),
    Column("verdict", String(20)),
    Column("reason", String(200)),
    Column("reviewer", String(200)),
    # The hash of the last verdict's mask; NULL if it is the predicted mask
    Column("mask", String(64)),
)
events = Table(
    "events",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("record", Text, nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
)
notes = Table(
    "notes",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("entry", Text, nullable=False, index=True),
    Column("reviewer", String(200), nullable=False),
    Column("at", String(40), nullable=False),
    Column("text", Text, nullable=False),
)
leases = Table(
    "leases",
    metadata,
    Column("entry", Text, primary_key=True),
    Column("holder", String(200), nullable=False),
    Column("until", Double, nullable=False),
)
about = Table(
    "about",
    metadata,
    Column("key", String(100), primary_key=True),
    Column("value", Text, nullable=False),
)

SQLITE_APPEND_ONLY = [
    # INSERT OR REPLACE deletes a row without firing the delete trigger
    "CREATE TRIGGER IF NOT EXISTS events_no_replace BEFORE INSERT ON events WHEN EXISTS "
    "(SELECT 1 FROM events WHERE number = NEW.number OR hash = NEW.hash) "
    "BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END",
    *(
        f"CREATE TRIGGER IF NOT EXISTS events_no_{statement.lower()} BEFORE {statement} ON events "
        "BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END"
        for statement in ("UPDATE", "DELETE")
    ),
]
POSTGRES_APPEND_ONLY = [
    "CREATE OR REPLACE FUNCTION limner_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ "
    "BEGIN RAISE EXCEPTION 'events are only ever added'; END $$",
    "DROP TRIGGER IF EXISTS events_append_only ON events",
    "CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events FOR EACH "
    "STATEMENT EXECUTE FUNCTION limner_append_only()",
]


def open_database(url: str | URL) -> Engine:
    """Connect to a database, and create the tables and triggers that are missing.

    Several servers may open a new database at once: one of them creates the tables. Raises
    LimnerError for a URL that names no database, and for a database that cannot be used.
    """
    try:
        engine = create_engine(
            _with_driver(url) if isinstance(url, str) else url, pool_pre_ping=True
        )
        if is_sqlite(engine):
            event.listen(engine, "connect", _configure_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        _create_tables(engine)
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
    return engine


def is_sqlite(engine: Engine) -> bool:
    """Whether an engine is that of a SQLite file."""
    return engine.dialect.name == "sqlite"


@contextmanager
def write_transaction(engine: Engine) -> Iterator[Connection]:
    """A transaction of the only writer; all of it is on disk when it ends, or none of it."""
    with engine.execution_options(writes=True).begin() as connection:
        if not is_sqlite(engine):
            connection.execute(text(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})"))
        yield connection


@contextmanager
def read_snapshot(engine: Engine) -> Iterator[Connection]:
    """A connection that sees all tables as they were at one moment."""
    with engine.connect() as connection:
        if not is_sqlite(engine):
            # SQLite's transactions do so by default
            connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection


def _create_tables(engine: Engine) -> None:
    with write_transaction(engine) as connection:
        metadata.create_all(connection)
        for statement in SQLITE_APPEND_ONLY if is_sqlite(engine) else POSTGRES_APPEND_ONLY:
            connection.execute(text(statement))


def _with_driver(url: str) -> str:
    """A URL of PostgreSQL with the driver that limner depends on."""
    for scheme in ("postgresql://", "postgres://"):
        if url.startswith(scheme):
            return "postgresql+pg8000://" + url.removeprefix(scheme)
    return url


def _configure_sqlite(connection: Any, _record: Any) -> None:
    """Make commits durable, and let writers wait for each other."""
    connection.isolation_level = None
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            # Another process may switch a new file at the same time, and busy_timeout does not
            # cover this pragma
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    for pragma in ("synchronous=FULL", f"busy_timeout={LOCK_TIMEOUT_S * 1000}", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Lock the file when a writer begins, so that what it reads is still true when it writes."""
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
