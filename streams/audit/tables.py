"""What an audit has read, in one temporary SQLite file: memory stays flat however many documents there are.

Everything is keyed by a document's path.  ``scope`` holds the paths that a look is about; what is read of them replaces
what was known before.
"""

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from topics.identity import DocumentRef

BATCH = 2000  # rows that are in memory at once
_SCHEMA = """
CREATE TABLE scope (path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE latest (path TEXT PRIMARY KEY, epoch INT, partition INT, offset INT, tombstone INT, at INT) WITHOUT ROWID;
CREATE TABLE marks (epoch INT, partition INT, offset INT, PRIMARY KEY (epoch, partition)) WITHOUT ROWID;
CREATE TABLE events (path TEXT PRIMARY KEY, state TEXT, version TEXT, face TEXT, seen TEXT, status TEXT) WITHOUT ROWID;
CREATE TABLE event_lines (path TEXT, id TEXT, PRIMARY KEY (path, id)) WITHOUT ROWID;
CREATE TABLE manifests (path TEXT PRIMARY KEY, version TEXT, deleted INT, done INT, doubted INT, face TEXT, seen TEXT,
                        status TEXT, access TEXT, metadata TEXT, imprint TEXT, state TEXT) WITHOUT ROWID;
CREATE TABLE lines (path TEXT, id TEXT, position INT, hash TEXT, PRIMARY KEY (path, id)) WITHOUT ROWID;
CREATE TABLE objects (path TEXT, id TEXT, text_hash TEXT, imprint TEXT, vector INT, written_at INT,
                      PRIMARY KEY (path, id)) WITHOUT ROWID;
CREATE TABLE findings (path TEXT, kind TEXT, finding BLOB, PRIMARY KEY (path, kind)) WITHOUT ROWID;
"""
Row = tuple[Any, ...]


class Tables:
    """A context manager; the file is gone at its end."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="freshet-audit-")
        self._db = sqlite3.connect(Path(self._folder.name) / "tables.sqlite", isolation_level=None)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "temp_store = FILE", "cache_size = -16000"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._db.close()
        self._folder.cleanup()

    def put(self, table: str, rows: Sequence[Row]) -> None:
        """Insert, or replace what has the same key."""
        if rows:
            places = ", ".join("?" * len(rows[0]))
            with self._writing():
                self._db.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({places})", rows)

    def put_latest(self, rows: Sequence[Row]) -> None:
        """Records of ``documents``, in any order: the highest version counts."""
        with self._writing():
            self._db.executemany(
                "INSERT INTO latest VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (path) DO UPDATE SET epoch = excluded.epoch,"
                " partition = excluded.partition, offset = excluded.offset, tombstone = excluded.tombstone,"
                " at = excluded.at WHERE (excluded.epoch, excluded.offset) > (epoch, offset)",
                rows,
            )

    def forget(self, table: str, paths: Iterable[str]) -> None:
        """Delete all rows of these documents."""
        with self._writing():
            self._db.executemany(f"DELETE FROM {table} WHERE path = ?", [(path,) for path in paths])

    def forget_scope(self, table: str) -> None:
        """Delete all rows of the documents of the scope."""
        with self._writing():
            self._db.execute(f"DELETE FROM {table} WHERE path IN (SELECT path FROM scope)")

    def look_at(self, query: str) -> int:
        """Scope: the paths that a query finds, which knows nothing of the scope; returns how many."""
        with self._writing():
            self._db.execute("DELETE FROM scope")
        return self.look_also_at(query)

    def look_also_at(self, query: str) -> int:
        """Widen the scope; returns how many documents it has."""
        with self._writing():
            self._db.execute(f"INSERT OR IGNORE INTO scope {query}")
        return self.count("SELECT count(*) FROM scope")

    def look_at_these(self, paths: Iterable[str]) -> int:
        """Scope: these paths; returns how many."""
        with self._writing():
            self._db.execute("DELETE FROM scope")
            self._db.executemany("INSERT INTO scope VALUES (?)", [(path,) for path in paths])
        return self.count("SELECT count(*) FROM scope")

    def scope(self) -> Iterator[list[DocumentRef]]:
        """Documents of the scope, in batches."""
        last = ""
        while rows := self._db.execute(
            "SELECT path FROM scope WHERE path > ? ORDER BY path LIMIT ?", (last, BATCH)
        ).fetchall():
            yield [ref_of(path) for (path,) in rows]
            last = rows[-1][0]

    def rows(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Iterator[Row]:
        """Stream a query; nothing may be written to its tables meanwhile."""
        cursor = self._db.execute(query, parameters)
        while found := cursor.fetchmany(BATCH):
            yield from found

    def count(self, query: str, parameters: Sequence[Any] = ()) -> int:
        return int(self._db.execute(query, parameters).fetchone()[0] or 0)

    def _writing(self) -> "_Transaction":
        return _Transaction(self._db)


class _Transaction:
    """One, or a part of the one around it."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db, self._inner = db, db.in_transaction

    def __enter__(self) -> None:
        if not self._inner:
            self._db.execute("BEGIN")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self._inner:
            self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def ref_of(path: str) -> DocumentRef:
    """The document of a path; a tenant has no slash."""
    tenant, _, doc_id = path.partition("/")
    return DocumentRef(tenant, doc_id)
